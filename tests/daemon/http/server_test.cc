#include "daemon/http/server.h"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>

#include "daemon/http/stream.h"
#include "daemon/log.h"
#include "tests/daemon/http/http_routes.h"

namespace lares::daemon {
namespace {

using std::chrono::milliseconds;
using Socket = asio::local::stream_protocol::socket;
constexpr auto kUse = asio::as_tuple(asio::use_awaitable);

class HttpServing : public testing::Test {
 protected:
  HttpServing() { add_test_routes(router_); }

  // The server, with limits of the test's own, and clients of it on the same thread.
  void serve(HttpLimits limits) { server_.emplace(io_.get_executor(), router_, log_, limits); }
  Socket connect(std::string token = "") {
    Socket ours(io_), theirs(io_);
    asio::local::connect_pair(ours, theirs);
    server_->take(std::move(theirs), std::move(token));
    return ours;
  }
  void say(Socket& socket, const std::string& bytes) { asio::write(socket, asio::buffer(bytes)); }
  // All that comes until the server hangs up.
  std::string rest(Socket& socket) {
    std::string all;
    bool done = false;
    const auto read = [&]() -> asio::awaitable<void> {
      auto buffer = asio::dynamic_buffer(all);
      co_await asio::async_read(socket, buffer, kUse);
      done = true;
    };
    asio::co_spawn(io_, read, asio::detached);
    run_until([&] { return done; });
    return all;
  }
  void run_until(const std::function<bool()>& done) {
    io_.restart();
    while (!done()) ASSERT_GT(io_.run_one_for(std::chrono::seconds(20)), 0u);
  }
  // Runs what is ready.
  void settle() {
    io_.restart();
    io_.poll();
  }

