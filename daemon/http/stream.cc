#include "daemon/http/stream.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "daemon/ended.h"

namespace lares::daemon {
namespace {

constexpr auto kUse = asio::as_tuple(asio::use_awaitable);

bool is_unix(const HttpStream::Socket& socket) {
  boost::system::error_code ec;
  const auto here = socket.local_endpoint(ec);
  return !ec && here.protocol().family() == AF_UNIX;
}

}  // namespace

HttpStream::HttpStream(asio::any_io_executor io, Socket socket, const HttpLimits& limits,
                       const Log& log)
    : limits_(limits),
      log_(log),
      socket_(std::move(socket)),
      inbox_bytes_max_(limits.header_bytes + kChunkBytes),
      arrived_(io),
      room_(io),
      may_send_(io),
      watchdog_(io) {
  boost::system::error_code ignored;
  socket_.non_blocking(true, ignored);
}

void HttpStream::start() {
  spawn("reading from an HTTP client", read_loop());
  spawn("watching an HTTP client", watch());
}

// A part that has failed is waited for by the others, which end with the socket.
void HttpStream::spawn(std::string_view what, asio::awaitable<void> part) {
  asio::co_spawn(socket_.get_executor(), std::move(part),
                 logged(log_, what, [self = shared_from_this()](const std::string& why) {
                   if (!why.empty()) self->close();
                 }));
}

// ---- in

asio::awaitable<void> HttpStream::read_loop() {
  bool half_closed = false;
  while (!closed_) {
    if (is_full()) {
      room_.close();
      co_await room_.wait();
      continue;
    }
    auto [ec, n] = co_await socket_.async_read_some(asio::buffer(chunk_), kUse);
    half_closed = ec == asio::error::eof;
    if (ec) break;
    if (!discards_) inbox_.append(chunk_.data(), n);
    fresh_ = true;
    arrived_.open();
  }
  ended_ = true;
  arrived_.open();
  // A peer that has said all it says may still read. Of a Unix socket the kernel tells when it is
  // closed as well; over TCP a peer that is gone looks like that until something was sent to it,
  // which a whole answer does at its end: there it is taken for gone, as by other servers.
  if (half_closed && !closed_ && is_unix(socket_))
    co_await socket_.async_wait(Socket::wait_error, kUse);
  say_gone();
}

void HttpStream::consume(std::size_t n) {
  inbox_.erase(0, n);
  if (inbox_.empty() && inbox_.capacity() > kChunkBytes) inbox_.shrink_to_fit();
  if (!is_full()) room_.open();
}

asio::awaitable<bool> HttpStream::more() {
  while (!fresh_ && !ended_ && !timed_out_) {
    arrived_.close();
    co_await arrived_.wait();
  }
  co_return std::exchange(fresh_, false);
}

void HttpStream::expect_within(std::chrono::milliseconds time) {
  timed_out_ = false;
  expected_ = Clock::now() + time;
  look_again();
}

void HttpStream::expect_at_leisure() { expected_ = Clock::time_point::max(); }

// ---- out

asio::awaitable<bool> HttpStream::send(std::string bytes) {
  while (sending_) {
    may_send_.close();
    co_await may_send_.wait();
  }
  sending_ = true;
  co_await transmit(std::move(bytes));
  co_return !broken_;
}

// With sending_ set. What the kernel takes at once costs no turn of the executor.
asio::awaitable<void> HttpStream::transmit(std::string bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size() && !broken_) {
    boost::system::error_code ec;
    sent += socket_.send(asio::buffer(bytes.data() + sent, bytes.size() - sent), 0, ec);
    if (ec == asio::error::would_block || ec == asio::error::try_again) {
      stuck_ = Clock::now() + limits_.slow_reader;
      look_again();
      const auto [failed] = co_await socket_.async_wait(Socket::wait_write, kUse);
      ec = failed;
      stuck_ = Clock::time_point::max();
    }
    if (ec) broken_ = true;
  }
  speaks_ = Clock::now() + limits_.keep_alive_every;
  sending_ = false;
  may_send_.open();
  look_again();  // silence counts again
}

void HttpStream::on_silence(std::function<std::string()> bytes, std::chrono::milliseconds first) {
  silence_ = std::move(bytes);
  speaks_ = Clock::now() + first;
  look_again();
}

void HttpStream::be_silent() { silence_ = nullptr; }

// ---- the end

void HttpStream::say_gone() { gone_.request_stop(); }

asio::awaitable<void> HttpStream::finish() {
  be_silent();
  while (sending_) {
    may_send_.close();
    co_await may_send_.wait();
  }
  boost::system::error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  // A socket that is closed with unread bytes resets its peer, which then loses what it has not
  // read of the answer.
  discards_ = true;
  consume(inbox_.size());
  expect_within(limits_.linger);
  while (co_await more()) {
  }
  close();
}

void HttpStream::close() {
  if (std::exchange(closed_, true)) return;
  boost::system::error_code ignored;
  socket_.close(ignored);
  broken_ = ended_ = true;
  sending_ = false;  // who was at it may have failed; what waits finds it broken
  for (Gate* gate : {&arrived_, &room_, &may_send_}) gate->open();
  watchdog_.cancel();
  say_gone();
}

// ---- time

HttpStream::Clock::time_point HttpStream::due() const {
  const auto silence = silence_ && !sending_ ? speaks_ : Clock::time_point::max();
  return std::min({expected_, stuck_, silence});
}

void HttpStream::look_again() {
  if (due() < watched_) watchdog_.cancel();
}

asio::awaitable<void> HttpStream::watch() {
  while (!closed_) {
    watched_ = due();
    watchdog_.expires_at(watched_);
    co_await watchdog_.async_wait(kUse);
    const auto now = Clock::now();
    if (closed_ || now < due()) continue;
    if (now >= stuck_) close();
    if (now >= expected_) {
      expected_ = Clock::time_point::max();
      timed_out_ = true;
      arrived_.open();
    }
    if (!closed_ && silence_ && !sending_ && now >= speaks_) {
      sending_ = true;  // from here on: whoever sends next comes after these bytes
      spawn("writing to an HTTP client", transmit(silence_()));
    }
  }
}

}  // namespace lares::daemon
