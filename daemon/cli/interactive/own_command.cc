#include "daemon/cli/interactive/own_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "tools/clip.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

// $0 is the shell, $1 the command. When the leader of a session ends, its terminal hangs up; a job
// that was left in the background outlives that, as it outlives a command of a shell that goes on.
constexpr const char* kKeepJobs =
    "trap '' HUP; export PAGER=cat GIT_PAGER=cat; exec \"$0\" -c \"$1\"";

}  // namespace

Result<OwnCommand> run_own_command(const std::string& command, const std::string& directory,
                                   LentTerminal& lent) {
  const char* shell = std::getenv("SHELL");
  if (!shell || ::access(shell, X_OK) != 0) shell = "/bin/sh";
  tools::OutputCleaner cleaner;
  tools::Clip clip(/*state_dir=*/"", "own");
  const auto began = Clock::now();
  const auto status = run_on_terminal(
      {.argv = {"/bin/sh", "-c", kKeepJobs, shell, command},
       .directory = directory,
       .written = [&](std::string_view bytes) { clip.append(cleaner.feed(bytes)); }},
      lent);
  if (!status)
    return tl::unexpected(Error{fmt::format("run `{}` by {} in {}: {}", command, shell, directory,
                                            std::strerror(status.error()))});
  const std::string rest = cleaner.finish();
  clip.append(rest);
  return OwnCommand{.command = command,
                    .output = clip.finish(),
                    .ended = ended_how(*status),
                    .seconds = std::chrono::duration<double>(Clock::now() - began).count(),
                    .line_is_open = !rest.empty()};
}

std::string with_commands(std::string prompt, const std::vector<OwnCommand>& commands) {
  for (const auto& c : commands) {
    prompt += fmt::format("\n\n<ran_by_user>\n$ {}\n{}", c.command, c.output);
    if (!prompt.ends_with('\n')) prompt += '\n';
    if (!c.ended.empty()) prompt += fmt::format("[{}]\n", c.ended);
    prompt += "</ran_by_user>";
  }
  return prompt;
}

}  // namespace lares::cli
