// The calls of a turn: each is let pass or not by those who are asked, runs, and is told as an item
// until it is complete.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>
#include <nlohmann/json_fwd.hpp>

#include "daemon/protocol/protocol.h"
#include "daemon/turn/foreseen_edit.h"
#include "daemon/turn/repetition.h"
#include "daemon/turn/turn.h"

namespace lares::daemon {

inline constexpr std::string_view kCancelledCall = "The user interrupted this call.";
// How long a stopped turn waits until what its call left has been noted (TurnInput::ran).
inline constexpr std::chrono::seconds kNotingAfterStopMax{3};

class TurnCalls {
 public:
  // All outlive it.
  TurnCalls(const Tools& tools, TurnEvents& events, TurnStop& stop, const TurnInput& in)
      : tools_(tools), events_(events), stop_(stop), in_(in) {}

  // How often this turn has made this very call, or it failed with this very result.
  struct Made {
    int n = 1;
    bool failed = false;
    bool disk = false;  // often enough because nothing can be written
  };
  // Runs it, or says in its output why not. `heard`: what it says meanwhile.
  asio::awaitable<Made> run(protocol::Item& item, const tools::OnOutput& heard);
  void cancel(protocol::Item& item);

  // Why an answer that makes this call is given up for another, in the words of answer.h; empty: it
  // is not.
  asio::awaitable<std::string_view> in_vain(const protocol::Item& call);

  // A tool is, and the turn ends; empty: none
  const std::string& why_broken() const { return why_broken_; }
  std::int64_t ran_ms() const { return ran_ms_; }  // all of them

 private:
  asio::awaitable<int> pass_or_run(protocol::Item& item, const tools::OnOutput& heard);
  Made made(const protocol::Item& item, int n);
  asio::awaitable<std::optional<ForeseenEdit>> foreseen(const protocol::Item& call,
                                                        const nlohmann::json& args);
  asio::awaitable<bool> let_pass(protocol::Item& item);
  asio::awaitable<bool> permitted(protocol::Item& item, const nlohmann::json& args);
  asio::awaitable<void> run_tool(tools::Tool& tool, protocol::Item& item,
                                 const nlohmann::json& args, const tools::OnOutput& heard);
  asio::awaitable<void> tell_afterwards(protocol::Item& item);
  void reject(protocol::Item& item, std::string why);
  bool may_run(protocol::Item& item, const std::optional<std::optional<std::string>>& why_not);

  const Tools& tools_;
  TurnEvents& events_;
  TurnStop& stop_;
  const TurnInput& in_;
  CallCounter made_;
  bool by_disk_ = false;  // the last call failed because nothing can be written
  VainEdits vain_;
  std::string why_broken_;
  std::int64_t ran_ms_ = 0;
};

}  // namespace lares::daemon
