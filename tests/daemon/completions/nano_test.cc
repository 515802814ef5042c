// With a real model: of a conversation's second turn no token is evaluated twice, whatever the
// client makes of the first.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include "daemon/completions/generator.h"

namespace lares::daemon {
namespace {

using Json = Conversation::Json;

struct Turn {
  Json message = {{"role", "assistant"}, {"content", ""}};  // as a client keeps it: without
                                                            // reasoning, arguments written anew
  GenerationEnd end;
};

asio::awaitable<Turn> ask(Generator& generator, Conversation conversation) {
  Turn turn;
  auto beginning = generator.begin(std::move(conversation), {});
  auto generation = co_await std::move(beginning);
  if (!generation) {
    ADD_FAILURE() << generation.error().message;
    co_return turn;
  }
  for (;;) {
    auto saying = (*generation)->next();
    const auto events = co_await std::move(saying);
    if (events.empty()) break;
    for (const auto& event : events) {
      if (const auto* const text = std::get_if<ContentText>(&event))
        turn.message["content"] = turn.message["content"].get<std::string>() + text->text;
      if (const auto* const call = std::get_if<CallDone>(&event)) {
        turn.message["tool_calls"].push_back(
            {{"id", call->id},
             {"type", "function"},
             {"function",
              {{"name", call->name}, {"arguments", Json::parse(call->arguments).dump()}}}});
      }
    }
  }
  turn.end = (*generation)->end();
  co_return turn;
}

void go_on(Conversation& conversation, const Turn& turn) {
  conversation.messages.push_back(turn.message);
  if (!turn.message.contains("tool_calls"))
    conversation.messages.push_back({{"role", "user"}, {"content", "And what else?"}});
  else
    for (const Json& call : turn.message["tool_calls"])
      conversation.messages.push_back(
          {{"role", "tool"}, {"tool_call_id", call["id"]}, {"content", "a.py\nb.py"}});
}

Conversation first() {
  Conversation c;
  c.sampling.temperature = 0;
  c.tokens_max = 200;
  c.messages = Json::parse(
      R"([{"role": "system", "content": "You are a helpful software engineer assistant."}, {"role": "user", "content": "A test fails. Find the bug and fix it."}])");
  return c;
}

void run(std::function<asio::awaitable<void>(Generator&)> body) {
  asio::io_context io;
  EngineHost host(io.get_executor());
  host.start(
      [](const EngineHost::Loading& loading) {
        return engine::load(
            {.directory = LARES_SOURCE_DIR "/engine/nano/checkpoint", .n_threads = 1},
            loading.progress);
      },
      [](const protocol::ServerState& state) {
        EXPECT_NE(state.state, "failed") << state.message;
      });
  const Log log(-1);
  Generator generator(io.get_executor(), host, log,
                      {.model = "nano", .words = {}, .sampling = {}, .think_tokens_max = 100});
  asio::co_spawn(io, body(generator), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  io.run();
}

void evaluates_only_what_is_new(const GenerationEnd& before, const GenerationEnd& now) {
  EXPECT_GE(now.usage.cached,
            // All but the end-of-sentence token, which was not evaluated
            before.usage.prompt + before.usage.completion - 1);
  EXPECT_LT(now.usage.cached, now.usage.prompt);
}

TEST(NanoConversation, ASecondTurnWithToolsEvaluatesWhatIsNew) {
  run([](Generator& generator) -> asio::awaitable<void> {
    Conversation c = first();
    c.tools = Json::parse(
        R"([{"type": "function", "function": {"name": "bash", "description": "Run a command.", "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}}}])");
    c.call = Conversation::Call::some, c.one_call = true;
    auto asking = ask(generator, c);
    const Turn one = co_await std::move(asking);
    EXPECT_EQ(one.end.usage.cached, 0);
    EXPECT_EQ(one.end.reason, GenerationEnd::Reason::calls) << one.end.what;
    go_on(c, one);
    auto going_on = ask(generator, c);
    const Turn two = co_await std::move(going_on);
    evaluates_only_what_is_new(one.end, two.end);
  });
}

TEST(NanoConversation, ASecondTurnOfTalkEvaluatesWhatIsNew) {
  run([](Generator& generator) -> asio::awaitable<void> {
    Conversation c = first();
    c.thinking = false;
    c.messages[1]["content"] = "Where is total_price defined?";  // to others it finds no end
    auto asking = ask(generator, c);
    const Turn one = co_await std::move(asking);
    EXPECT_EQ(one.end.reason, GenerationEnd::Reason::stop) << one.end.what;
    go_on(c, one);
    auto going_on = ask(generator, c);
    const Turn two = co_await std::move(going_on);
    evaluates_only_what_is_new(one.end, two.end);
    auto again = ask(generator, c);  // the same once more: its prompt is there but for its end
    const Turn three = co_await std::move(again);
    EXPECT_GE(three.end.usage.cached, (three.end.usage.prompt - 1) / 128 * 128);
    EXPECT_EQ(three.message, two.message);
  });
}

}  // namespace
}  // namespace lares::daemon
