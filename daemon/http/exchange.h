// One HTTP request while it is answered: what was asked, and the two ways to answer it, whole or as
// a stream. Whoever answers knows no socket; whoever carries it knows no dialect.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>

namespace lares::daemon {

namespace asio = boost::asio;

inline constexpr std::chrono::seconds kKeepAliveEvery{10};
// Of a whole answer that takes long; clients and proxies wait a minute and more
inline constexpr std::chrono::seconds kStatusKnownMax{30};
inline constexpr std::chrono::seconds kSlowReaderMax{60};  // nothing read for so long
inline constexpr std::chrono::seconds kLastWordsMax{5};

// Of requests: names in lower case, values UTF-8
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;       // "GET"
  std::string path, query;  // "/v1/models", "limit=1000": ASCII, as they were sent
  HttpHeaders headers;
  std::string body;

  // Its first value; empty: none. `name` in lower case
  std::string_view header(std::string_view name) const;
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
  // The request's body is read: its memory is given back, which the answer would hold as long as it
  // takes. From here on it is empty.
  virtual void drop_body() {}

  // Whole. Once, and instead of a stream.
  virtual asio::awaitable<void> reply(HttpReply reply) = 0;
  // Said before a whole reply of JSON that takes long: after kStatusKnownMax, and then whenever
  // nothing was written for kKeepAliveEvery, an empty line goes out ahead of it, as JSON allows.
  // With the first one the status is 200, and the reply's own is lost: what can be refused is
  // refused before this is said, and only what fails after kStatusKnownMax has to say so in its
  // body.
  virtual void takes_long() {}

  // As a stream: `head` without its body goes out now, unless it has. Whenever nothing was written
  // for kKeepAliveEvery, what `keep_alive` gives is: something that clients ignore. It may be asked
  // as long as the connection is there.
  using KeepAlive = std::function<std::string()>;
  virtual asio::awaitable<void> begin(HttpReply head, KeepAlive keep_alive) = 0;
  asio::awaitable<void> begin(HttpReply head, std::string keep_alive) {
    return begin(std::move(head), KeepAlive([bytes = std::move(keep_alive)] { return bytes; }));
  }
  // Waits while the peer does not read. False: it is gone, or has read nothing for kSlowReaderMax,
  // or asked for the head alone (HEAD).
  virtual asio::awaitable<bool> write(std::string bytes) = 0;
  // Who returns without it cuts the connection, so that no client takes what was written for the
  // whole.
  virtual asio::awaitable<void> end() = 0;

  // The peer hung up, or has all it asked for (HEAD, after begin), or the daemon ends. What is
  // written after that still goes out while there is somebody to read it: when the daemon ends, the
  // stream's own last words, for which there are kLastWordsMax.
  virtual std::stop_token gone() const = 0;
};

using HttpHandler = std::function<asio::awaitable<void>(Exchange& exchange)>;

}  // namespace lares::daemon
