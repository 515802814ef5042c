#include "daemon/bridges/acp/daemon_link.h"

#include <unistd.h>

#include <exception>
#include <optional>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>

#include "tests/temporary_directory.h"

namespace lares::cli::acp {
namespace {

using asio::local::stream_protocol;
constexpr auto kUse = asio::as_tuple(asio::use_awaitable);

// A daemon that takes every connection. What it answers is `answers`: a method's result or error,
// as JSON; "": nothing at all.
class AcpDaemonLink : public testing::Test {
 protected:
  AcpDaemonLink() {
    address_.socket = home_ + "/s", address_.state_dir = home_;
    acceptor_.emplace(io_, stream_protocol::endpoint(address_.socket));
    asio::co_spawn(io_, accept(), asio::detached);
  }

  asio::awaitable<void> accept() {
    for (;;) {
      auto [ec, socket] = co_await acceptor_->async_accept(kUse);
      if (ec) co_return;
      ++n_connections_;
      asio::co_spawn(io_, serve(std::move(socket)), asio::detached);
    }
  }
  asio::awaitable<void> serve(stream_protocol::socket socket) {
    std::string inbox;
    for (;;) {
      auto [ec, n] = co_await asio::async_read_until(socket, asio::dynamic_buffer(inbox), '\n',
                                                     kUse);
      if (ec) co_return;
      const Json request = Json::parse(std::string_view(inbox).substr(0, n));
      inbox.erase(0, n);
      const std::string what = answer_(string_at(request, "method"));
      if (what.empty()) continue;
      const std::string line = R"({"jsonrpc":"2.0","id":)" + request["id"].dump() + "," + what +
                               "}\n";
      co_await asio::async_write(socket, asio::buffer(line), kUse);
    }
  }

  void link(LinkBounds bounds) {
    const DaemonLink::Events events{.up = []() -> asio::awaitable<void> { co_return; },
                                    .down = [] {},
                                    .notified = [](const auto&) {},
                                    .gave_up = [](const Fault&) {},
                                    .wanted = [] { return false; },
                                    .may_go_on = []() -> asio::awaitable<void> { co_return; }};
    link_.emplace(io_.get_executor(), address_, events, bounds);
    asio::co_spawn(io_, link_->run(), asio::detached);
  }
  Reply<Json> call(std::string method = "server/status", Json params = Json::object()) {
    Reply<Json> reply;
    const auto calling = [&]() -> asio::awaitable<void> {
      auto asking = link_->call(method, params);
      reply = co_await std::move(asking);
      io_.stop();
    };
    io_.restart();
    asio::co_spawn(io_, calling, [](std::exception_ptr thrown) {
      if (thrown) std::rethrow_exception(thrown);
    });
    io_.run_for(std::chrono::seconds(60));
    EXPECT_TRUE(io_.stopped());
    return reply;
  }

  static constexpr const char* kGreets = R"("result":{})";
  asio::io_context io_{1};
  const TemporaryDirectory directory_;
  const std::string home_ = directory_.path();
  DaemonAddress address_;
  std::optional<stream_protocol::acceptor> acceptor_;
  std::function<std::string(const std::string& method)> answer_;
  std::optional<DaemonLink> link_;
  int n_connections_ = 0;
};

TEST_F(AcpDaemonLink, ADaemonThatDoesNotGreetIsTold) {
  answer_ = [](const std::string&) { return ""; };
  link({.greeting = std::chrono::milliseconds(50)});
  const auto reply = call();
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().message, "server/status: greet the daemon at " + address_.socket +
                                       ": initialize: the daemon has not answered within 0.05 s; "
                                       "it may still do it; `lares status` says more");
}

TEST_F(AcpDaemonLink, ARequestThatIsNotAnsweredIsTold) {
  answer_ = [](const std::string& method) { return method == "initialize" ? kGreets : ""; };
  link({.answer = std::chrono::milliseconds(50)});
  const auto reply = call();
  ASSERT_FALSE(reply);
  EXPECT_FALSE(reply.error().lost);
  EXPECT_EQ(reply.error().message,
            "server/status: the daemon has not answered within 0.05 s; it may still do it; `lares "
            "status` says more");
}

TEST_F(AcpDaemonLink, RewindingMayTakeLonger) {
  answer_ = [](const std::string& method) { return method == "initialize" ? kGreets : ""; };
  link({.answer = std::chrono::milliseconds(1), .long_answer = std::chrono::milliseconds(200)});
  const auto reply = call("session/rewind");
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().message,
            "session/rewind: the daemon has not answered within 0.2 s; it may still do it; `lares "
            "status` says more");
}

TEST_F(AcpDaemonLink, ARefusedGreetingIsTriedAgainOnAnotherConnection) {
  int n = 0;
  answer_ = [&](const std::string& method) {
    return method != "initialize" || ++n > 1
               ? kGreets
               : R"("error":{"code":-32602,"message":"another protocol","data":{"kind":"invalid_params","retryable":false,"hint":"the same version"}})";
  };
  link({});
  const auto first = call();
  ASSERT_FALSE(first);
  EXPECT_NE(first.error().message.find("another protocol; the same version"), std::string::npos)
      << first.error().message;
  EXPECT_TRUE(call());
  EXPECT_EQ(n_connections_, 2);
}

TEST_F(AcpDaemonLink, ARequestThatTheDaemonWouldNotReadIsNotSent) {
  answer_ = [](const std::string&) { return kGreets; };
  link({});
  const auto reply = call("server/status", {{"text", std::string(protocol::kLineBytesMax, 'x')}});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, kInvalidParams);
  EXPECT_NE(reply.error().message.find("and the daemon takes 16777216 at most; send less"),
            std::string::npos)
      << reply.error().message;
}

}  // namespace
}  // namespace lares::cli::acp