  asio::io_context io_{1};
  Router router_;
  Log log_{-1};
  std::optional<HttpServer> server_;
};

std::string upload(std::size_t promised, std::size_t sent) {
  return "POST /test/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " +
         std::to_string(promised) + "\r\n\r\n" + std::string(sent, 'x');
}
const std::string kHealth =
    "GET /test/bytes?n=2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

unsigned status(const std::string& answer) {
  return answer.size() > 12 ? static_cast<unsigned>(std::atoi(answer.c_str() + 9)) : 0;
}

TEST_F(HttpServing, BoundsWhatAllBodiesHoldTogether) {
  serve({.bodies_bytes = 100'000});
  auto first = connect(), second = connect(), third = connect();
  say(first, upload(90'000, 80'000));
  settle();
  say(second, upload(30'000, 30'000));
  const std::string refused = rest(second);
  EXPECT_EQ(status(refused), 503u) << refused;
  EXPECT_NE(refused.find("Retry-After: 1"), std::string::npos);
  say(first, std::string(10'000, 'x'));
  EXPECT_EQ(status(rest(first)), 200u);
  say(third, upload(30'000, 30'000));  // the first's are given back
  EXPECT_EQ(status(rest(third)), 200u);
}

TEST_F(HttpServing, AsksForTheTokenOfTheDoor) {
  serve({});
  auto with = connect("secret"), without = connect();
  say(with, kHealth), say(without, kHealth);
  EXPECT_EQ(status(rest(with)), 401u);
  EXPECT_EQ(status(rest(without)), 200u);
}

// Whoever has not shown that he may ask holds no place against one who has.
TEST_F(HttpServing, RequestsWithoutTheirHeadersMakeRoom) {
  serve({.connections = 2});
  auto busy = connect(), half = connect();
  say(busy, upload(10, 1));
  say(half, "GET");
  settle();
  auto third = connect();
  say(third, kHealth);
  EXPECT_EQ(status(rest(third)), 200u);
  EXPECT_EQ(rest(half), "");
  say(busy, std::string(9, 'x'));
  EXPECT_EQ(status(rest(busy)), 200u);
}

TEST_F(HttpServing, RequestsOverTcpMakeRoomFirst) {
  serve({.connections = 2});
  const auto address = server_->listen({asio::ip::make_address("127.0.0.1"), 0}, "secret");
  ASSERT_TRUE(address) << address.error();
  auto ours = connect();
  say(ours, "GET");
  settle();
  asio::ip::tcp::socket stranger(io_);
  stranger.connect(*address);
  asio::write(stranger, asio::buffer(std::string("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")));
  run_until([&] { return stranger.available() > 0; });  // it has no token
  asio::write(stranger, asio::buffer(std::string("GET")));
  settle();
  auto third = connect();
  say(third, kHealth);
  EXPECT_EQ(status(rest(third)), 200u);
  say(ours, kHealth.substr(3));
  EXPECT_EQ(status(rest(ours)), 200u);
}

TEST_F(HttpServing, StopsWhileARequestIsStillBeingRead) {
  serve({.last_words = milliseconds(50)});
  auto half = connect(), silent = connect();
  say(half, upload(100, 10));
  settle();
  bool stopped = false;
  const auto stop = [&]() -> asio::awaitable<void> {
    co_await server_->stop();
    stopped = true;
  };
  asio::co_spawn(io_, stop, asio::detached);
  run_until([&] { return stopped; });
  EXPECT_EQ(rest(half), "");
  EXPECT_EQ(rest(silent), "");
  auto late = connect();
  EXPECT_EQ(rest(late), "");
}

TEST_F(HttpServing, KeepsItsHandlersWordsInOneLine) {
  const HttpHandler split = [](Exchange& exchange) -> asio::awaitable<void> {
    HttpReply reply{.body = "{}", .headers = {{"X-Request", "a\r\nSet-Cookie: b"}}};
    co_await exchange.reply(std::move(reply));
  };
  router_.add("GET", "/split", split);
  serve({});
  auto client = connect();
  say(client, "GET /split HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const std::string answer = rest(client);
  EXPECT_NE(answer.find("X-Request: a  Set-Cookie: b\r\n"), std::string::npos) << answer;
}

TEST_F(HttpServing, AnswersOnceWhateverItsHandlerDoes) {
  const HttpHandler twice = [](Exchange& exchange) -> asio::awaitable<void> {
    HttpReply first{.body = "1"}, second{.body = "2"}, head;
    std::string more = "3", nothing;
    co_await exchange.reply(std::move(first));
    co_await exchange.reply(std::move(second));
    co_await exchange.begin(std::move(head), std::move(nothing));
    EXPECT_FALSE(co_await exchange.write(std::move(more)));
    co_await exchange.end();
  };
  router_.add("GET", "/twice", twice);
  serve({});
  auto client = connect();
  say(client, "GET /twice HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const std::string answer = rest(client);
  EXPECT_TRUE(answer.ends_with("\r\n\r\n1")) << answer;
}

// A whole answer that takes long and then fails.
HttpHandler fails_late(asio::io_context& io, std::chrono::milliseconds after) {
  return [&io, after](Exchange& exchange) -> asio::awaitable<void> {
    exchange.takes_long();
    asio::steady_timer timer(io, after);
    co_await timer.async_wait(kUse);
    HttpReply reply{.status = 500, .body = "{}"};
    co_await exchange.reply(std::move(reply));
  };
}

TEST_F(HttpServing, KeepsAStatusAsLongAsItCanBeTold) {
  router_.add("GET", "/late", fails_late(io_, milliseconds(50)));
  serve({.keep_alive_every = milliseconds(1), .status_known = std::chrono::hours(1)});
  auto client = connect();
  say(client, "GET /late HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const std::string answer = rest(client);
  EXPECT_EQ(status(answer), 500u) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n{}")) << answer;
}

TEST_F(HttpServing, SaysEmptyLinesOnceTheStatusIsKnown) {
  router_.add("GET", "/late", fails_late(io_, milliseconds(200)));
  serve({.keep_alive_every = std::chrono::hours(1), .status_known = milliseconds(1)});
  auto client = connect();
  say(client, "GET /late HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const std::string answer = rest(client);
  EXPECT_EQ(status(answer), 200u) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n1\r\n\n\r\n2\r\n{}\r\n0\r\n\r\n")) << answer;
}

TEST_F(HttpServing, GivesBackABodyThatIsRead) {
  std::string read;
  std::size_t n_left = SIZE_MAX;
  const HttpHandler handler = [&](Exchange& exchange) -> asio::awaitable<void> {
    read = exchange.request().body;
    exchange.drop_body();
    n_left = exchange.request().body.capacity();
    HttpReply reply;
    co_await exchange.reply(std::move(reply));
  };
  router_.add("POST", "/read", handler);
  serve({});
  auto client = connect();
  say(client,
      "POST /read HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
      "10000\r\n\r\n" +
          std::string(10'000, 'x'));
  EXPECT_EQ(status(rest(client)), 200u);
  EXPECT_EQ(read, std::string(10'000, 'x'));
  EXPECT_LT(n_left, 100u);
}

// No exception is lost, and nobody waits for what has ended with one.
TEST_F(HttpServing, HangsUpWhereSomethingOfItsOwnThrows) {
  router_.shape_errors("/broken", [](unsigned, std::string_view) -> std::string {
    throw std::runtime_error("no shape");
  });
  serve({});
  auto client = connect();
  say(client, "GET /broken/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(rest(client), "");
  bool stopped = false;
  const auto stop = [&]() -> asio::awaitable<void> {
    co_await server_->stop();
    stopped = true;
  };
  asio::co_spawn(io_, stop, asio::detached);
  settle();
  EXPECT_TRUE(stopped);  // without waiting for a client that it has forgotten
}

TEST(HttpStreaming, EndsWhereAPartOfItThrows) {
  asio::io_context io(1);
  const HttpLimits limits;
  const Log log(-1);
  Socket ours(io), theirs(io);
  asio::local::connect_pair(ours, theirs);
  const auto stream = std::make_shared<HttpStream>(io.get_executor(), std::move(theirs), limits,
                                                   log);
  stream->start();
  stream->on_silence([]() -> std::string { throw std::runtime_error("no bytes"); },
                     milliseconds(1));
  io.run_for(std::chrono::seconds(20));
  EXPECT_TRUE(io.stopped());  // all parts have ended
  EXPECT_TRUE(stream->gone().stop_requested());
}

TEST_F(HttpServing, WritesNothingEmptyIntoAStream) {
  const HttpHandler empty = [](Exchange& exchange) -> asio::awaitable<void> {
    HttpReply head;
    std::string silence, nothing, last = "last";
    co_await exchange.begin(std::move(head), std::move(silence));
    EXPECT_TRUE(co_await exchange.write(std::move(nothing)));
    EXPECT_TRUE(co_await exchange.write(std::move(last)));
    co_await exchange.end();
  };
  router_.add("GET", "/empty", empty);
  serve({});
  auto client = connect();
  say(client, "GET /empty HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const std::string answer = rest(client);
  EXPECT_EQ(answer.substr(answer.find("\r\n\r\n") + 4), "4\r\nlast\r\n0\r\n\r\n");
}

}  // namespace
}  // namespace lares::daemon
