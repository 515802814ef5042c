#include "daemon/turn/until_stopped.h"

#include <stdexcept>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

// Goes on behind the gate whatever is cancelled meanwhile, as what runs on another thread does.
asio::awaitable<int> deaf(Gate& gate, int& n_ended) {
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await gate.wait();
  co_return ++n_ended;
}

struct LeftWhenStopped : ::testing::Test {
  asio::io_context io;
  Gate gate{io.get_executor()};
  TurnStop stop;
  int n_ended = 0;
  std::optional<int> result;
  bool returned = false;

  void begin() {
    const auto wait = [this]() -> asio::awaitable<void> {
      auto waiting = left_when_stopped(stop, deaf(gate, n_ended));
      result = co_await std::move(waiting);
      returned = true;
    };
    asio::co_spawn(io, wait, asio::detached);
    io.poll();
  }
};

TEST_F(LeftWhenStopped, WhatEndsInTimeIsTheResult) {
  begin();
  EXPECT_FALSE(returned);
  gate.open();
  io.poll();
  EXPECT_TRUE(returned);
  EXPECT_EQ(result, 1);
}

TEST_F(LeftWhenStopped, AStopDoesNotWaitAndWhatWasBegunGoesOn) {
  begin();
  stop.request();
  io.poll();
  EXPECT_TRUE(returned);
  EXPECT_EQ(result, std::nullopt);
  EXPECT_EQ(n_ended, 0);
  gate.open();
  io.restart();
  io.poll();
  EXPECT_EQ(n_ended, 1);
}

TEST_F(LeftWhenStopped, AfterAStopNothingIsBegun) {
  stop.request();
  gate.open();
  begin();
  EXPECT_TRUE(returned);
  EXPECT_EQ(result, std::nullopt);
  EXPECT_EQ(n_ended, 0);
}

TEST_F(LeftWhenStopped, AfterAStopNothingIsWaitedFor) {
  const auto wait = [this]() -> asio::awaitable<void> {
    auto waiting = until_stopped(stop, deaf(gate, n_ended));
    result = co_await std::move(waiting);
    returned = true;
  };
  stop.request();
  asio::co_spawn(io, wait, asio::detached);
  io.poll();
  EXPECT_TRUE(returned);
  EXPECT_EQ(result, std::nullopt);
}

TEST_F(LeftWhenStopped, WhatIsThrownArrives) {
  std::string what;
  const auto thrower = []() -> asio::awaitable<int> {
    throw std::runtime_error("broken");
    co_return 0;
  };
  const auto wait = [&]() -> asio::awaitable<void> {
    try {
      auto waiting = left_when_stopped(stop, thrower());
      co_await std::move(waiting);
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
  };
  asio::co_spawn(io, wait, asio::detached);
  io.run();
  EXPECT_EQ(what, "broken");
}

}  // namespace
}  // namespace lares::daemon
