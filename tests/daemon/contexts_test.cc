#include "daemon/contexts.h"

#include <chrono>
#include <future>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include "daemon/on_disk_pool.h"

namespace lares::daemon {
namespace {

// A coroutine's local, which tells when its frame is unwound.
struct Local {
  bool& unwound;
  ~Local() { unwound = true; }
};

TEST(Contexts, WhatWaitsIsUnwoundWhenTheyAreAbandoned) {
  IoLoop io;
  DiskPool pool(1);
  std::promise<void> let_go;
  asio::post(pool, [&] { let_go.get_future().wait(); });
  bool ran = false, timer_unwound = false, job_unwound = false;
  const auto behind_the_job = [&]() -> asio::awaitable<void> {
    const Local local{job_unwound};
    const auto job = [&] { return ran = true; };
    co_await on_disk_pool(pool, job);
  };
  const auto at_a_timer = [&]() -> asio::awaitable<void> {
    const Local local{timer_unwound};
    asio::steady_timer timer(io, std::chrono::hours(1));
    co_await timer.async_wait(asio::use_awaitable);
  };
  asio::co_spawn(io, behind_the_job, asio::detached);
  asio::co_spawn(io, at_a_timer, asio::detached);
  io.poll();
  pool.stop();
  let_go.set_value();
  pool.abandon();
  io.abandon();
  EXPECT_FALSE(ran);
  EXPECT_TRUE(job_unwound);
  EXPECT_TRUE(timer_unwound);
}

}  // namespace
}  // namespace lares::daemon
