// Which sessions are in memory, and which closed ones stay on the disk.
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/ended.h"
#include "daemon/on_disk_pool.h"
#include "daemon/session/facts.h"
#include "daemon/session/on_disk.h"
#include "daemon/session/sessions.h"
#include "daemon/session/summary.h"

namespace lares::daemon {

namespace {

constexpr std::size_t kPutAwayAtOnce = 8;
constexpr std::uint64_t kWorthGoing = 64;  // a part in so many of what is too much

// One of its own (worktrees.h), which is still there.
bool has_worktree(const protocol::SessionInfo& info) {
  std::error_code ec;
  return info.root.find("/worktrees/") != std::string::npos &&
         info.root.ends_with(info.session_id) && std::filesystem::exists(info.root, ec);
}

}  // namespace

asio::awaitable<Reply<std::shared_ptr<Session>>> Sessions::open(std::string id) {
  const auto found = named(id);
  if (!found) co_return tl::unexpected(found.error());
  id = (*found)->first;
  for (;;) {
    const auto at = sessions_.find(id);
    if (at == sessions_.end())
      co_return tl::unexpected(
          refusal(protocol::Code::not_found, fmt::format("there is no session {} any more", id)));
    if (at->second.session) co_return at->second.session;
    if (!at->second.opening) break;
    const auto opening = at->second.opening;  // two would be two sessions with one journal
    co_await opening->wait();
  }
  Kept& kept = sessions_.find(id)->second;  // nobody takes it out while it is opened
  kept.opening = std::make_shared<Gate>(world_.io);
  const std::string journal = journal_of(id);
  const auto read = [&] {
    remove_summary(journal);
    return Session::open(world_, journal);
  };
  tl::expected<std::shared_ptr<Session>, std::string> session;
  try {
    session = co_await on_disk_pool(*world_.disk, read);
  } catch (const std::exception& e) {
    session = tl::unexpected<std::string>(e.what());
  }
  std::exchange(kept.opening, nullptr)->open();
  rest_soon();
  kept.unreadable = !session;
  if (!session)
    co_return tl::unexpected(
        refusal(protocol::Code::internal, fmt::format("open session {}: {}", id, session.error())));
  kept.session = *session, kept.bytes = 0;
  co_return std::move(*session);
}

// Another name for a journal is somebody's copy of it.
bool Sessions::may_rest(const Map::value_type& each) const {
  const Session* const session = each.second.session.get();
  return session && session->journal_says_all() &&
         session->journal().path() == journal_of(each.first);
}

void Sessions::rest(Kept& kept) {
  kept.info = kept.session->info();
  kept.bytes = 0;
  write_summary(kept.session->journal().path(), kept.session->journal().bytes(), kept.info);
  kept.session = nullptr;
}

void Sessions::leave() {
  for (auto& [id, kept] : sessions_) {
    const Session* const session = kept.session.get();
    if (session && session->ended_well())
      write_summary(session->journal().path(), session->journal().bytes(), session->info());
  }
}

bool Sessions::rest_those_that_can() {
  bool held = false, any = false;
  for (auto& each : sessions_) {
    const auto& session = each.second.session;
    if (!session) continue;
    if (may_rest(each) && session.use_count() == 1) {  // all who hold one do so on this thread
      rest(each.second);
      any = true;
    } else {
      held = held || may_rest(each) || (session->info().closed && session->ended_well());
    }
  }
  // What they took was spread over the heap, which keeps it otherwise.
  if (any) asio::post(*world_.disk, [] { ::malloc_trim(0); });
  return held;
}

asio::awaitable<void> Sessions::rest_while_some_can() {
  asio::steady_timer timer(world_.io);
  for (bool held = true; held;) {
    timer.expires_after(kRestEvery);
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    auto putting_away = put_away_idle();
    const bool more = co_await std::move(putting_away);
    held = rest_those_that_can() || more;
    auto limiting = limit_closed();
    co_await std::move(limiting);
  }
}

void Sessions::rest_soon() {
  if (std::exchange(rests_, true)) return;
  asio::co_spawn(world_.io, rest_while_some_can(), [this](std::exception_ptr thrown) {
    rests_ = false;
    if (thrown) world_.log->event("sessions_not_at_rest", {{"why", thrown_by(thrown)}});
  });
}

bool Sessions::idle(const Kept& kept) const {
  const protocol::SessionInfo& about = kept.about();
  if (about.closed || about.turn_id != 0 || kept.opening || kept.unreadable || has_worktree(about))
    return false;
  if (kept.session && (kept.session->running() || kept.session->followed())) return false;
  return about.updated_ms + limits_.idle.count() < unix_ms();
}

// Closed, at rest, and nothing else that is there refers to it.
bool Sessions::may_go(const Kept& kept) const {
  return !kept.session && !kept.opening && kept.info.closed && !has_worktree(kept.info);
}

// They are in memory for it: a few at a time. True: there are more.
asio::awaitable<bool> Sessions::put_away_idle() {
  std::vector<std::string> ids;
  for (const auto& [id, kept] : sessions_)
    if (idle(kept)) ids.push_back(id);
  const bool more = ids.size() > kPutAwayAtOnce;
  if (more) ids.resize(kPutAwayAtOnce);
  bool any = false;
  for (const auto& id : ids) {
    auto opening = open(id);
    const auto session = co_await std::move(opening);
    const auto at = sessions_.find(id);
    if (!session)
      world_.log->event("session_unreadable", {{"session", id}, {"why", session.error().message}});
    if (!session || at == sessions_.end() || !idle(at->second)) continue;
    auto leaving = (*session)->put_away(0);
    co_await std::move(leaving);
    any = any || (*session)->info().closed;
  }
  const bool go_on = more && any;
  co_return go_on;
}

// Those used longest ago first, until the others are few enough, and take little enough: of those
// whose going makes a difference, so that thousands do not go for the one that is large.
std::vector<std::string> Sessions::too_many_closed() const {
  std::int64_t n = 0;
  std::uint64_t bytes = 0;
  std::vector<const Map::value_type*> closed;
  for (const auto& each : sessions_) {
    if (!may_go(each.second)) continue;
    ++n, bytes += each.second.bytes;
    closed.push_back(&each);
  }
  std::ranges::sort(closed, {}, [](const auto* each) {
    return std::pair(each->second.info.updated_ms, each->second.info.created_ms);
  });
  std::vector<std::string> out;
  const auto take = [&](auto at) {
    --n, bytes -= (*at)->second.bytes;
    out.push_back((*at)->first);
    closed.erase(at);
  };
  while (n > limits_.closed_sessions) take(closed.begin());
  while (bytes > limits_.closed_bytes) {
    const std::uint64_t worth = (bytes - limits_.closed_bytes) / kWorthGoing;
    const auto large = std::ranges::find_if(
        closed, [&](const auto* each) { return each->second.bytes >= worth; });
    take(large == closed.end() ? closed.begin() : large);
  }
  return out;
}

asio::awaitable<void> Sessions::limit_closed() {
  std::vector<std::string> unmeasured;
  for (const auto& [id, kept] : sessions_)
    if (!kept.session && kept.info.closed && kept.bytes == 0) unmeasured.push_back(id);
  if (unmeasured.empty()) co_return;  // nothing is closed that was not when this was looked at last
  const auto measure = [&] { return bytes_of_sessions(world_.state_dir, unmeasured); };
  const auto measured = co_await on_disk_pool(*world_.disk, measure);
  for (const auto& [id, bytes] : measured)
    if (const auto at = sessions_.find(id); at != sessions_.end() && !at->second.session)
      at->second.bytes = std::max<std::uint64_t>(bytes, 1);
  const std::vector<std::string> gone = too_many_closed();
  if (gone.empty()) co_return;
  for (const auto& id : gone) {
    world_.log->event("session_removed", {{"session", id},
                                          {"bytes", sessions_[id].bytes},
                                          {"closed_sessions", limits_.closed_sessions},
                                          {"closed_bytes", limits_.closed_bytes}});
    sessions_.erase(id);
  }
  const auto remove = [&] {
    std::map<std::string, std::string> kept;  // why
    for (const auto& id : gone)
      if (auto why = remove_session(world_.state_dir, id); !why.empty()) kept[id] = std::move(why);
    return kept;
  };
  const auto kept = co_await on_disk_pool(*world_.disk, remove);
  for (const auto& [id, why] : kept)
    world_.log->event("session_not_removed", {{"session", id}, {"why", why}});
}

}  // namespace lares::daemon
