// "!make test" within a conversation: what the person runs there, with the person's own rights. Its
// output is shown as it comes, and goes with the next prompt.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/client/error.h"

namespace lares::cli {

inline constexpr std::size_t kOwnCommandsMax = 8;  // that go with one prompt; the oldest are left
                                                   // out
// A command is looked after this often, and its jobs have so long to write behind its end.
inline constexpr std::chrono::milliseconds kLookedAfterEvery{50};

struct OwnCommand {
  std::string command, output;  // output: as the model is shown that of its own commands (clip.h)
  std::string ended;            // "exit status 2", "killed by SIGINT"; empty: well
  double seconds = 0;
};

// Runs it by $SHELL, else /bin/sh, with the terminal `tty` in its hands and nothing on stdin.
// `shown` takes its output, cleaned; `given_up` says that it must end now. One that is suspended is
// ended: there is no shell here to bring it back.
Result<OwnCommand> run_own_command(const std::string& command, const std::string& directory,
                                   int tty, const std::function<void(std::string_view)>& shown,
                                   const std::function<bool()>& given_up);

// The prompt with them behind it, marked, so that they are not taken for a part of the task.
std::string with_commands(std::string prompt, const std::vector<OwnCommand>& commands);

}  // namespace lares::cli
