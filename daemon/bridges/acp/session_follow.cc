// How a session is followed: what is past, what comes, and both again when the daemon was lost; the
// editor's MCP servers go with it.
#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/bridges/acp/session.h"
#include "daemon/protocol/mcp_wire.h"
#include "daemon/protocol/overlay_wire.h"

namespace lares::cli::acp {

asio::awaitable<Reply<>> Session::replay() {
  std::vector<protocol::Message> events;  // without turns that were gone back behind
  // Those turns, by rewinding: each may be taken back, the last first, until a turn begins
  std::vector<std::vector<protocol::Message>> undone;
  last_seq_ = 0;
  for (bool more = true; more;) {
    protocol::SessionHistory request;
    request.session_id = id(), request.after = last_seq_;
    auto calling = world_.daemon->call(std::move(request));
    const auto answer = co_await std::move(calling);
    if (!answer) co_return tl::unexpected(answer.error());
    auto page = protocol::history_from_json(*answer);
    if (!page)
      co_return tl::unexpected(
          Fault{kInternal, "session/history: the daemon's answer makes no sense: " + page.error()});
    more = page->more && !page->events.empty();
    for (auto& event : page->events) {
      const auto turn_of = [](const protocol::Message& m) {
        const Json& item = at(m.params, "item");
        const Json& turn = at(item.is_object() ? item : m.params, "turnId");
        return turn.is_number_integer() ? turn.get<std::int64_t>() : 0;
      };
      if (const Json& seq = at(event.params, "seq"); seq.is_number_integer())
        last_seq_ = seq.get<std::int64_t>();
      protocol::Message message{.method = std::move(event.method),
                                .id = {},
                                .params = std::move(event.params),
                                .result = {},
                                .error = {}};
      if (message.method == protocol::SessionRewound::kNotification) {
        const auto first = std::stable_partition(events.begin(), events.end(), [&](const auto& m) {
          return turn_of(m) < turn_of(message) || turn_of(m) == 0;
        });
        undone.emplace_back(std::make_move_iterator(first), std::make_move_iterator(events.end()));
        events.erase(first, events.end());
      } else if (message.method == protocol::SessionUnrewound::kNotification) {
        if (undone.empty()) continue;
        std::ranges::move(undone.back(), std::back_inserter(events));
        undone.pop_back();
      } else {
        if (message.method == protocol::TurnStarted::kNotification) undone.clear();
        events.push_back(std::move(message));
      }
    }
  }
  for (const auto& message : events) {
    replaying_ = true;  // what is past comes before the answer, by the protocol
    view_.replay(message);
    replaying_ = false;
    co_await world_.editor->drained();
  }
  co_return Reply<>();
}

void Session::servers_brought(const Reply<Json>& used) {
  servers_wait_ = !used && used.error().code == static_cast<int>(protocol::Code::busy);
  if (servers_wait_)
    return view_.notice("info", "The editor's MCP servers are used when this turn has ended.");
  if (!used) return view_.notice("warning", used.error().message);
  for (const Json& problem : used->value("problems", Json::array())) {
    if (problem.is_string()) view_.notice("warning", problem.get<std::string>());
  }
}

asio::awaitable<void> Session::bring_servers_late() {
  const auto self = shared_from_this();
  const Json params = {{"sessionId", id()}, {"servers", servers_}};
  auto bringing = world_.daemon->call(std::string(protocol::kSessionMcpServers), params);
  const Reply<Json> used = co_await std::move(bringing);
  // The next turn began at once; the user knows already
  const bool busy = !used && used.error().code == static_cast<int>(protocol::Code::busy);
  servers_wait_ = busy;
  if (!busy) servers_brought(used);
}

asio::awaitable<Reply<>> Session::follow() {
  if (!servers_.empty()) {
    const Json params = {{"sessionId", id()}, {"servers", servers_}};
    auto bringing = world_.daemon->call(std::string(protocol::kSessionMcpServers), params);
    const Reply<Json> used = co_await std::move(bringing);
    servers_brought(used);
  }
  protocol::SessionSubscribe request;
  request.session_id = id(), request.after = last_seq_, request.interactive = true;
  auto calling = world_.daemon->call(std::move(request));
  const auto answer = co_await std::move(calling);
  if (!answer) co_return tl::unexpected(answer.error());
  auto holding = hold_files();
  co_await std::move(holding);
  co_return Reply<>();
}

// So that its tools ask what the editor has not saved; an older daemon does not.
asio::awaitable<void> Session::hold_files() {
  if (!world_.can.reads_files) co_return;
  const Json params = {{"sessionId", id()}};
  auto calling = world_.daemon->call_now(std::string(protocol::kSessionHoldFiles), params);
  const auto answer = co_await std::move(calling);
  if (!answer && !answer.error().lost)
    world_.log(fmt::format("session {}: {}", id(), answer.error().message));
}

asio::awaitable<void> Session::again() {
  const auto self = shared_from_this();
  // Another daemon has not heard of them, and it may have begun a turn already
  if (!servers_.empty()) {
    const Json params = {{"sessionId", id()}, {"servers", servers_}};
    auto bringing = world_.daemon->call_now(std::string(protocol::kSessionMcpServers), params);
    const auto used = co_await std::move(bringing);
    servers_wait_ = !used && used.error().code == static_cast<int>(protocol::Code::busy);
  }
  protocol::SessionSubscribe request;
  request.session_id = id(), request.after = last_seq_, request.interactive = true;
  auto calling = world_.daemon->call_now(std::move(request));
  const auto answer = co_await std::move(calling);
  if (!answer && answer.error().lost) co_return;
  if (!answer) {
    const Fault gone{answer.error().code,
                     fmt::format("session {} is lost: {}", id(), answer.error().message)};
    while (!open_.empty())
      close(OpenRef(open_.front()), tl::unexpected(gone));  // a copy: it is taken out of open_
    co_return;
  }
  auto holding = hold_files();
  co_await std::move(holding);
  for (auto& prompt_id : std::exchange(to_withdraw_, {})) spawn(withdraw(std::move(prompt_id)));
}

void Session::lost() {
  if (busy()) view_.notice("warning", "The connection to the daemon was lost; reconnecting.");
}

}  // namespace lares::cli::acp
