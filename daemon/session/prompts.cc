// What people write to a session: each prompt is accepted once, delivered now, later or into a
// running turn, and can be taken back.
#include <algorithm>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <fmt/format.h>

#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "daemon/session/title.h"
#include "daemon/session/worktrees.h"
#include "daemon/turn/shorten.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kBesidePromptBytes = 2048;  // a title, a turn's beginning, a note

// Of a prompt, of its turn's beginning, and of what takes it back where it is refused after all:
// with room for all of that, no prompt is on the disk that nobody wants any more.
std::size_t bytes_of_taking(const protocol::PromptAccepted& accepted) {
  return protocol::dump(protocol::to_json(accepted)).size() +
         2 * protocol::dump(accepted.id).size() + kBesidePromptBytes;
}

}  // namespace

asio::awaitable<Reply<>> Session::set_title(std::string title) {
  const auto self = shared_from_this();
  const std::string line = title_of(title);
  if (line.empty())
    co_return tl::unexpected(refusal(
        protocol::Code::invalid_params,
        fmt::format("name session {}: the title is empty; say in a few words what it is about",
                    info_.session_id)));
  if (!co_await writable()) co_return tl::unexpected(unwritten());
  info_.title = line;
  fact(protocol::SessionUpdated{.title = line});
  if (!failure_.empty()) co_return tl::unexpected(unwritten());
  co_return Reply<>();
}

std::size_t Session::n_waiting() const {
  return static_cast<std::size_t>(
      std::count_if(prompts_.begin(), prompts_.end(),
                    [](const Prompt& p) { return p.turn_id == 0 && !p.delivered; }));
}

Session::Prompt* Session::prompt_of(const std::string& id) {
  const auto last = std::find_if(prompts_.rbegin(), prompts_.rend(),
                                 [&](const Prompt& p) { return p.send.id == id; });
  return last == prompts_.rend() ? nullptr : &*last;
}

asio::awaitable<Reply<protocol::PromptSendResult>> Session::send(protocol::PromptSend prompt) {
  using protocol::Code;
  const auto self = shared_from_this();
  // What the disk has of one that was refused is settled first; then it is as good as new.
  if (refused_.contains(prompt.id) && !co_await writable()) co_return tl::unexpected(unwritten());
  if (const Prompt* known = prompt_of(prompt.id); known && !refused_.contains(prompt.id)) {
    const Prompt& p = *known;
    if (p.send.content != prompt.content || p.send.mode != prompt.mode) {
      co_return tl::unexpected(refusal(
          Code::conflict,
          fmt::format("prompt/send {}: this id was used with another content or mode", prompt.id)));
    }
    co_return protocol::PromptSendResult{
        .id = prompt.id, .seq = p.seq, .turn_id = steers(p) ? turn_->id : p.turn_id};
  }
  std::string& delivery = prompt.delivery;
  if (delivery != "start" && delivery != "queue" && delivery != "steer" &&
      delivery != "interrupt") {
    co_return tl::unexpected(refusal(
        Code::invalid_params,
        fmt::format("delivery must be start, queue, steer or interrupt, not {}", delivery)));
  }
  if (!prompt.mode.empty() && !protocol::is_mode(prompt.mode)) {
    co_return tl::unexpected(refusal(Code::invalid_params,
                                     fmt::format("mode must be work or ask, not {}", prompt.mode)));
  }
  if (info_.closed && !put_away_)
    co_return tl::unexpected(refusal(
        Code::not_found, fmt::format("prompt/send: session {} is closed", info_.session_id),
        fmt::format("`lares fork {}` makes one that knows what it knew", info_.session_id)));
  if (prompt.id.empty() || prompt.content.empty())
    co_return tl::unexpected(refusal(Code::invalid_params, "id and content must not be empty"));
  if (prompt.content.size() > protocol::kPromptBytesMax) {
    co_return tl::unexpected(
        refusal(Code::invalid_params,
                fmt::format("content is longer than {} bytes", protocol::kPromptBytesMax),
                "put it into a file of the repository and name that"));
  }
  if (world_.host->state().state == "failed") {
    co_return tl::unexpected(
        refusal(Code::not_ready, "load the model: " + world_.host->state().message));
  }
  if (!failure_.empty()) {
    if (!co_await writable()) co_return tl::unexpected(unwritten());
    auto again = send(std::move(prompt));  // what was found out above may not be true any more
    co_return co_await std::move(again);
  }
  if (turn_ && turn_->woken && delivery == "start")
    delivery = "queue";  // whoever sent it saw an idle session
  if (turn_ && delivery == "start") {
    co_return tl::unexpected(
        refusal(Code::busy, fmt::format("session {} works on turn {}", info_.session_id, turn_->id),
                "deliver it with queue, steer or interrupt"));
  }
  if (prompt.expect_turn != 0 && (!turn_ || turn_->id != prompt.expect_turn)) {
    co_return tl::unexpected(
        refusal(Code::busy, fmt::format("turn {} is not the running one", prompt.expect_turn)));
  }
  if (n_waiting() >= protocol::kPromptsQueuedMax) {
    auto full = refusal(Code::overloaded,
                        fmt::format("{} prompts wait in session {}", protocol::kPromptsQueuedMax,
                                    info_.session_id));
    full.retry_after_ms = 1000;
    co_return tl::unexpected(std::move(full));
  }
  const protocol::PromptAccepted accepted{
      .id = prompt.id, .content = prompt.content, .delivery = delivery, .mode = prompt.mode};
  if (const auto room = journal_.reserve(bytes_of_taking(accepted)); !room) fail(room.error());
  if (!failure_.empty()) co_return tl::unexpected(unwritten());
  if (info_.title.empty()) {
    info_.title = title_of(prompt.content);
    fact(protocol::SessionUpdated{.title = info_.title});
  }
  fact(accepted);
  if (!failure_.empty()) co_return tl::unexpected(unwritten());
  refused_.erase(prompt.id);
  if (std::exchange(put_away_, false)) info_.closed = false;
  const std::int64_t seq = info_.last_seq;
  prompts_.push_back({.send = prompt, .seq = seq});
  if (delivery == "interrupt") interrupt(0);
  start_next();
  if (!failure_.empty()) {  // it fits on the disk, and its turn's beginning does not
    refuse(prompt.id);
    co_return tl::unexpected(unwritten());
  }
  protocol::PromptSendResult result{
      .id = prompt.id, .seq = seq, .turn_id = prompts_.back().turn_id};
  for (const Prompt& p : prompts_) {
    if (p.send.id == prompt.id) result.turn_id = p.turn_id;
  }
  if (result.turn_id == 0 && steers(prompts_.back())) result.turn_id = turn_->id;
  // Where something else could not be written meanwhile, this is promised all the same.
  if (!co_await synced()) {
    const Prompt* const p = prompt_of(prompt.id);
    if (p && p->turn_id != 0)
      refused_.insert(prompt.id);  // what has begun does not begin again by itself
    else
      refuse(prompt.id);
    co_return tl::unexpected(unwritten());
  }
  co_return result;
}

