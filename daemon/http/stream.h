// One socket of an HTTP client: bytes in as they come, so that a peer which hangs up is noticed
// whatever else goes on; bytes out while the peer takes them; and an end to either where it is
// silent for too long. On the io executor.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "daemon/gate.h"
#include "daemon/http/limits.h"
#include "daemon/log.h"

namespace lares::daemon {

class HttpStream : public std::enable_shared_from_this<HttpStream> {
 public:
  using Socket = asio::generic::stream_protocol::socket;
  using Clock = std::chrono::steady_clock;

  HttpStream(asio::any_io_executor io, Socket socket, const HttpLimits& limits, const Log& log);
  const HttpLimits& limits() const { return limits_; }
  void start();  // reads from now on, up to inbox_bytes_max_ ahead of whoever takes it

  // ---- in
  std::string_view received() const { return inbox_; }
  void consume(std::size_t n);
  bool is_full() const { return inbox_.size() >= inbox_bytes_max_; }
  // Waits for bytes beyond those that were there at its last call. False: none came by the time
  // set, or none will come.
  asio::awaitable<bool> more();
  void expect_within(std::chrono::milliseconds time);  // from now
  void expect_at_leisure();
  bool timed_out() const { return timed_out_; }

  // ---- out
  // All of it, in the order of the calls; waits while the peer does not read. False: it does not
  // arrive.
  asio::awaitable<bool> send(std::string bytes);
  // What goes out `first` from now, and whenever nothing was sent for limits.keep_alive_every
  // since.
  void on_silence(std::function<std::string()> bytes, std::chrono::milliseconds first);
  void be_silent();

  // ---- the end
  std::stop_token gone() const { return gone_.get_token(); }
  void say_gone();
  // No more is sent; waits a little for the peer to have read what was
  asio::awaitable<void> finish();
  void close();  // at once

 private:
  static constexpr std::size_t kChunkBytes = 16 << 10;
  void spawn(std::string_view what, asio::awaitable<void> part);
  asio::awaitable<void> read_loop();
  asio::awaitable<void> watch();
  asio::awaitable<void> transmit(std::string bytes);
  Clock::time_point due() const;
  void look_again();  // something may be due sooner than watch() waits for

  const HttpLimits& limits_;
  const Log& log_;
  Socket socket_;
  std::size_t inbox_bytes_max_;
  std::string inbox_;
  std::array<char, kChunkBytes> chunk_;
  bool fresh_ = false, discards_ = false, timed_out_ = false;
  bool ended_ = false, closed_ = false;  // ended_: no more will come
  bool sending_ = false, broken_ = false;
  Gate arrived_, room_, may_send_;
  std::function<std::string()> silence_;
  Clock::time_point expected_ = Clock::time_point::max(), stuck_ = Clock::time_point::max(),
                    speaks_ = Clock::time_point::max();
  Clock::time_point watched_ = Clock::time_point::max();
  asio::steady_timer watchdog_;
  std::stop_source gone_;
};

}  // namespace lares::daemon
