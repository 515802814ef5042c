// Calls and questions that ask a person: whoever answers one is told so when the answer is on disk,
// not before.
#pragma once

#include <map>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "daemon/gate.h"

namespace lares::daemon {

class Asked {
 public:
  explicit Asked(asio::any_io_executor io) : settled_(io) {}

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
  Gate settled_;
  bool recorded_ = false;
};

// By item id; each is shared with those who answer it. A call may ask while a question that a
// server put late still waits.
class AskedItems {
 public:
  std::shared_ptr<Asked> begin(asio::any_io_executor io, const std::string& item_id) {
    return asked_[item_id] = std::make_shared<Asked>(io);
  }
  std::shared_ptr<Asked> of(const std::string& item_id) const {  // null: it asks nothing
    const auto at = asked_.find(item_id);
    return at == asked_.end() ? nullptr : at->second;
  }
  void settle(const std::string& item_id, bool recorded) {
    if (const auto asked = of(item_id)) asked->settle(recorded);
    asked_.erase(item_id);
  }
  void turn_ended() {
    for (const auto& [id, asked] : asked_) asked->settle(false);
    asked_.clear();
  }

 private:
  std::map<std::string, std::shared_ptr<Asked>> asked_;
};

}  // namespace lares::daemon