// Behind what failed, which is not in the journal, or is and may be on no disk: no gap either way.
void Session::refuse(const std::string& prompt_id) {
  refused_.insert(prompt_id);
  Prompt* const p = prompt_of(prompt_id);
  if (!p || p->delivered) return;
  const std::string why = std::exchange(failure_, "");
  fact(protocol::PromptWithdrawn{.id = prompt_id});
  if (!failure_.empty()) return;  // recover() tries again
  p->delivered = true;
  failure_ = why;
}

void Session::start_next() {
  if (turn_ || rewinding_ || info_.closed || !failure_.empty()) return;
  if (world_.host->stopping()) return;  // what waits is the next daemon's
  if (world_.worktrees && world_.worktrees->is_held(info_.root)) return;
  for (Prompt& p : prompts_) {
    if (p.turn_id != 0 || p.delivered) continue;
    p.turn_id = info_.turn_id = ++info_.n_turns;
    info_.turn_began_ms = unix_ms();
    turn_ = std::make_unique<Running>();
    turn_->id = p.turn_id, turn_->mode = mode_of(p.send), turn_->woken = p.send.delivery == kWake;
    turn_->sums_up = !turn_->woken && asks_for_summary(p.send.content);
    turn_->reading = settings(turn_->mode).tools == ToolUse::reading;
    idle_.close();
    turn_log_.begin(p.turn_id, transcript_, journal_.size());
    fact(protocol::TurnStarted{.turn_id = p.turn_id, .prompt_id = p.send.id});
    tell_repair();
    asio::co_spawn(
        world_.io,
        [self = shared_from_this(), id = p.turn_id, prompt = &p] { return self->run(id, prompt); },
        [self = shared_from_this()](std::exception_ptr thrown) {
          if (thrown) self->turn_lost(thrown);
        });
    return;
  }
}

const std::string& Session::mode_of(const protocol::PromptSend& prompt) const {
  return prompt.mode.empty() ? info_.settings.mode : prompt.mode;
}

// Whether the running turn is to hear of it. A question never becomes part of a turn that may
// change files, nor a task of one that may not.
bool Session::steers(const Prompt& prompt) const {
  return turn_ && prompt.turn_id == 0 && !prompt.delivered && prompt.send.delivery == "steer" &&
         mode_of(prompt.send) == turn_->mode && !turn_->sums_up &&
         !asks_for_summary(prompt.send.content) &&
         (settings(turn_->mode).tools == ToolUse::reading) == turn_->reading;
}

asio::awaitable<Reply<protocol::PromptWithdrawResult>> Session::withdraw(std::string prompt_id) {
  using Result = protocol::PromptWithdrawResult;
  const auto self = shared_from_this();
  const bool kept = co_await writable();
  if (Prompt* known = prompt_of(prompt_id)) {
    Prompt& p = *known;
    if (p.turn_id != 0) co_return Result{.turn_id = interrupt(p.turn_id)};
    if (!p.delivered) {
      if (kept) fact(protocol::PromptWithdrawn{.id = prompt_id});
      if (!failure_.empty()) co_return tl::unexpected(unwritten());
      p.delivered = true;
    }
    co_return Result{.withdrawn = true};
  }
  co_return Result{};
}

void Session::withdraw_all() {
  for (Prompt& p : prompts_) {
    if (p.turn_id != 0 || p.delivered) continue;
    fact(protocol::PromptWithdrawn{.id = p.send.id});
    if (!failure_.empty()) return;  // nothing begins any more
    p.delivered = true;
  }
}

}  // namespace lares::daemon
