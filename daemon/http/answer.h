// The answer to one request on its way to the client: an Exchange over a stream, in HTTP/1.1's
// framing, or HTTP/1.0's.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/http/exchange.h"
#include "daemon/http/stream.h"

namespace lares::daemon {

class HttpAnswer final : public Exchange {
 public:
  struct Framing {
    bool http_10 = false;
    bool keeps_alive = true;  // the connection goes on afterwards
  };
  HttpAnswer(HttpStream& stream, HttpRequest request, Framing framing);
  ~HttpAnswer() override;

  const HttpRequest& request() const override { return request_; }
  void drop_body() override {
    std::string().swap(request_.body);
  }  // an assignment would keep what it has reserved
  asio::awaitable<void> reply(HttpReply reply) override;
  void takes_long() override;
  asio::awaitable<void> begin(HttpReply head, KeepAlive keep_alive) override;
  asio::awaitable<bool> write(std::string bytes) override;
  asio::awaitable<void> end() override;
  std::stop_token gone() const override;

  bool is_whole() const { return state_ == State::ended; }
  bool leaves_open() const {
    return is_whole() && framing_.keeps_alive;
  }  // the connection can take another request
  unsigned status() const { return status_; }

 private:
  enum class State { nothing, blank_lines, streaming, ended };
  bool is_chunked() const { return !framing_.http_10; }
  std::string head(const HttpReply& reply, bool sized);
  std::string framed(std::string bytes) const;
  std::string blank_line();

  HttpStream& stream_;
  HttpRequest request_;
  Framing framing_;
  State state_ = State::nothing;
  bool head_only_;
  std::stop_source has_all_;  // who asked for the head alone
  unsigned status_ = 0;
};

}  // namespace lares::daemon
