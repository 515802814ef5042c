#include "daemon/session/session.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/session/facts.h"

namespace lares::daemon {

using protocol::Json;

bool Session::record(std::string_view method, const Json& params) {
  if (!failure_.empty()) return false;  // a gap would make what follows it wrong
  Json frame;
  frame["method"] = method;
  frame["params"] = params;
  if (const auto done = journal_.append(protocol::dump(frame)); !done) {
    fail(done.error());
    return false;
  }
  info_.last_seq = static_cast<std::int64_t>(journal_.size());
  return true;
}

// Nobody may see what is not on disk, so the turn cannot go on.
void Session::fail(const std::string& why) {
  failure_ = why;
  world_.log->event("journal_failed", {{"session", info_.session_id}, {"why", why}});
  if (turn_) turn_->stop.request();
}

protocol::Error Session::unwritten(const std::string& why) {
  return refusal(protocol::Code::internal, "write the session's journal: " + why,
                 "when the disk has room again, send it again");
}

void Session::forked() {
  unsure_ = true;
  Json fork;
  fork["words"] = words_before_;
  if (had_shell_) fork["shell"] = true;
  if (!transcript_.root.empty()) fork["root"] = transcript_.root;
  record(kForked, fork);
}

Reply<std::shared_ptr<Session>> Session::create(const SessionWorld& world,
                                                protocol::SessionInfo info) {
  const std::string path = world.state_dir + "/sessions/" + info.session_id + ".journal";
  auto journal = Journal::create(path);
  if (!journal) return tl::unexpected(refusal(protocol::Code::internal, journal.error()));
  std::shared_ptr<Session> session(new Session(world, std::move(*journal)));
  info.created_ms = info.updated_ms = unix_ms();
  session->info_ = info;
  session->idle_.open();
  session->fact(protocol::SessionCreated{.session = info});
  if (!session->failure_.empty()) {
    ::unlink(path.c_str());  // nobody has been told of it
    return tl::unexpected(session->unwritten());
  }
  return session;
}

tl::expected<std::shared_ptr<Session>, std::string> Session::open(const SessionWorld& world,
                                                                  const std::string& path) {
  std::vector<std::string> payloads;  // the session exists only once the journal does
  auto journal = Journal::open(
      path, [&](std::size_t, std::string_view payload) { payloads.emplace_back(payload); });
  if (!journal) return tl::unexpected(journal.error());
  if (const auto& repair = journal->repair(); repair.bytes_cut > 0) {
    world.log->event("journal_repaired", {{"path", path},
                                          {"bytes_cut", repair.bytes_cut},
                                          {"kept_in", repair.kept_in},
                                          {"why", repair.why}});
  }
  std::shared_ptr<Session> session(new Session(world, std::move(*journal)));
  session->idle_.open();
  for (std::size_t i = 0; i < payloads.size(); ++i)
    session->restore(payloads[i], static_cast<std::int64_t>(i) + 1);
  if (session->info_.session_id.empty())
    return tl::unexpected(
        fmt::format("open the session {}: it does not begin with its creation", path));
  session->info_.last_seq = static_cast<std::int64_t>(session->journal_.size());
  if (const auto& repair = session->journal_.repair(); repair.bytes_cut > 0) {
    session->repair_ = fmt::format(
        "the last {} bytes of this session's journal were damaged and cut off; they are in {}",
        repair.bytes_cut, repair.kept_in);
    session->record(kRepaired, {{"note", session->repair_}});
  }
  session->mend("the daemon died during this turn");
  session->tell_cut_off(payloads);
  return session;
}

Session::~Session() = default;

std::optional<std::string> Session::event_after(std::int64_t after, std::int64_t& seq) const {
  for (std::size_t i = static_cast<std::size_t>(std::max<std::int64_t>(0, after));
       i < journal_.size(); ++i) {
    auto payload = journal_.read(i);
    seq = static_cast<std::int64_t>(i) + 1;
    if (!payload || payload->starts_with(R"({"method":"lares/)")) continue;
    return std::move(*payload);
  }
  seq = static_cast<std::int64_t>(journal_.size());
  return std::nullopt;
}

std::int64_t Session::interrupt(std::int64_t turn_id) {
  if (testing_ && turn_id == 0) testing_->request();
  if (!turn_ || (turn_id != 0 && turn_->id != turn_id)) return 0;
  turn_->stop.request();
  if (question_) question_->settled.open();
  permissions_.stop();
  state("stopping");
  return turn_->id;
}

void Session::close() {
  interrupt(0);
  if (info_.closed && !put_away_) return;
  info_.closed = true, put_away_ = false;
  fact(protocol::SessionClosed{});
  if (!turn_) drop_tools();
  world_.changed();
}

asio::awaitable<void> Session::put_away(std::int64_t turn_id) {
  const auto self = shared_from_this();
  if (turn_id != 0 && interrupt(turn_id) != 0) co_await idle_.wait();
  if (turn_ || testing_ || rewinding_ || info_.closed || n_waiting() > 0) co_return;
  const std::int64_t now = unix_ms();
  if (!record(kPutAway, {{"t", now}})) co_return;
  info_.closed = put_away_ = true, info_.updated_ms = now;
  sync_soon();
  drop_tools();
  world_.changed();
}

asio::awaitable<void> Session::ended() {
  const auto self = shared_from_this();
  co_await idle_.wait();
  if (info_.closed) drop_tools();
}

asio::awaitable<Reply<>> Session::close_and_keep() {
  const auto self = shared_from_this();
  const bool was_closed = info_.closed && !put_away_;
  close();
  co_await ended();
  if (failure_.empty() || was_closed) co_return Reply<>();
  info_.closed = false;
  if (!co_await writable()) co_return tl::unexpected(unwritten());
  close();  // there is room again
  if (failure_.empty()) co_return Reply<>();
  info_.closed = false;
  co_return tl::unexpected(unwritten());
}

bool Session::ended_well() const {
  return !turn_ && !rewinding_ && failure_.empty() && info_.turn_id == 0 &&
         (info_.closed || n_waiting() == 0);
}

// What would be lost: of any, which prompts were refused, and news that the model has not read. Of
// an open one, its shell, what its model has evaluated and was shown, and what its client brought.
// A closed one goes on with nothing.
bool Session::journal_says_all() const {
  if (!ended_well() || testing_ || syncing_ || asks_tools_ || !subscribers_.empty()) return false;
  if (!refused_.empty() || !unread_news_.empty()) return false;
  return info_.closed || (tools_.empty() && servers_.empty() && !timeline_ && !pinned_ && !editor_);
}

void Session::sleep() {
  if (turn_ || rewinding_ || !timeline_) return;
  timeline_ = nullptr;
}

std::vector<std::string> Session::snapshots(bool resync) const {
  std::vector<std::string> lines;
  for (const auto& [id, item] : open_) {
    protocol::ItemSnapshot snapshot{
        .at = {.session_id = info_.session_id, .t = unix_ms()}, .item = item, .resync = resync};
    lines.push_back(protocol::notification_line(snapshot));
  }
  return lines;
}

void Session::subscribe(Subscriber* subscriber) {
  for (const auto& line : snapshots(false))
    subscriber->notify(info_.session_id, line, Subscriber::Weight::state);
  subscribers_.insert(subscriber);
  coming_.erase(subscriber);
  go_on_if_unattended();  // it may have been the person, and only looks on now
  watch_jobs();
}

void Session::leaves_off(Subscriber* subscriber) {
  subscribers_.erase(subscriber);
  if (subscriber == editor_) editor_ = nullptr, overlays_->editor_left();
}

void Session::comes(Subscriber* subscriber) {
  leaves_off(subscriber);
  coming_.insert(subscriber);
}

void Session::unsubscribe(Subscriber* subscriber) {
  leaves_off(subscriber);
  coming_.erase(subscriber);
  go_on_if_unattended();
}

}  // namespace lares::daemon
