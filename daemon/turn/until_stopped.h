// Waiting for something that a turn's stop cuts short.
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

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

// What a stop, from before too, leaves `more` time for, and then cancels. What it throws is thrown
// here, but for being cancelled.
inline asio::awaitable<void> soon_after_stop(TurnStop& stop, std::chrono::milliseconds more,
                                             asio::awaitable<void> what) {
  struct Limit {
    explicit Limit(const asio::any_io_executor& io) : timer(io) {}
    asio::steady_timer timer;
    asio::cancellation_signal cut;
  };
  const auto io = co_await asio::this_coro::executor;
  const auto limit = std::make_shared<Limit>(io);
  const auto count_down = [limit, more] {
    limit->timer.expires_after(more);
    limit->timer.async_wait([limit](boost::system::error_code error) {
      if (!error) limit->cut.emit(asio::cancellation_type::all);
    });
  };
  if (stop.requested())
    count_down();
  else
    stop.tool.slot().assign([count_down](asio::cancellation_type) { count_down(); });
  auto token = asio::bind_cancellation_slot(limit->cut.slot(), asio::as_tuple(asio::use_awaitable));
  auto [thrown] = co_await asio::co_spawn(io, std::move(what), std::move(token));
  stop.tool.slot().clear();
  limit->timer.cancel();
  if (!thrown) co_return;
  try {
    std::rethrow_exception(thrown);
  } catch (const boost::system::system_error& error) {
    if (error.code() != asio::error::operation_aborted) throw;
  }
}

}  // namespace lares::daemon
