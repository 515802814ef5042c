// "!make test" within a conversation: what the person runs there, with the person's own rights, on
// a terminal like theirs. Its output goes with the next prompt.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/interactive/run_on_terminal.h"
#include "daemon/client/error.h"

namespace lares::cli {

inline constexpr std::size_t kOwnCommandsMax = 8;  // that go with one prompt; the oldest are left
                                                   // out

struct OwnCommand {
  std::string command, output;  // output: as the model is shown that of its own commands (clip.h)
  std::string ended;            // "exit status 2", "killed by SIGINT"; empty: well
  double seconds = 0;
  bool line_is_open = false;  // its output's last line, where the cursor stands
};

// Runs it by $SHELL, else /bin/sh, within the terminal, as run_on_terminal.h says. Nothing is
// paged that a pager only shows in part: the model is to see it whole.
Result<OwnCommand> run_own_command(const std::string& command, const std::string& directory,
                                   LentTerminal& lent);

// The prompt with them behind it, marked, so that they are not taken for a part of the task.
std::string with_commands(std::string prompt, const std::vector<OwnCommand>& commands);

}  // namespace lares::cli
