// A Generator over a scripted model, and what is read of its answers.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include "daemon/completions/generator.h"
#include "daemon/utf8.h"
#include "tests/daemon/scripted/scripted_engine.h"

namespace lares::daemon::test {

struct Answered {
  std::string reasoning, content, arguments;  // arguments: of all calls, as they came in pieces
  std::vector<CallDone> calls;
  std::vector<engine::Token> ids;  // of a raw prompt's answer
  std::size_t n_begun = 0;
  std::vector<TokenLogprob> logprobs;  // the content's
  std::optional<Refusal> refusal;
  GenerationEnd end;
};

inline asio::awaitable<Answered> read(std::unique_ptr<Generation> generation) {
  Answered out;
  for (;;) {
    auto saying = generation->next();
    const auto events = co_await std::move(saying);
    if (events.empty()) break;
    for (const auto& event : events) {
      if (const auto* const e = std::get_if<ReasoningText>(&event)) out.reasoning += e->text;
      if (const auto* const e = std::get_if<ContentText>(&event)) {
        EXPECT_EQ(valid_utf8(e->text), e->text);
        out.content += e->text;
        out.logprobs.insert(out.logprobs.end(), e->logprobs.begin(), e->logprobs.end());
        out.ids.insert(out.ids.end(), e->ids.begin(), e->ids.end());
      }
      if (std::holds_alternative<CallBegun>(event)) ++out.n_begun;
      if (const auto* const e = std::get_if<CallArguments>(&event)) out.arguments += e->json;
      if (const auto* const e = std::get_if<CallDone>(&event)) out.calls.push_back(*e);
    }
  }
  out.end = generation->end();
  co_return out;
}

class GeneratorCase : public ::testing::Test {
 protected:
  // Runs `body` on an engine that says `plays`, one after the other.
  using Body = std::function<asio::awaitable<void>(Generator&)>;
  void run(std::deque<Play> plays, Body body) {
    asio::io_context io;
    EngineHost host(io.get_executor());
    auto owned = std::make_unique<ScriptedEngine>(std::move(plays), n_context);
    engine_ = owned.get();
    if (apart) engine_->stand_apart();
    if (n_chunk > 0) engine_->evaluate_in_chunks(n_chunk, before_chunk);
    host.start(
        [&](const EngineHost::Loading&) -> engine::Result<std::unique_ptr<engine::Engine>> {
          return std::move(owned);
        },
        [](const protocol::ServerState&) {});
    const Log log(-1);
    Generator generator(io.get_executor(), host, log, options);
    asio::co_spawn(io, body(generator), [](std::exception_ptr e) {
      if (e) std::rethrow_exception(e);
    });
    io.run();
    prompts = engine_->prompts();
    n_evaluated = engine_->n_evaluated();
    n_masked = engine_->n_masked();
  }

  template <class What>
  static asio::awaitable<Answered> ask(Generator& generator, What what, std::stop_token stop = {}) {
    auto beginning = generator.begin(std::move(what), stop);
    auto generation = co_await std::move(beginning);
    if (!generation) {
      Answered out;
      out.refusal = generation.error();
      co_return out;
    }
    auto reading = read(std::move(*generation));
    co_return co_await std::move(reading);
  }

  static Conversation user(const std::string& text) {
    Conversation c;
    c.messages.push_back({{"role", "user"}, {"content", text}});
    return c;
  }
  static Conversation with_tool(Conversation c) {
    c.tools.push_back(Conversation::Json::parse(
        R"({"type": "function", "function": {"name": "read", "description": "Reads.", "parameters": {"type": "object",
                                     "properties": {"path": {"type": "string"}}, "required": ["path"]}}})"));
    return c;
  }

  std::int64_t n_context = 1 << 20, n_chunk = 0;
  bool apart = false;
  std::function<void(std::int64_t)> before_chunk;
  GeneratorOptions options{
      .model = "scripted", .words = {}, .sampling = {}, .think_tokens_max = 1000};
  ScriptedEngine* engine_ = nullptr;
  std::vector<std::string> prompts;
  std::int64_t n_evaluated = 0;
  int n_masked = 0;
};

}  // namespace lares::daemon::test
