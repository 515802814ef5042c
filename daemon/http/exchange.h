// One HTTP request while it is answered: what was asked, and the two ways to answer it, whole or as a stream. Whoever answers knows no
// socket; whoever carries it knows no dialect.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>

namespace lares::daemon {

namespace asio = boost::asio;

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;  // of requests: names in lower case

struct HttpRequest {
  std::string method;       // "GET"
  std::string path, query;  // "/v1/models", "limit=1000"
  HttpHeaders headers;
  std::string body;

  std::string_view header(std::string_view name) const;  // its first value; empty: none. `name` in lower case
};

struct HttpReply {
  unsigned status = 200;
  std::string body;
  std::string content_type = "application/json";
  HttpHeaders headers = {};
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;

  // Whole. Once, and instead of a stream.
  virtual asio::awaitable<void> reply(HttpReply reply) = 0;

  // As a stream: `head` without its body goes out now. Whenever nothing was written for kKeepAliveEvery, `keep_alive` is: something that
  // the content type lets clients ignore.
  virtual asio::awaitable<void> begin(HttpReply head, std::string keep_alive) = 0;
  // Waits while the peer does not read. False: it is gone, or has read nothing for a minute.
  virtual asio::awaitable<bool> write(std::string bytes) = 0;
  virtual asio::awaitable<void> end() = 0;

  // The peer hung up, or the daemon ends.
  virtual std::stop_token gone() const = 0;
};

using HttpHandler = std::function<asio::awaitable<void>(Exchange& exchange)>;

}  // namespace lares::daemon
