// Waiting for something that a turn's stop cuts short.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "daemon/gate.h"
#include "daemon/turn/turn.h"

namespace lares::daemon {

// What it comes to, or nullopt where the turn was stopped first. A stop from before hears nobody,
// so nothing is begun then.
template <class T>
asio::awaitable<std::optional<T>> until_stopped(TurnStop& stop, asio::awaitable<T> what) {
  if (stop.requested()) co_return std::nullopt;
  const auto io = co_await asio::this_coro::executor;
  // In steps, for g++ 12 destroys some temporaries of a co_await expression twice.
  auto token = asio::bind_cancellation_slot(stop.tool.slot(), asio::as_tuple(asio::use_awaitable));
  auto [thrown, result] = co_await asio::co_spawn(io, std::move(what), std::move(token));
  if (thrown || stop.requested()) co_return std::nullopt;
  co_return std::optional<T>(std::move(result));
}

// The same for what does not hear of a stop: it is left behind, goes on by itself, and what it
// comes to is dropped. So it must own what it works with. What it throws before that is thrown
// here.
template <class T>
asio::awaitable<std::optional<T>> left_when_stopped(TurnStop& stop, asio::awaitable<T> what) {
  struct Outcome {
    Gate there;
    std::exception_ptr thrown;
    std::optional<T> result;
  };
  if (stop.requested()) co_return std::nullopt;
  const auto io = co_await asio::this_coro::executor;
  const auto outcome = std::make_shared<Outcome>(
      Outcome{.there = Gate(io), .thrown = nullptr, .result = std::nullopt});
  auto keep = [outcome](std::exception_ptr thrown, T result) {
    outcome->thrown = std::move(thrown);
    outcome->result = std::move(result);
    outcome->there.open();
  };
  asio::co_spawn(io, std::move(what), std::move(keep));
  auto token = asio::bind_cancellation_slot(stop.tool.slot(), asio::as_tuple(asio::use_awaitable));
  co_await asio::co_spawn(io, outcome->there.wait(), std::move(token));
  if (stop.requested()) co_return std::nullopt;
  if (outcome->thrown) std::rethrow_exception(outcome->thrown);
  co_return std::move(outcome->result);
}

}  // namespace lares::daemon
