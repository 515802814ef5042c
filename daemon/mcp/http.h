// MCP over Streamable HTTP, both eras at one path: legacy sessions with their streams, modern
// requests that each stand for themselves.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

#include "daemon/http/exchange.h"
#include "mcp/server.h"

namespace lares::daemon {

class EventStream;

inline constexpr std::size_t kMcpHttpSessionsMax = 256;  // the least recently used goes first
inline constexpr std::size_t kMcpStreamsMax = 64;        // of a session, that wait to be read

class McpHttp {
 public:
  // Long bodies are read on `aside`.
  McpHttp(mcp::server::Endpoint& endpoint, asio::thread_pool& aside)
      : endpoint_(endpoint), aside_(aside) {}
  ~McpHttp();

  // Origin and Host were checked before.
  asio::awaitable<void> handle(Exchange& exchange);

 private:
  struct Session;
  asio::awaitable<void> post(Exchange& exchange);
  asio::awaitable<void> post_modern(Exchange& exchange, mcp::server::JsonRef message);
  asio::awaitable<void> post_legacy(Exchange& exchange, mcp::server::IncomingRef incoming);
  asio::awaitable<void> begin_session(Exchange& exchange, mcp::server::JsonRef message);
  asio::awaitable<void> get(Exchange& exchange);
  asio::awaitable<void> remove(Exchange& exchange);
  std::shared_ptr<Session> session_of(const HttpRequest& request, HttpReply& refused,
                                      const mcp::server::Json& id);
  void make_room();

  mcp::server::Endpoint& endpoint_;
  asio::thread_pool& aside_;
  std::map<std::string, std::shared_ptr<Session>> sessions_;
  std::int64_t n_uses_ = 0;
};

}  // namespace lares::daemon
