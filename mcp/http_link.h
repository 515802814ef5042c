// One connection to an HTTP server, plain or TLS.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <span>
#include <string>
#include <tl/expected.hpp>

#include "mcp/http_url.h"

namespace lares::mcp {

namespace asio = boost::asio;

class Link {
 public:
  virtual ~Link() = default;
  virtual asio::awaitable<tl::expected<void, std::string>> write(const std::string& bytes) = 0;
  virtual asio::awaitable<tl::expected<std::size_t, std::string>> read(
      std::span<char> into) = 0;  // 0: the end
};

inline constexpr int kDialTimeoutMs = 15'000;  // a name's addresses and the connection; TLS again

// Connects, and over TLS checks the server's name against the system's certificates. The reason
// follows "connect to HOST: ".
asio::awaitable<tl::expected<std::unique_ptr<Link>, std::string>> dial(asio::any_io_executor io,
                                                                       Url url);

}  // namespace lares::mcp
