#include "daemon/cli/which_session.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "daemon/cli/start.h"
#include "daemon/wire.h"

namespace lares::cli {

namespace protocol = daemon::protocol;

void WhichSession::add_to(CLI::App& app) {
  auto* id = app.add_option("--session", session, "which one (default: the newest of this repository; see lares sessions)");
  app.add_option("--root", root, "the repository (default: the current one)")->excludes(id);
  daemon.add_to(app, /*starts_daemon=*/true);
  app.footer(kExitStatusHelp);
}

Result<protocol::SessionInfo> WhichSession::find(Link& link) {
  if (auto usable = daemon.resolve(); !usable) return tl::unexpected(usable.error());
  if (auto there = reach(link, daemon); !there) return tl::unexpected(there.error());
  if (!session.empty()) {
    protocol::SessionGet get;
    get.session_id = session;
    return link.call<protocol::SessionInfo>(get);
  }
  const auto top = repository_root(root);
  if (!top) return tl::unexpected(top.error());
  protocol::SessionList list;
  list.root = *top;
  list.closed = true;
  auto listed = link.call<protocol::SessionListResult>(list);
  if (!listed) return tl::unexpected(listed.error());
  std::erase_if(listed->sessions, [](const auto& s) { return s.last_seq <= 1; });
  if (listed->sessions.empty()) return tl::unexpected(Error{"find the newest session: there is none about " + *top + " yet"});
  return std::move(listed->sessions.front());
}

}  // namespace lares::cli
