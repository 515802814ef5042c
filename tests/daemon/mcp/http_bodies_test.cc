// MCP over HTTP without a socket.
#include "daemon/mcp/http.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/thread_pool.hpp>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "daemon/shared_aside.h"
#include "tests/daemon/dialects/fake_exchange.h"
#include "tests/mcp/server/client.h"

namespace lares::daemon {
namespace {

TEST(McpHttp, KeepsNobodyWaitingWhileALongBodyIsRead) {
  asio::io_context io;
  asio::thread_pool aside(1);
  mcp::server::test::Offered offered;
  mcp::server::Endpoint endpoint(io.get_executor(), offered);
  McpHttp http(endpoint, aside);
  std::promise<void> go_on;
  asio::post(aside, [&] { go_on.get_future().wait(); });
  const auto post = [&](const std::string& body) {
    auto exchange = std::make_unique<test::FakeExchange>(
        HttpRequest{.method = "POST", .path = "/mcp", .query = "", .headers = {}, .body = body});
    asio::co_spawn(io, http.handle(*exchange), [](std::exception_ptr failed) {
      if (failed) std::rethrow_exception(failed);
    });
    return exchange;
  };
  const std::string ping = R"({"jsonrpc": "2.0", "id": 1, "method": "ping"})";
  const auto large = post(ping + std::string(kReadAsideBytes, ' ')), small = post(ping);
  io.poll();
  EXPECT_EQ(small->n_replies, 1);
  EXPECT_EQ(large->n_replies, 0);
  go_on.set_value();
  io.restart();
  io.run();
  EXPECT_EQ(large->n_replies, 1);
  EXPECT_EQ(large->answer.body, small->answer.body);
}

TEST(ReadAside, WhatIsSharedIsLetGoOfOnThePoolWhereItIsLong) {
  struct Told {
    std::thread::id* at;
    ~Told() {
      if (at) *at = std::this_thread::get_id();
    }
    explicit Told(std::thread::id& to) : at(&to) {}
    Told(Told&& other) noexcept : at(std::exchange(other.at, nullptr)) {}
  };
  asio::thread_pool aside(1);
  std::thread::id pool, here, there;
  asio::post(aside, [&] { pool = std::this_thread::get_id(); });
  shared_aside(aside, kReadAsideBytes - 1, Told(here));
  shared_aside(aside, kReadAsideBytes, Told(there));
  aside.join();
  EXPECT_EQ(here, std::this_thread::get_id());
  EXPECT_EQ(there, pool);
}

}  // namespace
}  // namespace lares::daemon
