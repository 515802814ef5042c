// lares review: one turn that reads a change and changes nothing.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/one_turn.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/protocol/wire.h"
#include "daemon/shown/change_set.h"

namespace lares::cli {

namespace protocol = daemon::protocol;

namespace {

int nothing(const shown::ChangeSet& changes, bool json) {
  if (json) {
    const protocol::Json result = {{"type", "result"},
                                   {"stop_reason", "nothing_to_review"},
                                   {"message", changes.what + ": nothing is changed"}};
    print_line(protocol::dump(result));
  } else {
    print_err("lares: {}\n", shown::nothing_told(changes));
  }
  return kExitFinished;
}

}  // namespace

int review_command(int argc, const char* const* argv) {
  CLI::App app("Reviews changes: findings with file and line, the worst first. Changes nothing.",
               "lares review");
  DaemonOptions daemon;
  TurnOptions turn;
  std::string range;
  std::vector<std::string> only;
  app.add_option("range", range,
                 "a commit, or main..HEAD: what HEAD has that main has not (default: what is not "
                 "committed, new files too)");
  app.add_option("--only", only, "only this path; may be given several times")->type_name("PATH");
  turn.add_sampling_to(app);
  daemon.add_to(app, /*starts_daemon=*/true);
  app.footer(kExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = daemon.resolve(); !usable) return fail(usable.error(), daemon.json);
  if (auto usable = turn.resolve(); !usable) {
    fail(usable.error(), daemon.json);
    return kExitUsage;
  }
  const auto changes = shown::change_set(turn.root, range, only);
  if (!changes) return fail({changes.error()}, daemon.json);
  if (changes->diff.empty() && changes->left_out.empty()) return nothing(*changes, daemon.json);
  if (!changes->left_out.empty() && !daemon.json)
    print_err("lares: {}\n", shown::left_out_told(*changes, "with --only PATH"));
  return run_turn(daemon, turn, /*worktree=*/false, "ask", shown::review_prompt(*changes));
}

}  // namespace lares::cli
