// Evaluating what a command says while it still runs: when a long test run ends, the model has read
// most of its output.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "daemon/engine_host.h"
#include "daemon/gate.h"
#include "daemon/turn/prefill.h"
#include "engine/engine.h"

namespace lares::daemon {

inline constexpr std::int64_t kReadAheadTokens = 256;  // fewer than these wait for more

// Of one call. What it evaluates is a guess at the prompt that will follow, never more: where the
// result begins otherwise, that much was evaluated in vain.
class ReadAhead {
 public:
  // Behind `transcript` and the `results` of the answer's calls before this one. All outlive it,
  // and nobody else uses the timeline until end() has returned.
  ReadAhead(asio::any_io_executor io, EngineHost& host, std::unique_ptr<engine::Timeline>& timeline,
            std::span<const engine::Token> transcript, const std::vector<std::string>& results);
  ReadAhead(const ReadAhead&) = delete;

  void hear(std::string_view piece);  // the next that the command said
  // Stops within a layer; what was evaluated. To be awaited before the destructor
  asio::awaitable<Prefilled> end();

 private:
  asio::awaitable<void> evaluate();
  std::vector<engine::Token> so_far() const;

  asio::any_io_executor io_;
  EngineHost& host_;
  std::unique_ptr<engine::Timeline>& timeline_;
  const std::span<const engine::Token> transcript_;
  const std::vector<std::string>& results_;
  std::string text_;
  std::int64_t n_read_;  // tokens
  Prefilled spent_;
  std::stop_source stop_;
  Gate idle_;
};

}  // namespace lares::daemon
