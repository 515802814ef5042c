// lares prompt: what every prompt begins with, for whoever wants to check or reproduce it. Needs no
// daemon.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/protocol/wire.h"
#include "daemon/turn/prompt.h"

namespace lares::cli {

int prompt_command(int argc, const char* const* argv) {
  CLI::App app("Shows what every prompt begins with.", "lares prompt");
  bool head = false, json = false;
  app.add_flag("--head", head, "the effort text, the system sentence and the tools, byte for byte")
      ->required();
  app.add_flag("--json", json, "print JSON");
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  const std::string text = daemon::prompt_head();
  if (json) {
    const daemon::protocol::Json object = {{"head", text}};
    std::puts(daemon::protocol::dump(object).c_str());
  } else {
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  return std::fflush(stdout) == 0 ? kExitFinished : kExitError;
}

}  // namespace lares::cli
