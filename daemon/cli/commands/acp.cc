// lares acp: the Agent Client Protocol on stdin and stdout, for editors.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>

#include "daemon/bridges/acp/bridge.h"
#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/policy_option.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/settings.h"

namespace lares::cli {

int acp_command(int argc, const char* const* argv) {
  CLI::App app(
      "Speaks the Agent Client Protocol, version 1, on stdin and stdout: editors start it and work "
      "with the daemon's sessions through it. It ends when the editor hangs up; the log goes to "
      "stderr.",
      "lares acp");
  DaemonOptions daemon;
  acp::BridgeOptions options;
  daemon.add_to(app, /*starts_daemon=*/true, /*prints_json=*/false);
  add_policy(app, options.policy, "the mode that new sessions begin in");
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (const auto usable = daemon.resolve(); !usable) return fail(usable.error(), /*json=*/false);
  options.daemon = daemon;
  const auto settings = user_settings();
  if (!settings) return fail(settings.error(), /*json=*/false);
  if (options.policy.empty())
    options.policy = settings->text("policy").value_or(protocol::SessionSettings{}.policy);

  if (::isatty(STDIN_FILENO) == 1)
    print_err(
        "lares acp: an editor is to start this and speak JSON-RPC with it; at a terminal, "
        "`lares` is what you want (Ctrl-D ends this)\n");
  std::signal(SIGPIPE, SIG_IGN);
  boost::asio::io_context io(1);
  boost::asio::signal_set signals(io, SIGINT, SIGTERM, SIGHUP);
  signals.async_wait([&](const boost::system::error_code& ec, int) {
    if (!ec) io.stop();
  });
  auto bridge = std::make_unique<acp::Bridge>(io.get_executor(), options, STDIN_FILENO,
                                              STDOUT_FILENO);
  bridge->start([&] { io.stop(); });
  io.run();
  bridge->finish();
  // A thread that waits for the daemon it has started is needed no longer; the daemon may be.
  if (bridge->starting_daemon()) std::_Exit(kExitFinished);
  return kExitFinished;
}

}  // namespace lares::cli
