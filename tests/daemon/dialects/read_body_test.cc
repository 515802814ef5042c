#include "daemon/dialects/read_body.h"

#include <future>
#include <optional>
#include <string>
#include <thread>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <gtest/gtest.h>

#include "tests/daemon/dialects/fake_exchange.h"

namespace lares::daemon {
namespace {

struct Generations : test::FakeGenerations {
  asio::any_io_executor aside() override { return pool.get_executor(); }
  asio::thread_pool pool{1};
};

struct Reading {
  Reading(asio::io_context& io, Generations& generations, std::string body)
      : exchange({.method = "POST", .path = "/", .query = "", .headers = {}, .body = body}) {
    const auto read = [this](const WireJson& json) -> tl::expected<std::size_t, WireError> {
      on = std::this_thread::get_id();
      return json.size();
    };
    asio::co_spawn(io, read_body(exchange, generations, read),
                   [this](std::exception_ptr failed, tl::expected<std::size_t, WireError> made) {
                     if (!failed) result = std::move(made);
                   });
  }
  test::FakeExchange exchange;
  std::thread::id on;
  std::optional<tl::expected<std::size_t, WireError>> result;
};

TEST(ReadBody, KeepsNobodyWaitingWhileALongOneIsRead) {
  const std::string blanks(kReadAsideBytes, ' ');
  asio::io_context io;
  Generations generations;
  std::promise<void> go_on;
  asio::post(generations.pool, [&] { go_on.get_future().wait(); });
  Reading large(io, generations, R"({"a": 1, "b": 2})" + blanks),
      broken(io, generations, "{" + blanks), small(io, generations, R"({"a": 1})");
  io.poll();
  ASSERT_TRUE(small.result);
  EXPECT_EQ(small.result->value(), 1u);
  EXPECT_EQ(small.on, std::this_thread::get_id());
  EXPECT_FALSE(large.result);
  go_on.set_value();
  io.restart();
  io.run();
  ASSERT_TRUE(large.result && broken.result);
  EXPECT_EQ(large.result->value(), 2u);
  EXPECT_NE(large.on, std::this_thread::get_id());
  EXPECT_EQ(large.exchange.request().body, "");
  ASSERT_FALSE(broken.result->has_value());
  EXPECT_EQ(broken.result->error().message, "read the request's body: it is no JSON");
}

}  // namespace
}  // namespace lares::daemon
