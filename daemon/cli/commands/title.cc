// lares title: what a session is called.
#include <CLI/CLI.hpp>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/reach.h"
#include "daemon/protocol/transfer.h"

namespace lares::cli {

int title_command(int argc, const char* const* argv) {
  CLI::App app("Gives a session another title; it begins with the first line of its first prompt.",
               "lares title");
  DaemonOptions daemon;
  protocol::SessionSetTitle request;
  app.add_option("ID", request.session_id, "see lares sessions")->required();
  app.add_option("TEXT", request.title)->required();
  daemon.add_to(app, /*starts_daemon=*/true);
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (const auto usable = daemon.resolve(); !usable) return fail(usable.error(), daemon.json);
  Link link;
  if (const auto there = reach(link, daemon); !there) return fail(there.error(), daemon.json);
  const auto done = link.call<protocol::Nothing>(request);
  return done ? kExitFinished : fail(done.error(), daemon.json);
}

}  // namespace lares::cli
