// An idle session goes on by itself when a background job ends: the end is accepted as a prompt of
// the daemon's own, so that the journal has all there is to know of it.
#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <memory>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/protocol/turn_reasons.h"
#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "daemon/utf8.h"
#include "tools/shell/jobs.h"

namespace lares::daemon {
namespace {

// At the jobs of an idle shell, which takes it a millisecond
constexpr std::chrono::milliseconds kLookEvery{1000};
constexpr std::string_view kNobodyWrote =
    "\nThe user has written nothing since your last answer. If you waited for this, go on with "
    "what it was for; else say in a sentence what it means.";

}  // namespace

// Since somebody last wrote.
int Session::n_wakes() const {
  const auto written = std::ranges::find_if(
      prompts_.rbegin(), prompts_.rend(), [](const Prompt& p) { return p.send.delivery != kWake; });
  return static_cast<int>(written - prompts_.rbegin());
}

// Whoever stopped a turn, or was told why it failed, wants no other to begin by itself.
bool Session::may_wake() const {
  if (turn_ || rewinding_ || info_.closed || !failure_.empty() ||
      last_reason_ != protocol::reason::kEndTurn || n_waiting() > 0)
    return false;
  if (world_.wake == Wake::never || n_wakes() >= kWakesMax || world_.host->stopping()) return false;
  return settings(info_.settings.mode).tools == ToolUse::all && tools::any_job_runs(tools_);
}

void Session::watch_jobs() {
  if (watches_jobs_ || !may_wake()) return;
  watches_jobs_ = true;
  asio::co_spawn(world_.io, look_for_ends(weak_from_this(), world_.io),
                 [session = weak_from_this(), log = world_.log,
                  id = info_.session_id](std::exception_ptr thrown) {
                   if (!thrown) return;
                   if (const auto self = session.lock())
                     self->watches_jobs_ = false;  // the end of its next turn begins anew
                   try {
                     std::rethrow_exception(thrown);
                   } catch (const std::exception& e) {
                     log->event("jobs_unwatched", {{"session", id}, {"why", e.what()}});
                   }
                 });
}

asio::awaitable<void> Session::look_for_ends(std::weak_ptr<Session> session,
                                             asio::any_io_executor io) {
  for (asio::steady_timer timer(io);;) {
    timer.expires_after(kLookEvery);
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    const auto self = session.lock();
    if (!self) co_return;
    if (!self->may_wake()) {
      self->watches_jobs_ = false;
      co_return;
    }
    if (self->world_.wake == Wake::attended && !self->somebody_is_there()) continue;
    auto asking = self->news_of_jobs();
    const std::string news = co_await std::move(asking);
    if (!news.empty() && !self->info_.closed && self->world_.wake != Wake::never) self->wake(news);
  }
}

// Of the shell alone, which has them: whoever brings MCP servers meanwhile replaces other tools.
asio::awaitable<std::string> Session::news_of_jobs() {
  tools::Tool* const shell = find_tool(tools_, std::string(tools::kBashTool));
  if (!shell) co_return std::string();
  asks_tools_ = true;
  auto asked = [](Session* session) {  // also where a tool throws
    session->asks_tools_ = false;
    session->dropped_tools_.clear();
  };
  const std::unique_ptr<Session, decltype(asked)> until_asked(this, asked);
  auto asking = shell->news();
  const std::string news = co_await std::move(asking);
  co_return valid_utf8(news);
}

void Session::drop_tools() {
  if (asks_tools_) std::ranges::move(tools_, std::back_inserter(dropped_tools_));
  tools_.clear();
}

void Session::wake(const std::string& news) {
  protocol::PromptSend prompt{.session_id = info_.session_id,
                              .id = fmt::format("{}.job{}", info_.session_id, journal_.size()),
                              .content = news,
                              .delivery = std::string(kWake)};
  fact(protocol::PromptAccepted{.id = prompt.id,
                                .content = prompt.content,
                                .delivery = prompt.delivery,
                                .mode = prompt.mode});
  if (!failure_.empty())
    return;  // whoever makes it writable again is shown that the daemon could not go on
  prompts_.push_back({.send = std::move(prompt), .seq = info_.last_seq});
  world_.log->event("wake", {{"session", info_.session_id}, {"in_a_row", n_wakes()}});
  start_next();
}

// What a turn that begins by itself is about; people are told it as a note, for nobody wrote it.
Said Session::woken_by(const std::string& news, std::vector<std::string>& notes) const {
  notes.push_back(news);
  if (n_wakes() >= kWakesMax)
    notes.push_back(
        fmt::format("the session has gone on by itself {} times: the next job that ends waits for "
                    "what you write",
                    kWakesMax));
  return {"", news + std::string(kNobodyWrote), "", ""};
}

}  // namespace lares::daemon
