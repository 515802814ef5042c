// Waiting for something that a turn's stop cuts short.
#pragma once

#include <optional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "daemon/turn.h"

namespace lares::daemon {

// What it comes to, or nullopt where the turn was stopped first.
template <class T>
asio::awaitable<std::optional<T>> until_stopped(TurnStop& stop, asio::awaitable<T> what) {
  const auto io = co_await asio::this_coro::executor;
  // In steps, for g++ 12 destroys some temporaries of a co_await expression twice.
  auto token = asio::bind_cancellation_slot(stop.tool.slot(), asio::as_tuple(asio::use_awaitable));
  auto [thrown, result] = co_await asio::co_spawn(io, std::move(what), std::move(token));
  if (thrown || stop.requested()) co_return std::nullopt;
  co_return std::optional<T>(std::move(result));
}

}  // namespace lares::daemon
