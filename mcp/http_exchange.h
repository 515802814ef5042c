// One request over HTTP/1.1 and the response to it, whose body is read as it comes.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "mcp/http_url.h"

namespace lares::mcp {

namespace asio = boost::asio;

inline constexpr std::size_t kResponseHeadBytesMax = 64 << 10;

struct ResponseHead {
  int status = 0;
  std::string reason;
  std::vector<std::pair<std::string, std::string>> fields;

  std::string at(std::string_view name) const;  // whatever its case; "" where it is missing
};

struct HttpRequest {
  std::string method;
  Url url;
  // Beside Host, Connection and Content-Length
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
};

class Exchange {
 public:
  // Connects, sends, and reads the response's head. The reason follows the server's name: "connect
  // to localhost:1: refused".
  static asio::awaitable<tl::expected<std::unique_ptr<Exchange>, std::string>> begin(
      asio::any_io_executor io, HttpRequest request);
  virtual ~Exchange() = default;

  virtual const ResponseHead& head() const = 0;
  // The next stretch of the body; "" is its end.
  virtual asio::awaitable<tl::expected<std::string, std::string>> read() = 0;
};

// The whole body, of `n_max` bytes at most.
asio::awaitable<tl::expected<std::string, std::string>> read_body(Exchange& exchange,
                                                                  std::size_t n_max);

}  // namespace lares::mcp
