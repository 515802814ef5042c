// lares without a command, at a terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/interactive/interactive.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/policy_option.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/repository.h"
#include "daemon/settings.h"

namespace lares::cli {

int interactive_command(int argc, const char* const* argv) {
  CLI::App app(
      "A conversation about the repository: work on it, ask about it, look at what changed.",
      "lares");
  DaemonOptions daemon;
  InteractiveOptions options;
  auto* session = app.add_option("--session", options.session,
                                 "go on with this session (see lares sessions)")
                      ->type_name("ID")
                      ->check(session_id());
  auto* newest = app.add_flag("--continue", options.newest,
                              "go on with the newest session of this repository")
                     ->excludes(session);
  app.add_option("--root", options.root,
                 "the repository (default: the git worktree around the current directory, else "
                 "that directory)")
      ->excludes(session);
  add_policy(app, options.settings.policy, "what needs no asking")
      ->excludes(session)
      ->excludes(newest);
  app.add_flag("--worktree", options.worktree, "work in a git worktree of its own; see lares apply")
      ->excludes(session)
      ->excludes(newest);
  app.add_flag("--dangerously-no-sandbox", options.no_sandbox,
               "let the model's commands run with all your rights, unconfined")
      ->excludes(session);
  daemon.add_to(app, /*starts_daemon=*/true, /*prints_json=*/false);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDOUT_FILENO) != 1) {
    print_err(
        "lares: a conversation needs a terminal; `lares run` and `lares ask` do not, and "
        "with - they read what is asked from stdin\n");
    return kExitUsage;
  }
  if (auto usable = daemon.resolve(); !usable) return fail(usable.error(), /*json=*/false);
  auto top = repository_root(options.root);
  if (!top) return fail(top.error(), /*json=*/false);
  if (const auto why = daemon::why_no_session(*top); !why.empty() && options.session.empty())
    return fail(Error{why}, /*json=*/false);
  options.root = *top;
  const auto settings = user_settings();
  if (!settings) return fail(settings.error(), /*json=*/false);
  if (const auto policy = settings->text("policy"); policy && app.count("--policy") == 0)
    options.settings.policy = *policy;
  if (const auto bell = settings->text("bell"))
    options.bell = *bell == "always" ? Bell::always : *bell == "never" ? Bell::never : Bell::away;
  options.settings.temperature = settings->number("temperature");
  options.settings.steps_max = settings->whole("steps");
  return Interactive(daemon, options).run();
}

}  // namespace lares::cli
