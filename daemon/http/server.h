// The daemon's HTTP: clients that reach it through the Unix socket, and through loopback TCP where
// that is asked for.
#pragma once

#include <cstddef>
#include <memory>
#include <set>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <tl/expected.hpp>

#include "daemon/gate.h"
#include "daemon/http/limits.h"
#include "daemon/http/router.h"
#include "daemon/http/stream.h"
#include "daemon/log.h"

namespace lares::daemon {

class HttpConnection;

class HttpServer {
 public:
  HttpServer(asio::any_io_executor io, const Router& router, const Log& log,
             HttpLimits limits = {});
  ~HttpServer();

  // Serves a client that is there already. Empty token: none is asked for.
  void take(HttpStream::Socket socket, std::string token = "");
  // Accepts TCP clients until it is stopped. Gives the address it listens on, whose port is never
  // 0; the error is one line.
  tl::expected<asio::ip::tcp::endpoint, std::string> listen(const asio::ip::tcp::endpoint& address,
                                                            std::string token);
  // Clients that wait are left at once. Who is being answered gets its last words for
  // limits.last_words; its handler is waited for kHandlersEndMax, because it may hold what is
  // destroyed afterwards.
  asio::awaitable<void> stop();

  // ---- for connections
  asio::any_io_executor io() const { return io_; }
  const Router& router() const { return router_; }
  const Log& log() const { return log_; }
  const HttpLimits& limits() const { return limits_; }
  void left(const std::shared_ptr<HttpConnection>& connection);
  bool bodies_grow(std::size_t bytes);  // false: they would be too many
  void bodies_shrink(std::size_t bytes) { bodies_bytes_ -= bytes; }

 private:
  asio::awaitable<void> accept_loop(std::shared_ptr<asio::ip::tcp::acceptor> acceptor,
                                    std::string token);
  asio::awaitable<bool> all_left_within(std::chrono::milliseconds time);

  asio::any_io_executor io_;
  const Router& router_;
  const Log& log_;
  HttpLimits limits_;
  std::set<std::shared_ptr<HttpConnection>> connections_;
  std::set<std::shared_ptr<asio::ip::tcp::acceptor>> acceptors_;
  std::size_t bodies_bytes_ = 0;
  bool stopping_ = false;
  asio::steady_timer all_left_;
};

}  // namespace lares::daemon
