// The daemon's MCP server with its ways in: a stream of lines on the Unix socket, and HTTP.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

namespace lares::daemon {

namespace asio = boost::asio;

class Exchange;
class Sessions;

// Whether a connection's first line is one of MCP, and not of the native protocol.
bool is_mcp(std::string_view line);

// One client that speaks in lines.
class McpStream {
 public:
  virtual ~McpStream() = default;
  // On any thread. What comes back takes the line in, on the io thread.
  virtual std::function<void()> read(std::string_view line) = 0;
  virtual bool waits() const = 0;   // for an answer to something it asked
  virtual void falls_silent() = 0;  // it asks nothing more, and cannot be asked
  virtual void left() = 0;          // tasks go on
};

class McpDoor {
 public:
  McpDoor(asio::any_io_executor io, Sessions& sessions, asio::thread_pool& disk);
  ~McpDoor();

  // Lines, with their newlines. `answered`: one that waited has all its answers.
  std::unique_ptr<McpStream> stream(std::function<void(std::string)> send,
                                    std::function<void()> answered);
  asio::awaitable<void> http(Exchange& exchange);
  static std::string refusal_body(std::string_view message);  // of a request that never gets there
  void sessions_changed();                                    // some session is another than it was
  // Until what was asked is answered: every turn has ended. Not longer than a moment.
  asio::awaitable<void> settled();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace lares::daemon
