// lares mcp: an MCP server on stdin and stdout, which is the daemon's.
#include "daemon/cli/commands/mcp.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

#include "daemon/bridges/mcp/bridge.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/client/start.h"

namespace lares::cli {

int mcp_command(int argc, const char* const* argv) {
  CLI::App app(
      "An MCP server on stdin and stdout, for a client to start: ask_repo, run_task, review, "
      "task_status, task_cancel. Tasks go on when it ends.",
      "lares mcp");
  DaemonOptions daemon;
  std::string root;
  app.add_option("--root", root, "the repository (default: that of the current directory)")
      ->type_name("DIR");
  daemon.add_to(app, /*starts_daemon=*/true, /*prints_json=*/false);
  app.footer(
      "Clients are configured with the command `lares` and the arguments `mcp`.\nExit: 0 stdin "
      "ended, 1 error, 2 wrong usage.");
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = daemon.resolve(); !usable) return fail(usable.error(), false);
  const auto top = repository_root(root);
  if (!top) return fail(top.error(), false);
  {
    Link link;  // which starts the daemon, and takes signals meanwhile
    const auto there = reach(link, daemon, [](double) {});
    if (!there) return fail(there.error(), false);
    if (auto served = serves_model(link, daemon, there->started); !served)
      return fail(served.error(), false);
  }
  std::signal(SIGPIPE, SIG_IGN);
  McpBridge bridge(daemon, *top, STDIN_FILENO, STDOUT_FILENO);
  auto done = bridge.run();
  if (!done && done.error().message.ends_with(std::strerror(ENOSPC)))
    done.error().message += "; free some where it goes";  // which is no place of the daemon's
  const int status = done ? kExitFinished : fail(done.error(), false);
  // A thread that waits for the daemon it has started is needed no longer; the daemon may be.
  if (bridge.starting()) std::_Exit(status);
  return status;
}

}  // namespace lares::cli
