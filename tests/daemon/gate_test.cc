#include "daemon/gate.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

TEST(Gate, ThoseWhoWaitDoNotWakeEachOther) {
  asio::io_context io;
  Gate gate(io.get_executor());
  int n_through = 0;
  for (int i = 0; i < 3; ++i) {
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
          co_await gate.wait();
          ++n_through;
        },
        asio::detached);
  }
  std::size_t n_handled = 0;
  for (int i = 0; i < 1000; ++i) n_handled += io.poll_one();
  EXPECT_LT(n_handled, 50u) << "something goes on although nobody opened it";
  EXPECT_EQ(n_through, 0);
  gate.open();
  io.run();
  EXPECT_EQ(n_through, 3);
}

}  // namespace
}  // namespace lares::daemon
