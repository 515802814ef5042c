// Who reads a stream: when it has gone, or reads no more, the generation is told to stop.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "daemon/http/exchange.h"

namespace lares::daemon {

class Reader {
 public:
  explicit Reader(Exchange& exchange)
      : exchange_(exchange), gone_(exchange.gone(), [this] { stop_.request_stop(); }) {}
  std::stop_token stop() const { return stop_.get_token(); }
  asio::awaitable<void> write(std::string bytes);  // nothing, once it is gone
  bool there() const { return there_; }            // what was written has gone out

 private:
  Exchange& exchange_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> gone_;
  bool there_ = true;
};

}  // namespace lares::daemon
