// Evaluating a prompt: a chunk at a time, so that whoever draws meanwhile waits for no more than
// one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>

#include <boost/asio/awaitable.hpp>

#include "daemon/engine_host.h"
#include "daemon/turn/turn.h"
#include "engine/engine.h"

namespace lares::daemon {

inline constexpr std::chrono::milliseconds kPrefillReportEvery{100};

struct Prefilled {
  std::int64_t n_evaluated = 0;  // tokens; also where it failed
  std::chrono::steady_clock::duration waited{}, ran{};
  std::optional<engine::Error> error;
};

// How many tokens are evaluated of how many; on the io executor, at most every kPrefillReportEvery,
// never after prefill() has returned.
using OnPrefill = std::function<void(std::int64_t done, std::int64_t total)>;

// Makes `timeline` end with `ids`; a null one is made, from the longest beginning that `shared`
// (may be null) has of them. What `shared` wants to be offered on the way it is. `timeline` and
// `ids` stay where they are until then.
asio::awaitable<Prefilled> prefill(EngineHost& host, std::unique_ptr<engine::Timeline>& timeline,
                                   std::shared_ptr<SharedBeginning> shared,
                                   std::span<const engine::Token> ids, std::stop_token stop,
                                   OnPrefill on_prefill);

// Whether there will ever be room for `ids`, as far as that is known before any is evaluated: an
// error is too_long.
asio::awaitable<engine::Result<>> may_have_room(EngineHost& host,
                                                std::unique_ptr<engine::Timeline>& timeline,
                                                std::shared_ptr<SharedBeginning> shared,
                                                std::span<const engine::Token> ids);

}  // namespace lares::daemon
