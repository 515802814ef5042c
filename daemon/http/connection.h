// One HTTP client: its requests, one after the other and each answered in turn, until either side
// has had enough.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "daemon/http/access.h"
#include "daemon/http/exchange.h"
#include "daemon/http/limits.h"
#include "daemon/http/stream.h"

namespace lares::daemon {

class HttpAnswer;
class HttpRequestParser;
class HttpServer;

class HttpConnection {
 public:
  // Empty token: none is asked for. `crowded`: there are too many already, and this one is only
  // told so.
  HttpConnection(HttpServer& server, HttpStream::Socket socket, std::string token, bool crowded);
  asio::awaitable<void> run();
  // What is being answered gets its last words, and nothing else an answer.
  void stop();
  void close();  // at once
  // Nothing is being answered: whoever wants something has not said yet what, or not shown that he
  // may.
  bool is_free() const { return free_; }
  HttpStream::Clock::time_point free_since() const { return free_since_; }
  CameOver over() const { return over_; }

 private:
  class BodyShare;
  asio::awaitable<bool> one_request();  // true: another may follow
  // Until the headers are there, or the whole request. A refusal with status 0: there is nobody to
  // tell it to.
  asio::awaitable<std::optional<HttpRefusal>> read(HttpRequestParser& parser, bool whole,
                                                   BodyShare& share);
  std::optional<HttpRefusal> refuse(const HttpRequest& request, const HttpHandler*& handler) const;
  asio::awaitable<void> handle(const HttpHandler& handler, HttpAnswer& answer);

  HttpServer& server_;
  const CameOver over_;
  std::shared_ptr<HttpStream> stream_;
  std::string token_;
  bool crowded_, idle_ = true, free_ = true, stopping_ = false;
  HttpStream::Clock::time_point free_since_ = HttpStream::Clock::now();
};

}  // namespace lares::daemon
