// A client of the endpoint and something for it to ask for, without a transport.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mcp/server.h"

namespace lares::mcp::server::test {

struct Heard final : Outlet {
  std::vector<Json> messages;
  int finished = 0, status = -1;
  void send(std::string message) override { messages.push_back(Json::parse(message)); }
  void finish(std::string message, int http_status) override {
    ++finished, status = http_status;
    if (!message.empty()) send(std::move(message));
  }
  const Json& last() const { return messages.at(messages.size() - 1); }
};

inline Json text(const std::string& said) {
  Json content = Json::array();
  content.push_back({{"type", "text"}, {"text", said}});
  Json result;
  result["content"] = std::move(content);
  return result;
}

struct Offered final : Provider {
  int n_tools = 3;
  int n_stopped = 0;
  bool last_cancelled = false;
  Call* asking = nullptr;       // while it asks
  const Json* given = nullptr;  // the latest call's arguments

  Info info() const override { return {"test", "Test", "1", "how to use it"}; }
  Json tools() override {
    Json list = Json::array();
    for (int i = 0; i < n_tools; ++i)
      list.push_back({{"name", "tool" + std::to_string(i)}, {"inputSchema", {{"type", "object"}}}});
    return list;
  }
  asio::awaitable<Answer<>> call_tool(Call& call, std::string name,
                                      const Json& arguments) override {
    given = &arguments;
    if (name == "echo") co_return text(arguments.dump());
    if (name == "root") co_return text(call.root());
    if (name == "throws") throw std::runtime_error("out of luck");
    if (name == "progress") {
      for (const int done : {1, 1, 3, 2, 4}) call.progress(done, 4, "at work");
      co_return text("done");
    }
    if (name == "log") {
      for (const char* level : {"debug", "info", "error"}) call.log(level, level);
      co_return text("logged");
    }
    if (name == "wait") {  // until nobody wants the answer
      asio::steady_timer timer(co_await asio::this_coro::executor,
                               asio::steady_timer::time_point::max());
      const std::stop_callback on_end(call.ended(), [&] { timer.cancel(); });
      boost::system::error_code ignored;
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      ++n_stopped, last_cancelled = call.cancelled();
      co_return text("too late");
    }
    if (name == "ask") {
      if (call.kept().is_null()) call.keep({{"round", 1}});
      auto question = call.ask("who", "elicitation/create",
                               {{"message", "who?"}, {"requestedSchema", {{"type", "object"}}}});
      asking = &call;
      const Asked asked = co_await std::move(question);
      asking = nullptr;
      if (asked.how == Asked::pending) co_return Json::object();
      co_return text(asked.how == Asked::answered ? asked.result().dump() + call.kept().dump()
                                                  : "how " + std::to_string(asked.how));
    }
    const Refusal refusal{kInvalidParams, "there is no tool " + name};
    co_return tl::unexpected(refusal);
  }
  bool has_resources() const override { return true; }
  int n_resources = 0;
  std::size_t n_most = 0;  // resources that one look asked for
  Json resources(const std::string&, std::size_t from, std::size_t n) override {
    n_most = std::max(n_most, n);
    Json list = Json::array();
    for (std::size_t i = from; i < static_cast<std::size_t>(n_resources) && list.size() < n; ++i)
      list.push_back({{"uri", "x://" + std::to_string(i)}});
    return list;
  }
  bool logs() const override { return true; }
};

// One client, everything it hears in one place.
struct Client {
  explicit Client(asio::thread_pool* aside = nullptr)
      : endpoint(io.get_executor(), offered, aside) {}
  asio::io_context io{1};
  Offered offered;
  Endpoint endpoint;
  std::shared_ptr<Peer> peer = endpoint.peer("/repo");
  std::shared_ptr<Heard> heard = std::make_shared<Heard>();
  int n = 0;

  void run() {
    io.restart();
    io.poll();
  }
  void say(Json message) {
    message["jsonrpc"] = "2.0";
    peer->receive(std::make_shared<const Json>(std::move(message)), heard);
    run();
  }
  // The last thing heard after it.
  Json ask(const std::string& method, Json params = Json::object()) {
    say({{"id", ++n}, {"method", method}, {"params", std::move(params)}});
    return heard->messages.empty() ? Json() : heard->last();
  }
  Json initialize(Json capabilities = Json::object(), const std::string& version = "2025-11-25") {
    Json answer = ask("initialize", {{"protocolVersion", version},
                                     {"capabilities", std::move(capabilities)},
                                     {"clientInfo", {{"name", "t"}, {"version", "1"}}}});
    peer->aside(heard);
    say({{"method", "notifications/initialized"}});
    return answer;
  }
  Json call(const std::string& tool, Json arguments = Json::object()) {
    return ask("tools/call", {{"name", tool}, {"arguments", std::move(arguments)}});
  }
  Json modern(const std::string& method, Json params = Json::object(),
              Json capabilities = Json::object()) {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = kModern;
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = std::move(capabilities);
    return ask(method, std::move(params));
  }
  std::string said(const Json& answer) {
    return answer.contains("result") && answer["result"].contains("content")
               ? answer["result"]["content"][0]["text"].get<std::string>()
               : answer.dump();
  }
};

}  // namespace lares::mcp::server::test
