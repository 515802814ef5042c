#include "tests/daemon/http/http_routes.h"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

namespace lares::daemon {
namespace {

std::int64_t number(const HttpRequest& request, std::string_view name, std::int64_t fallback) {
  const std::string query = "&" + request.query, key = fmt::format("&{}=", name);
  const auto at = query.find(key);
  return at == std::string::npos ? fallback : std::atoll(query.c_str() + at + key.size());
}

// True: it is gone before that time is over.
asio::awaitable<bool> gone_within(Exchange& exchange, asio::steady_timer::time_point until) {
  asio::steady_timer timer(co_await asio::this_coro::executor, until);
  const std::stop_callback cancel(exchange.gone(), [&] { timer.cancel(); });
  if (!exchange.gone().stop_requested())
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  co_return exchange.gone().stop_requested();
}

asio::awaitable<void> reply(Exchange& exchange, std::string body) {
  HttpReply whole{.body = std::move(body)};
  co_await exchange.reply(std::move(whole));
}

asio::awaitable<void> stream(Exchange& exchange, std::shared_ptr<int> n_gone,
                             std::optional<std::int64_t> n_events) {
  const auto n = n_events.value_or(number(exchange.request(), "n", 3)),
             ms = number(exchange.request(), "ms", 0),
             bytes = number(exchange.request(), "bytes", 10);
  HttpReply head{.content_type = "text/event-stream"};
  std::string silence = ": keep-alive\n\n";
  co_await exchange.begin(std::move(head), std::move(silence));
  auto next = asio::steady_timer::clock_type::now();
  bool gone = false;
  for (std::int64_t i = 0; i < n && !gone; ++i) {
    std::string event = fmt::format("data: {} {}\n\n", i,
                                    std::string(static_cast<std::size_t>(bytes), 'x'));
    if (!co_await exchange.write(std::move(event))) {
      ++*n_gone;
      co_return;
    }
    next += std::chrono::milliseconds(ms);
    gone = ms > 0 ? co_await gone_within(exchange, next) : exchange.gone().stop_requested();
  }
  if (n == 0) gone = co_await gone_within(exchange, asio::steady_timer::time_point::max());
  *n_gone += gone;
  std::string last = gone ? "data: cut\n\n" : "data: done\n\n";
  co_await exchange.write(std::move(last));
  co_await exchange.end();
}

asio::awaitable<void> slow(Exchange& exchange) {
  exchange.takes_long();
  co_await gone_within(exchange,
                       asio::steady_timer::clock_type::now() +
                           std::chrono::milliseconds(number(exchange.request(), "ms", 0)));
  co_await reply(exchange, R"({"slow": true})");
}

asio::awaitable<void> echo(Exchange& exchange) {
  std::uint32_t sum = 0;
  for (const char c : exchange.request().body) sum = sum * 31 + static_cast<unsigned char>(c);
  co_await reply(exchange,
                 fmt::format(R"({{"bytes": {}, "sum": {}}})", exchange.request().body.size(), sum));
}

asio::awaitable<void> fail(Exchange& exchange, std::string how) {
  if (how == "stop") {
    HttpReply head{.content_type = "text/event-stream"};
    std::string silence, half = "data: half\n\n";
    co_await exchange.begin(std::move(head), std::move(silence));
    co_await exchange.write(std::move(half));
  }
  if (how == "long") {
    exchange.takes_long();
    co_await gone_within(exchange,
                         asio::steady_timer::clock_type::now() +
                             std::chrono::milliseconds(number(exchange.request(), "ms", 0)));
  }
  if (how != "none" && how != "stop") throw std::runtime_error("as it was told to");
}

}  // namespace

void add_test_routes(Router& router) {
  const auto n_gone = std::make_shared<int>(0);
  router.add("GET", "/test/stream",
             [n_gone](Exchange& e) { return stream(e, n_gone, std::nullopt); });
  router.add("GET", "/test/forever", [n_gone](Exchange& e) { return stream(e, n_gone, 0); });
  router.add("GET", "/test/gone",
             [n_gone](Exchange& e) { return reply(e, std::to_string(*n_gone)); });
  router.add("GET", "/test/slow", [](Exchange& e) { return slow(e); });
  router.add("GET", "/test/bytes", [](Exchange& e) {
    return reply(e, std::string(static_cast<std::size_t>(number(e.request(), "n", 0)), 'y'));
  });
  router.add("POST", "/test/echo", [](Exchange& e) { return echo(e); });
  for (const char* how : {"none", "throw", "stop", "long"})
    router.add("GET", fmt::format("/test/fail/{}", how),
               [how](Exchange& e) { return fail(e, how); });
}

}  // namespace lares::daemon
