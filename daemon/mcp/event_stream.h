// What answers one message over HTTP, numbered and kept until it is read: whoever lost the
// connection goes on where it was.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include "daemon/http/exchange.h"
#include "mcp/server.h"

namespace lares::daemon {

inline constexpr std::size_t kEventsKeptMax = 1024;  // of one stream; the oldest go first
inline constexpr std::size_t kEventBytesKeptMax = 4 << 20;
inline constexpr int kRetryMs = 1000;  // after which a client that was let go comes back

class EventStream final : public mcp::server::Outlet {
 public:
  EventStream(asio::any_io_executor io, std::int64_t number) : number_(number), wake_(io) {}

  // Outlet
  void send(std::string message) override { put(std::move(message)); }
  void finish(std::string message, int http_status) override;
  void let_go() override;
  bool answers_apart() const override { return true; }
  void answer(std::string message) override;

  // Until something is there, and of a batch all, or so long.
  asio::awaitable<void> first(std::chrono::milliseconds patience);
  bool answered_at_once() const {
    return over_ && events_.size() <= std::max<std::size_t>(n_answers_, 1);
  }                            // an answer, or those to a batch, and nothing before them
  std::string answer() const;  // a batch's: an array
  int status() const { return status_; }

  // Writes what came after `after` and what comes, until the end, or until somebody else reads.
  // `resumable`: the client hears how to go on. False: the reader went away, or was let go.
  asio::awaitable<bool> write_to(Exchange& exchange, HttpHeaders headers, std::int64_t after,
                                 bool resumable);

  std::int64_t number() const { return number_; }
  std::int64_t written() const { return written_; }  // the last event that somebody was there for
  bool over() const { return over_; }
  bool read() const { return over_ && read_; }  // to its end
  void wake() { wake_.cancel(); }

 private:
  struct Event {
    std::int64_t number;
    std::string message;
  };
  void put(std::string message);
  asio::awaitable<bool> write_new(Exchange& exchange, std::int64_t& after, bool resumable);

  const std::int64_t number_;
  asio::steady_timer wake_;
  std::deque<Event> events_;
  std::size_t bytes_ = 0;
  std::int64_t n_events_ = 0, written_ = 0;
  std::size_t n_answers_ = 0;  // of a batch
  int status_ = 200, reader_ = 0;
  bool over_ = false, read_ = false, let_go_ = false;
};

// "3-17": stream 3, after its event 17. False: it is none of ours.
bool parse_event_id(std::string_view id, std::int64_t& stream, std::int64_t& event);

}  // namespace lares::daemon
