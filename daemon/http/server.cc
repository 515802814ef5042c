#include "daemon/http/server.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/ended.h"
#include "daemon/http/connection.h"

namespace lares::daemon {
namespace {

using asio::ip::tcp;
constexpr auto kUse = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kToldMax = 32;  // clients too many that are still told so
constexpr std::chrono::seconds kHandlersEndMax{30};
constexpr std::chrono::milliseconds kAcceptPause{100};

std::string text(const tcp::endpoint& address) {
  const std::string host = address.address().to_string();
  return fmt::format("{}:{}", address.address().is_v6() ? "[" + host + "]" : host, address.port());
}

}  // namespace

HttpServer::HttpServer(asio::any_io_executor io, const Router& router, const Log& log,
                       HttpLimits limits)
    : io_(io), router_(router), log_(log), limits_(limits), all_left_(io) {}

HttpServer::~HttpServer() = default;

void HttpServer::take(HttpStream::Socket socket, std::string token) {
  if (stopping_ || connections_.size() >= limits_.connections + kToldMax) return;
  bool crowded = connections_.size() >= limits_.connections;
  if (crowded) {  // one that is not being answered makes room: over TCP it may be anybody
    const auto rank = [](const std::shared_ptr<HttpConnection>& c) {
      return std::tuple(!c->is_free(), c->over() != CameOver::tcp, c->free_since());
    };
    const auto first = std::ranges::min_element(connections_, {}, rank);
    if (first != connections_.end() && (*first)->is_free()) (*first)->close(), crowded = false;
  }
  const auto connection = std::make_shared<HttpConnection>(*this, std::move(socket),
                                                           std::move(token), crowded);
  connections_.insert(connection);
  asio::co_spawn(
      io_, [connection] { return connection->run(); },
      logged(log_, "an HTTP client", [this, connection](const std::string&) {
        connection->close();
        left(connection);
      }));
}

void HttpServer::left(const std::shared_ptr<HttpConnection>& connection) {
  connections_.erase(connection);
  if (connections_.empty()) all_left_.cancel();
}

bool HttpServer::bodies_grow(std::size_t bytes) {
  if (bodies_bytes_ + bytes > limits_.bodies_bytes) return false;
  bodies_bytes_ += bytes;
  return true;
}

tl::expected<tcp::endpoint, std::string> HttpServer::listen(const tcp::endpoint& address,
                                                            std::string token) {
  boost::system::error_code ec;
  const auto acceptor = std::make_shared<tcp::acceptor>(io_);
  acceptor->open(address.protocol(), ec);
  if (!ec) acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor->bind(address, ec);
  if (!ec) acceptor->listen(asio::socket_base::max_listen_connections, ec);
  if (ec) return tl::unexpected(fmt::format("listen on {}: {}", text(address), ec.message()));
  const auto bound = acceptor->local_endpoint(ec);
  acceptors_.insert(acceptor);
  asio::co_spawn(
      io_,
      [this, acceptor, token = std::move(token)]() mutable {
        return accept_loop(acceptor, std::move(token));
      },
      logged(log_, "accepting HTTP clients"));
  log_.event("http_listens", {{"address", text(bound)}});
  return bound;
}

asio::awaitable<void> HttpServer::accept_loop(std::shared_ptr<tcp::acceptor> acceptor,
                                              std::string token) {
  while (!stopping_) {
    auto [ec, socket] = co_await acceptor->async_accept(kUse);
    if (stopping_) break;
    if (ec) {  // out of descriptors: those that are there go on
      log_.event("accept_failed", {{"why", ec.message()}});
      asio::steady_timer pause(io_, kAcceptPause);
      co_await pause.async_wait(kUse);
      continue;
    }
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);  // tokens are small, and wait for nobody
    take(std::move(socket), token);
  }
}

asio::awaitable<bool> HttpServer::all_left_within(std::chrono::milliseconds time) {
  all_left_.expires_after(time);
  if (!connections_.empty()) co_await all_left_.async_wait(kUse);
  co_return connections_.empty();
}

asio::awaitable<void> HttpServer::stop() {
  if (std::exchange(stopping_, true)) co_return;
  boost::system::error_code ignored;
  for (const auto& acceptor : acceptors_) acceptor->close(ignored);
  const auto told = connections_;
  for (const auto& connection : told) connection->stop();
  if (co_await all_left_within(limits_.last_words)) co_return;
  const auto left = connections_;
  for (const auto& connection : left) connection->close();
  if (!co_await all_left_within(kHandlersEndMax))
    log_.event("http_left_behind", {{"n", connections_.size()}});
}

}  // namespace lares::daemon
