#include "daemon/cli/which_session.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "daemon/cli/option_checks.h"
#include "daemon/cli/reach.h"
#include "daemon/protocol/wire.h"
#include "daemon/shown/change_set.h"

namespace lares::cli {

namespace protocol = daemon::protocol;

void keep_about(std::vector<protocol::SessionInfo>& sessions, Wanted wanted) {
  std::erase_if(sessions, [](const auto& s) { return s.last_seq <= 1; });
  const auto asks = [wanted](const auto& s) {
    return s.settings.mode == "ask" && s.n_turns <= 1 &&
           !(wanted == Wanted::to_go_on && shown::is_review(s.title));
  };
  if (wanted != Wanted::any && !std::ranges::all_of(sessions, asks)) std::erase_if(sessions, asks);
}

void WhichSession::add_to(CLI::App& app) {
  auto* id = app.add_option("--session", session,
                            "which one (default: the newest of this repository)")
                 ->type_name("ID")
                 ->check(session_id());
  app.add_option("--root", root, "the repository (default: the one you are in)")
      ->type_name("DIR")
      ->check(directory_name())
      ->excludes(id);
  daemon.add_to(app, /*starts_daemon=*/true);
  app.footer(kShortExitStatusHelp);
}

void WhichSession::add_named_to(CLI::App& app) {
  auto* id = app.add_option("ID", session,
                            "which one (default: the newest of this repository; see lares "
                            "sessions)")
                 ->check(session_id());
  add_to(app);
  id->excludes(app.get_option("--session"))->excludes(app.get_option("--root"));
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
  list.closed = list.worktrees = true;
  auto listed = link.call<protocol::SessionListResult>(list);
  if (!listed) return tl::unexpected(listed.error());
  keep_about(listed->sessions, may_change ? Wanted::changes : Wanted::any);
  if (listed->sessions.empty())
    return tl::unexpected(
        Error{"find the newest session: there is none about " + *top +
              " yet; `lares run` begins one, `lares sessions --all` lists those about others"});
  return std::move(listed->sessions.front());
}

void WhichRunning::add_to(CLI::App& app) {
  auto* id = app.add_option("session", session,
                            "its id, or how it begins (default: the one that works here)")
                 ->check(session_id());
  app.add_option("--root", root, "the repository (default: the one you are in)")
      ->type_name("DIR")
      ->check(directory_name())
      ->excludes(id);
  daemon.add_to(app, /*starts_daemon=*/false);
}

Result<protocol::SessionInfo> WhichRunning::find(Link& link) {
  if (auto usable = daemon.resolve_to_reach(); !usable) return tl::unexpected(usable.error());
  const auto there = link.connect(daemon.socket);
  if (!there && there.error().kind == Error::Kind::absent)
    return tl::unexpected(Error{
        fmt::format(
            "find a session that works: no daemon runs on {}, so none does; `lares run` begins one",
            daemon.socket),
        Error::Kind::absent});
  if (!there) return tl::unexpected(there.error());
  if (!session.empty()) return link.call<protocol::SessionInfo>(protocol::SessionGet{session});
  const auto top = repository_root(root);
  if (!top) return tl::unexpected(top.error());
  protocol::SessionList list;
  list.root = *top;
  list.worktrees = true;
  auto listed = link.call<protocol::SessionListResult>(list);
  if (!listed) return tl::unexpected(listed.error());
  std::erase_if(listed->sessions, [](const auto& s) { return s.turn_id == 0; });
  if (listed->sessions.empty())
    return tl::unexpected(Error{fmt::format(
        "find a session that works on {}: none does; `lares sessions --all` lists what there is",
        *top)});
  if (listed->sessions.size() > 1) {
    std::string ids;
    for (const auto& s : listed->sessions) ids += (ids.empty() ? "" : ", ") + s.session_id;
    return tl::unexpected(
        Error{fmt::format("find the session that works on {}: {} do, {}; name one of them", *top,
                          listed->sessions.size(), ids)});
  }
  return std::move(listed->sessions.front());
}

}  // namespace lares::cli
