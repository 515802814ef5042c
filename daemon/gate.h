// Coroutines wait at a gate until somebody opens it. One executor; opening an open gate does
// nothing.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lares::daemon {

namespace asio = boost::asio;

class Gate {
 public:
  explicit Gate(asio::any_io_executor io) : timer_(io, asio::steady_timer::time_point::max()) {}

  bool is_open() const { return open_; }
  void open() {
    open_ = true;
    timer_.cancel();
  }
  void close() { open_ = false; }
  asio::awaitable<void> wait() {
    // Its expiry is never set again: that would wake all who wait, each of whom would do the same.
    while (!open_) co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  }

 private:
  asio::steady_timer timer_;
  bool open_ = false;
};

}  // namespace lares::daemon
