// Does something once the time is over, unless it is destroyed or stopped before.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

namespace lares::mcp {

class Deadline {
 public:
  Deadline(const boost::asio::any_io_executor& io, int ms, std::function<void()> on_late)
      : state_(std::make_shared<State>(State{std::move(on_late)})),
        timer_(io, std::chrono::milliseconds(ms)) {
    timer_.async_wait([state = state_](boost::system::error_code ec) {
      if (ec || !state->on_late) return;
      state->late = true;
      std::exchange(state->on_late, nullptr)();
    });
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline() { stop(); }

  void stop() {  // an expired timer's handler may be queued already: it finds nothing to do
    state_->on_late = nullptr;
    timer_.cancel();
  }
  bool late() const { return state_->late; }

 private:
  struct State {
    std::function<void()> on_late;
    bool late = false;
  };
  std::shared_ptr<State> state_;
  boost::asio::steady_timer timer_;
};

}  // namespace lares::mcp
