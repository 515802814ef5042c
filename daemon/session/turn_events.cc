// What a turn tells its session: facts for the journal, and what only those who look on see.
#include <string_view>
#include <utility>

#include <boost/asio/co_spawn.hpp>

#include "daemon/ended.h"
#include "daemon/on_disk_pool.h"
#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "daemon/turn/until_stopped.h"
#include "daemon/utf8.h"

namespace lares::daemon {
namespace {

using protocol::Json;

// Live output a snapshot of a running command shows
constexpr std::size_t kOpenOutputBytesMax = 1 << 20;
// So that they are not what the next prompt has no room for.
constexpr std::size_t kUnreadNewsBytesMax = 2000;

}  // namespace

void Session::state(std::string_view state) {
  if (turn_ && turn_->stop.requested()) state = "stopping";
  info_.state = state;
  ephemeral(protocol::SessionState{.state = info_.state,
                                   .turn_id = info_.turn_id,
                                   .n_queued = static_cast<int>(n_waiting())},
            Subscriber::Weight::state);
  world_.changed();
}

void Session::prefill(std::int64_t step, std::int64_t done, std::int64_t total) {
  ephemeral(
      protocol::TurnPrefill{.turn_id = info_.turn_id, .step = step, .done = done, .total = total},
      Subscriber::Weight::delta);
}

void Session::item_started(const protocol::Item& item) {
  open_[item.id] = item;
  open_[item.id].began_ms = unix_ms();
  ephemeral(protocol::ItemStarted{.item = item}, Subscriber::Weight::state);
}

void Session::item_delta(const std::string& item_id, std::string_view field,
                         const std::string& text, std::int64_t tokens) {
  const auto it = open_.find(item_id);
  if (it == open_.end()) return;
  std::string& whole = field == "text"        ? it->second.text
                       : field == "arguments" ? it->second.arguments
                                              : it->second.output;
  const auto off = static_cast<std::int64_t>(whole.size());
  if (field == "output" && whole.size() > kOpenOutputBytesMax)
    return;  // the result has it, clipped
  whole += text;
  ephemeral(protocol::ItemDelta{.turn_id = info_.turn_id,
                                .item_id = item_id,
                                .field = std::string(field),
                                .off = off,
                                .text = text,
                                .tokens = tokens},
            Subscriber::Weight::delta);
}

asio::awaitable<bool> Session::synced() {
  const auto sync = [this] { return journal_.sync(); };
  const auto done = co_await on_disk_pool(*world_.disk, sync);
  if (!done && failure_.empty()) fail(done.error());  // what was written may be on no disk
  co_return done.has_value();
}

void Session::sync_soon() {
  sync_wanted_ = true;
  if (std::exchange(syncing_, true)) return;
  asio::co_spawn(
      world_.io, [self = shared_from_this()] { return self->sync_while_wanted(); },
      [self = shared_from_this()](std::exception_ptr thrown) {
        if (!thrown) return;
        self->syncing_ = false;
        self->fail("sync it: " + thrown_by(thrown));
      });
}

asio::awaitable<void> Session::sync_while_wanted() {
  const auto self = shared_from_this();
  while (std::exchange(sync_wanted_, false)) co_await synced();
  syncing_ = false;
}

void Session::item_updated(const protocol::Item& item) {
  open_[item.id] = item;
  open_[item.id].began_ms = unix_ms();
  fact(protocol::ItemUpdated{.item = item});
}

void Session::item_completed(const protocol::Item& item) {
  open_.erase(item.id);
  turn_log_.completed(item);
  for (const auto& change : item.changes) {
    if (item.changes_untold) break;  // of a command: the model has not seen what it wrote
    written_.push_back({change.path, blob_shown(change)});
    shown_.told(change.path);
  }
  fact(protocol::ItemCompleted{.item = item});
  if (item.kind == "tool") sync_soon();
  asked_.settle(item.id, failure_.empty() && item.state != "cancelled");
}

void Session::step(std::int64_t step, const std::string& reason, const protocol::Usage& usage) {
  info_.context_tokens = usage.context;
  fact(
      protocol::TurnStep{.turn_id = info_.turn_id, .step = step, .reason = reason, .usage = usage});
}

void Session::appended(const std::vector<engine::Token>& ids,
                       const std::vector<std::string>& results) {
  Json params;
  params["ids"] = ids;
  params["results"] = results;
  if (!ids.empty() && transcript_.vocabulary != vocabulary_)
    params["vocabulary"] = transcript_.vocabulary = vocabulary_;
  if (!ids.empty()) transcript_.root.clear();  // changes_of_others() is in them
  record(kAppended, params);
  record_shown();  // after what shows it: a crash in between tells it twice, not never
}

void Session::drawn(const Drawn& how) {
  Json params = Json::object();
  for (const auto& part : how.parts) params["parts"].push_back({part.at, part.draw});
  if (how.n_kept) params["kept"] = *how.n_kept;
  if (how.avoid) params["avoid"] = *how.avoid;
  if (how.without_tools) params["withoutTools"] = true;
  if (how.think_tokens_max) params["thinkTokensMax"] = *how.think_tokens_max;
  record(kDrawn, params);
}

void Session::shortened(Transcript before, const std::vector<engine::Token>& ids) {
  transcript_.vocabulary = before.vocabulary;
  turn_log_.shortened(std::move(before));
  if (anew_) adopt(std::move(*std::exchange(anew_, std::nullopt)));
  record(kShortened, {{"ids", ids}});
  record_shown();
}

// A prompt then has a turn of its own, which says what becomes of it. Of the files the model is
// told in a sentence: their text had no room.
void Session::unread(Unread what) {
  Json params = Json::object();
  if (what.changes) params["changes"] = true;
  if (!what.prompt_ids.empty()) params["prompts"] = what.prompt_ids;
  if (!params.empty()) record(kUnread, params);
  if (what.changes) doubt_what_was_shown();
  for (const auto& id : what.prompt_ids) wait_again(id);
  std::size_t left = kUnreadNewsBytesMax;
  for (const auto& news : what.news) {
    const std::string_view fits = utf8_prefix(news, left);
    if (fits.empty()) break;
    left -= fits.size();
    unread_news_.emplace_back(fits);
  }
}

void Session::wait_again(const std::string& prompt_id) {
  if (Prompt* p = prompt_of(prompt_id)) p->turn_id = 0, p->delivered = false;
}

// The skill that a prompt calls is looked up only now: it was acknowledged, and a prompt that is
// accepted after it comes after it. What the turn's stop leaves here waits for the next turn.
asio::awaitable<std::vector<Said>> Session::steering() {
  std::vector<Said> out;
  for (std::size_t i = 0; i < prompts_.size(); ++i) {  // more may come meanwhile
    Prompt& p = prompts_[i];
    if (!steers(p)) continue;
    auto looking = left_when_stopped(turn_->stop, skill_called_by(p.send.content));
    const auto called = co_await std::move(looking);
    if (!called) break;
    if (!steers(p)) continue;  // it was withdrawn
    p.turn_id = info_.turn_id, p.delivered = true;
    out.push_back({p.send.id, p.send.content, called->for_model, called->note});
  }
  co_return out;
}

}  // namespace lares::daemon
