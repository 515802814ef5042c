// One HTTP/1.0 or 1.1 request out of bytes, however they are cut.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "daemon/http/exchange.h"
#include "daemon/http/limits.h"

namespace lares::daemon {

class HttpRequestParser {
 public:
  explicit HttpRequestParser(const HttpLimits& limits);
  ~HttpRequestParser();

  // Takes what belongs to the request from the front of `bytes`, and says how much that was. Stops
  // once behind the headers, so that whoever calls can look at them. 0: nothing can be taken before
  // more bytes are there. After a refusal, nothing more can be.
  tl::expected<std::size_t, HttpRefusal> put(std::string_view bytes);
  bool has_begun() const;  // more than empty lines were there
  bool has_head() const;
  bool is_done() const;

  // With the head: the request, its body as far as it has come.
  const HttpRequest& request() const { return request_; }
  HttpRequest take_request();
  std::size_t body_bytes() const;
  bool expects_continue() const { return expects_continue_; }
  bool is_http_10() const { return http_10_; }
  bool keeps_alive() const { return keeps_alive_; }  // the client would send more

 private:
  tl::expected<void, HttpRefusal> head_read();
  struct Beast;
  std::unique_ptr<Beast> beast_;
  HttpLimits limits_;
  HttpRequest request_;
  bool begun_ = false, expects_continue_ = false, http_10_ = false, keeps_alive_ = false;
  std::size_t head_bytes_ = 0;  // taken
};

}  // namespace lares::daemon
