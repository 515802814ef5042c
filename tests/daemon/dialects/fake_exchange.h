// Stand-ins for the HTTP server and for the model, so that a dialect runs between them without a
// socket and without sampling.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "daemon/completions/generation.h"
#include "daemon/http/exchange.h"
#include "daemon/http/router.h"

namespace lares::daemon::test {

class FakeExchange : public Exchange {
 public:
  explicit FakeExchange(HttpRequest request) : request_(std::move(request)) {}
  const HttpRequest& request() const override { return request_; }
  void drop_body() override { request_.body.clear(); }
  void takes_long() override { took_long = true; }
  asio::awaitable<void> reply(HttpReply r) override {
    answer = std::move(r);
    ++n_replies;
    co_return;
  }
  using Exchange::begin;
  asio::awaitable<void> begin(HttpReply head, KeepAlive alive) override {
    if (!std::exchange(streamed, true)) answer = std::move(head);
    keep_alive = alive;
    keep_alives.push_back(std::move(alive));
    ++n_begins;
    co_return;
  }
  asio::awaitable<bool> write(std::string bytes) override {
    if (n_writes++ >= writes_max) co_return false;
    answer.body += bytes;
    co_return true;
  }
  asio::awaitable<void> end() override {
    ended = true;
    co_return;
  }
  std::stop_token gone() const override { return gone_.get_token(); }

  HttpReply answer;                    // what was streamed is its body
  KeepAlive keep_alive;                // the latest
  std::vector<KeepAlive> keep_alives;  // of every begin
  // After so many the peer reads no more
  int n_begins = 0, n_replies = 0, n_writes = 0, writes_max = 1 << 30;
  bool streamed = false, ended = false, took_long = false;

 private:
  HttpRequest request_;
  std::stop_source gone_;
};

// Says `steps`, one a call, then `end`.
struct Script {
  std::vector<std::vector<GenerationEvent>> steps;
  GenerationEnd end;
};

class FakeGenerations : public Generations {
 public:
  explicit FakeGenerations(Script said = {}) : script(std::move(said)) {}
  asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(
      Conversation conversation, std::stop_token token) override {
    asked = std::move(conversation);
    stop = std::move(token);
    if (refusal) co_return tl::unexpected(*refusal);
    co_return std::make_unique<Told>(*this);
  }
  asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(
      Infill infill, std::stop_token token) override {
    infilled = std::move(infill);
    stop = std::move(token);
    if (refusal) co_return tl::unexpected(*refusal);
    co_return std::make_unique<Told>(*this);
  }
  asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(
      RawPrompt prompt, std::stop_token token) override {
    raw = std::move(prompt);
    stop = std::move(token);
    if (refusal) co_return tl::unexpected(*refusal);
    co_return std::make_unique<Told>(*this);
  }
  asio::awaitable<tl::expected<std::int64_t, Refusal>> count_tokens(
      Conversation conversation) override {
    asked = std::move(conversation);
    if (refusal) co_return tl::unexpected(*refusal);
    co_return 321;
  }
  asio::awaitable<tl::expected<std::vector<engine::Token>, Refusal>> tokenize(
      std::string text) override {
    tokenised = std::move(text);
    if (refusal) co_return tl::unexpected(*refusal);
    co_return std::vector<engine::Token>{5, 6, 7};
  }
  bool loading() const override { return is_loading; }
  std::string model() const override { return "nano"; }
  std::optional<std::int64_t> context_max() const override { return context; }
  std::uint64_t n_parameters() const override { return parameters; }

  Script script;
  std::optional<Refusal> refusal;
  Conversation asked;
  Infill infilled;
  RawPrompt raw;
  std::string tokenised;
  std::optional<std::int64_t> context = 4096;
  std::uint64_t parameters = 0;
  std::stop_token stop;
  int n_steps_told = 0;
  bool is_loading = false;

 private:
  struct Told : Generation {
    explicit Told(FakeGenerations& generations) : from(generations) {}
    std::int64_t prompt_tokens() const override { return 100; }
    asio::awaitable<std::vector<GenerationEvent>> next() override {
      if (at == from.script.steps.size() || from.stop.stop_requested())
        co_return std::vector<GenerationEvent>();
      ++from.n_steps_told;
      co_return from.script.steps[at++];
    }
    const GenerationEnd& end() const override { return from.script.end; }
    FakeGenerations& from;
    std::size_t at = 0;
  };
};

// What `method path` with `body` is answered; null: nobody answers it.
inline std::unique_ptr<FakeExchange> ask(const std::function<void(Router&, Generations&)>& add,
                                         FakeGenerations& generations, std::string method,
                                         std::string path, std::string body,
                                         int writes_max = 1 << 30, HttpHeaders headers = {}) {
  Router router;
  add(router, generations);
  const Router::Found found = router.find(method, path);
  if (!found.handler) return nullptr;
  HttpRequest request{.method = std::move(method),
                      .path = std::move(path),
                      .query = "beta=true",
                      .headers = std::move(headers),
                      .body = std::move(body)};
  auto exchange = std::make_unique<FakeExchange>(std::move(request));
  exchange->writes_max = writes_max;
  asio::io_context io;
  asio::co_spawn(io, (*found.handler)(*exchange), [](std::exception_ptr failed) {
    if (failed) std::rethrow_exception(failed);
  });
  io.run();
  return exchange;
}

// The events of a stream, in order.
struct Sent {
  std::string name, data;
};
inline std::vector<Sent> sent_events(std::string_view stream) {
  std::vector<Sent> out;
  while (!stream.empty()) {
    const auto end = stream.find("\n\n");
    std::string_view block = stream.substr(0, end);
    stream.remove_prefix(end == std::string_view::npos ? stream.size() : end + 2);
    Sent sent;
    if (end == std::string_view::npos) sent.name = "?cut ";
    while (!block.empty()) {
      const std::string_view line = block.substr(0, block.find('\n'));
      block.remove_prefix(std::min(block.size(), line.size() + 1));
      if (line.starts_with("event: "))
        sent.name += line.substr(7);
      else if (line.starts_with("data: "))
        sent.data += line.substr(6);
      else
        sent.name.append("?").append(line);  // no field that these dialects send
    }
    out.push_back(std::move(sent));
  }
  return out;
}

}  // namespace lares::daemon::test
