// A call that asked a person: whoever answers it is told so when the answer is on disk, not before.
#pragma once

#include <string>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "daemon/gate.h"

namespace lares::daemon {

class Asked {
 public:
  Asked(asio::any_io_executor io, std::string item_id)
      : item_id_(std::move(item_id)), settled_(io) {}

  const std::string& item_id() const { return item_id_; }
  // The first word counts.
  void settle(bool recorded) {
    if (settled_.is_open()) return;
    recorded_ = recorded;
    settled_.open();
  }
  // False: the turn ended before.
  asio::awaitable<bool> recorded() {
    co_await settled_.wait();
    co_return recorded_;
  }

 private:
  const std::string item_id_;
  Gate settled_;
  bool recorded_ = false;
};

}  // namespace lares::daemon
