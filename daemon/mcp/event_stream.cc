#include "daemon/mcp/event_stream.h"

#include <charconv>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

namespace lares::daemon {
namespace {

constexpr auto kUse = asio::as_tuple(asio::use_awaitable);

}  // namespace

void EventStream::put(std::string message) {
  if (over_) return;
  bytes_ += message.size();
  events_.push_back({++n_events_, std::move(message)});
  while (events_.size() > kEventsKeptMax || (bytes_ > kEventBytesKeptMax && events_.size() > 1)) {
    bytes_ -= events_.front().message.size();
    events_.pop_front();
  }
  wake();
}

void EventStream::finish(std::string message, int http_status) {
  if (over_) return;
  status_ = http_status;
  if (!message.empty()) put(std::move(message));
  over_ = true;
  wake();
}

void EventStream::answer(std::string message) {
  ++n_answers_;
  put(std::move(message));
}

std::string EventStream::answer() const {
  if (n_answers_ == 0) return events_.empty() ? "" : events_.back().message;
  std::string all;
  for (const Event& event : events_) (all += all.empty() ? '[' : ',') += event.message;
  return all + ']';
}

void EventStream::let_go() {
  let_go_ = true;
  wake();
}

asio::awaitable<void> EventStream::first(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!over_ && events_.size() <= n_answers_) {
    wake_.expires_at(until);
    const auto [ec] = co_await wake_.async_wait(kUse);
    if (!ec) break;  // else something is there
  }
}

asio::awaitable<bool> EventStream::write_new(Exchange& exchange, std::int64_t& after,
                                             bool resumable) {
  while (!events_.empty() && events_.back().number > after) {
    std::string bytes;
    for (const Event& event : events_) {
      if (event.number <= after) continue;
      if (resumable) bytes += fmt::format("id: {}-{}\n", number_, event.number);
      bytes += "event: message\ndata: " + event.message + "\n\n";
      after = event.number;
      if (bytes.size() > kEventBytesKeptMax / 8) break;
    }
    const bool written = co_await exchange.write(std::move(bytes));
    if (!written) co_return false;
    written_ = std::max(written_, after);
  }
  co_return true;
}

asio::awaitable<bool> EventStream::write_to(Exchange& exchange, HttpHeaders headers,
                                            std::int64_t after, bool resumable) {
  const int me = ++reader_;  // a later reader takes over
  wake();
  let_go_ = false;
  headers.emplace_back("Cache-Control", "no-cache");
  headers.emplace_back("X-Accel-Buffering", "no");
  HttpReply head{.content_type = "text/event-stream", .headers = std::move(headers)};
  co_await exchange.begin(std::move(head), ": \n\n");
  if (resumable) {
    const bool written = co_await exchange.write(
        fmt::format("id: {}-{}\nretry: {}\ndata: \n\n", number_, after, kRetryMs));
    if (!written) co_return false;
  }
  const auto gone = exchange.gone();
  const std::stop_callback on_gone(gone, [this] { wake(); });
  for (;;) {
    const bool written = co_await write_new(exchange, after, resumable);
    if (!written || gone.stop_requested()) co_return false;
    if (over_) {
      read_ = true;
      co_return true;
    }
    if (me != reader_ || (let_go_ && resumable)) {
      co_await exchange.end();
      co_return false;
    }
    wake_.expires_at(asio::steady_timer::time_point::max());
    co_await wake_.async_wait(kUse);
  }
}

bool parse_event_id(std::string_view id, std::int64_t& stream, std::int64_t& event) {
  const char* const end = id.data() + id.size();
  const auto [dash, first] = std::from_chars(id.data(), end, stream);
  if (first != std::errc() || dash == end || *dash != '-') return false;
  const auto [last, second] = std::from_chars(dash + 1, end, event);
  return second == std::errc() && last == end && stream >= 0 && event >= 0;
}

}  // namespace lares::daemon
