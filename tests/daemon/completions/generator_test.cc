// Stateless generation over a scripted model: what it is given, what is said of it, and what the
// next request need not evaluate again.
#include <atomic>
#include <future>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include "daemon/contexts.h"
#include "daemon/on_disk_pool.h"
#include "daemon/turn/answer.h"
#include "daemon/turn/repetition.h"
#include "tests/daemon/completions/generator_case.h"

namespace lares::daemon {
namespace {

using Json = Conversation::Json;
using Reason = GenerationEnd::Reason;
using test::Answered, test::read;
class GeneratorTest : public test::GeneratorCase {};

// As the daemon ends where a handler did not. A frame that is unwound later than this refers to
// what is gone: the server of its connection, for one.
TEST(Generator, WhatItsThreadsHoldIsUnwoundWhenItIsAbandoned) {
  struct Local {
    std::atomic<int>& n;
    ~Local() { ++n; }
  };
  IoLoop io;
  EngineHost host(io.get_executor());
  const Log log(-1);
  Generator generator(io.get_executor(), host, log, {});
  asio::any_io_executor aside = generator.aside();
  std::promise<void> go_on;
  std::atomic<int> n_unwound = 0;
  const auto job = [gone_on = go_on.get_future().share()] {
    gone_on.wait();
    return true;
  };
  const auto reads = [&]() -> asio::awaitable<void> {
    const Local local{n_unwound};
    co_await on_disk_pool(aside, job);
  };
  constexpr int kReads = 5;  // more than it has threads
  for (int i = 0; i < kReads; ++i) asio::co_spawn(io, reads, asio::detached);
  io.poll();
  go_on.set_value();
  generator.abandon();
  io.abandon();
  EXPECT_EQ(n_unwound, kReads);
}

TEST_F(GeneratorTest, WhatIsThoughtAndSaidIsToldApart) {
  run({{.text = "I think.</think>Über alles: gut."}}, [](Generator& g) -> asio::awaitable<void> {
    auto asking = ask(g, user("How?"));
    const Answered a = co_await std::move(asking);
    EXPECT_EQ(a.reasoning, "I think.");
    EXPECT_EQ(a.content, "Über alles: gut.");
    EXPECT_EQ(a.end.reason, Reason::stop);
    EXPECT_EQ(a.end.usage.reasoning, 9);    // bytes, and </think>
    EXPECT_EQ(a.end.usage.completion, 27);  // and the end
    EXPECT_EQ(a.end.usage.cached, 0);
  });
  ASSERT_EQ(prompts.size(), 1u);
  EXPECT_TRUE(prompts[0].starts_with("<｜begin▁of▁sentence｜>Reasoning Effort: Absolute maximum"))
      << prompts[0].substr(0, 100);
  EXPECT_TRUE(prompts[0].ends_with("<｜User｜>How?<｜Assistant｜><think>")) << prompts[0];
}

TEST_F(GeneratorTest, WithoutThinkingItAnswersAtOnce) {
  run({{.text = "Gut."}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("How?");
    c.thinking = false;
    auto asking = ask(g, c);
    const Answered a = co_await std::move(asking);
    EXPECT_EQ(a.content, "Gut.");
    EXPECT_EQ(a.end.usage.reasoning, 0);
  });
  EXPECT_EQ(prompts.at(0), "<｜begin▁of▁sentence｜><｜User｜>How?<｜Assistant｜></think>");
}

TEST_F(GeneratorTest, CallsComeInPiecesAndWhole) {
  run({{.text = "hm</think>I look." + scripted_calls({scripted_call("read", {{"path", "a \"b\""}}),
                                                      scripted_call("read", {{"path", "c"}})})}},
      [](Generator& g) -> asio::awaitable<void> {
        auto asking = ask(g, with_tool(user("Look.")));
        const Answered a = co_await std::move(asking);
        EXPECT_EQ(a.content, "I look.");
        EXPECT_EQ(a.end.reason, Reason::calls);
        EXPECT_EQ(a.n_begun, 2u);
        EXPECT_EQ(a.calls.size(), 2u);
        if (a.calls.size() != 2) co_return;
        EXPECT_EQ(Json::parse(a.calls[0].arguments), Json({{"path", "a \"b\""}}));
        EXPECT_EQ(a.arguments, a.calls[0].arguments + a.calls[1].arguments);
        EXPECT_TRUE(a.calls[0].id.starts_with("call_"));
        EXPECT_NE(a.calls[0].id, a.calls[1].id);
      });
}

// A client writes the arguments its own way, and leaves the reasoning out: the prompt is the tokens
// that were, and no more are evaluated.
TEST_F(GeneratorTest, ATurnThatGoesOnEvaluatesWhatIsNew) {
  n_chunk = 1024;
  const std::string said = "hm</think>I look." +
                           scripted_calls({scripted_call("read", {{"path", "a"}})});
  run({{.text = said}, {.text = "aha</think>Done."}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = with_tool(user("Look." + std::string(3000, 'x')));
    auto first_asking = ask(g, c);
    const Answered first = co_await std::move(first_asking);
    if (first.calls.size() != 1) co_return ADD_FAILURE();
    c.messages.push_back(
        {{"role", "assistant"}, {"content", "I look."}, {"tool_calls", Json::array()}});
    c.messages.back()["tool_calls"].push_back(
        {{"id", first.calls[0].id},
         {"type", "function"},
         {"function", {{"name", "read"}, {"arguments", "{\"path\":\"a\"}"}}}});
    c.messages.push_back(
        {{"role", "tool"}, {"tool_call_id", first.calls[0].id}, {"content", "text"}});
    auto second_asking = ask(g, c);
    const Answered second = co_await std::move(second_asking);
    EXPECT_EQ(second.content, "Done.");
    EXPECT_EQ(second.end.usage.cached,
              first.end.usage.prompt + first.end.usage.completion - 1);  // the end-of-sentence
                                                                         // token was not evaluated
  });
  ASSERT_EQ(prompts.size(), 2u);
  EXPECT_EQ(
      prompts[1],
      prompts[0] + said +
          "<｜end▁of▁sentence｜><｜User｜><tool_result>text</tool_result><｜Assistant｜><think>");
}

TEST_F(GeneratorTest, WhatAClientChangedIsWhatThePromptHas) {
  run({{.text = "hm</think>I look."}, {.text = "</think>Done."}},
      [](Generator& g) -> asio::awaitable<void> {
        Conversation c = with_tool(user("Look."));
        auto first = ask(g, c);
        co_await std::move(first);
        c.messages.push_back({{"role", "assistant"}, {"content", "I looked."}});
        c.messages.push_back({{"role", "user"}, {"content", "And?"}});
        auto second = ask(g, c);
        co_await std::move(second);
      });
  EXPECT_TRUE(prompts.at(1).ends_with(
      "<think></think>I looked.<｜end▁of▁sentence｜><｜User｜>And?<｜Assistant｜><think>"))
      << prompts.at(1);
}

TEST_F(GeneratorTest, ReasoningIsPutBackWhereItWasThoughtAndNowhereElse) {
  run({{.text = "a secret</think>Done."}, {.text = "</think>x"}, {.text = "</think>x"}},
      [](Generator& g) -> asio::awaitable<void> {
        Conversation c = with_tool(user("One."));
        auto asking = ask(g, c);
        co_await std::move(asking);
        for (const char* const task : {"One.", "Two."}) {
          Conversation other = with_tool(user(task));
          other.messages.push_back({{"role", "assistant"}, {"content", "Done."}});
          other.messages.push_back({{"role", "user"}, {"content", "And?"}});
          auto going_on = ask(g, other);
          co_await std::move(going_on);
        }
      });
  EXPECT_NE(prompts.at(1).find("<think>a secret</think>Done."), std::string::npos) << prompts.at(1);
  EXPECT_NE(prompts.at(2).find("<think></think>Done."), std::string::npos) << prompts.at(2);
}

TEST_F(GeneratorTest, AStopSequenceEndsTheContentAndNoReasoning) {
  run({{.text = "END</think>one ENEND two", .open_ended = true}},
      [](Generator& g) -> asio::awaitable<void> {
        Conversation c = user("x");
        c.stop = {"###", "END"};
        auto asking = ask(g, c);
        const Answered a = co_await std::move(asking);
        EXPECT_EQ(a.reasoning, "END");
        EXPECT_EQ(a.content, "one EN");
        EXPECT_EQ(a.end.reason, Reason::sequence);
        EXPECT_EQ(a.end.what, "END");
        EXPECT_EQ(a.end.usage.completion, 13);  // none behind it
      });
}

TEST_F(GeneratorTest, AnAnswerEndsWhereItsTokensDo) {
  run({{.text = "abcdefgh"},
       {.text = "x</think>" + scripted_calls({scripted_call("read", {{"path", "abcdefgh"}})})}},
      [](Generator& g) -> asio::awaitable<void> {
        Conversation c = user("x");
        c.thinking = false, c.tokens_max = 3;
        auto asking = ask(g, c);
        const Answered a = co_await std::move(asking);
        EXPECT_EQ(a.content, "abc");
        EXPECT_EQ(a.end.reason, Reason::length);
        Conversation calls = with_tool(user("x"));
        calls.tokens_max = 80;
        auto cut = ask(g, calls);
        const Answered b = co_await std::move(cut);
        EXPECT_EQ(b.end.reason, Reason::length);
        EXPECT_TRUE(b.calls.empty());
      });
}

// No API shows how a model writes its calls.
TEST_F(GeneratorTest, AnAnswerThatEndsInTheHeadOfACallDoesNotShowIt) {
  const std::string call = scripted_calls({scripted_call("read", {{"path", "a"}})}),
                    text = "Hm." + call;
  const std::size_t mark = std::string_view("｜DSML｜").size() - 1;  // a token, as a byte is
  const std::size_t opened = text.find("tool_calls") - mark, named = text.find("read") - 2 * mark;
  std::deque<Play> plays;
  for (std::size_t n = opened; n < named; ++n) plays.push_back({.text = text});
  run(plays, [&](Generator& g) -> asio::awaitable<void> {
    for (std::size_t n = opened; n < named; ++n) {
      Conversation c = with_tool(user("x"));
      c.thinking = false, c.tokens_max = static_cast<std::int64_t>(n);
      auto asking = ask(g, c);
      const Answered a = co_await std::move(asking);
      EXPECT_EQ(a.content, "Hm.") << n;
      EXPECT_EQ(a.end.reason, Reason::length);
      EXPECT_EQ(a.end.usage.completion, static_cast<std::int64_t>(n));
      EXPECT_EQ(a.n_begun, 0u);
    }
  });
}

// Where nothing but a call may be said, that is so from the first newline on; the conversation goes
// on without what was drawn.
TEST_F(GeneratorTest, ARequiredCallThatIsCutIsNeitherShownNorKept) {
  const std::string call = scripted_calls({scripted_call("read", {{"path", "a"}})});
  for (const bool thinking : {true, false}) {
    run({{.text = (thinking ? "hm</think>" : "") + call},
         {.text = (thinking ? "hm</think>" : "") + call}},
        [&](Generator& g) -> asio::awaitable<void> {
          Conversation c = with_tool(user("x"));
          c.thinking = thinking, c.call = Conversation::Call::some;
          c.tokens_max = (thinking ? 3 : 0) + 7;
          auto asking = ask(g, c);
          const Answered a = co_await std::move(asking);
          EXPECT_EQ(a.content, "");
          EXPECT_EQ(a.end.reason, Reason::length);
          c.messages.push_back({{"role", "assistant"}, {"content", ""}});
          c.messages.push_back({{"role", "user"}, {"content", "And?"}});
          auto going_on = ask(g, c);
          co_await std::move(going_on);
        });
    ASSERT_EQ(prompts.size(), 2u);
    const std::string answered = thinking ? "hm</think>" : "</think>";
    EXPECT_NE(prompts[1].find("<｜Assistant｜>" + std::string(thinking ? "<think>" : "") +
                              answered + "<｜end▁of▁sentence｜><｜User｜>And?"),
              std::string::npos)
        << prompts[1];
  }
}

TEST_F(GeneratorTest, AnAnswerThatWasCutIsGoneOnFromInItsTokens) {
  n_chunk = 1024;
  run({{.text = "I think.</think>Über alles"}, {.text = "</think>x"}},
      [](Generator& g) -> asio::awaitable<void> {
        Conversation c = with_tool(user("x"));
        c.tokens_max = 15;
        auto asking = ask(g, c);
        const Answered a = co_await std::move(asking);
        EXPECT_EQ(a.content, "Über ");
        // Without its reasoning, which only who sampled it knows
        c.messages.push_back({{"role", "assistant"}, {"content", a.content}});
        c.messages.push_back({{"role", "user"}, {"content", "And?"}});
        auto going_on = ask(g, c);
        const Answered b = co_await std::move(going_on);
        EXPECT_EQ(b.end.usage.cached, a.end.usage.prompt + 14);
      });
}

TEST_F(GeneratorTest, WhoHangsUpStopsTheDecodeAndFindsThePromptAgain) {
  n_chunk = 1024;
  std::stop_source stop;
  std::int64_t n_drawn = 0;
  Play play{.text = "x", .open_ended = true};
  play.before_token = [&](std::int64_t at) {
    n_drawn = at;
    if (at == 20) stop.request_stop();
  };
  run({play, {.text = "Done."}}, [&](Generator& g) -> asio::awaitable<void> {
    Conversation c = user(std::string(2000, 'x'));
    c.thinking = false;
    auto asking = ask(g, c, stop.get_token());
    const Answered a = co_await std::move(asking);
    EXPECT_EQ(a.end.reason, Reason::cancelled);
    EXPECT_LE(n_drawn, 21);
    auto again = ask(g, c);
    const Answered b = co_await std::move(again);
    EXPECT_EQ(b.content, "Done.");
    EXPECT_EQ(b.end.usage.cached, (b.end.usage.prompt - 1) / 128 * 128);
  });
}

TEST_F(GeneratorTest, AnInterruptedPromptGoesOnWhereItWas) {
  n_chunk = 1024;
  std::stop_source stop;
  before_chunk = [&](std::int64_t end) {
    if (end == 3072) stop.request_stop();
  };
  run({{.text = "Done."}}, [&](Generator& g) -> asio::awaitable<void> {
    Conversation c = user(std::string(5000, 'x'));
    c.thinking = false;
    auto asking = ask(g, c, stop.get_token());
    const Answered a = co_await std::move(asking);
    EXPECT_EQ(a.end.reason, Reason::cancelled);
    auto again = ask(g, c);
    const Answered b = co_await std::move(again);
    EXPECT_EQ(b.end.reason, Reason::stop);
    EXPECT_EQ(b.end.usage.cached, 2048);
  });
}

TEST_F(GeneratorTest, ConversationsShareTheirInstructions) {
  n_chunk = 1024;
  run({{.text = "a"}, {.text = "b"}, {.text = "c"}}, [](Generator& g) -> asio::awaitable<void> {
    const auto conversation = [](const std::string& text) {
      Conversation c;
      c.thinking = false;
      c.messages.push_back({{"role", "system"}, {"content", std::string(1500, 's')}});
      c.messages.push_back({{"role", "user"}, {"content", text}});
      return c;
    };
    auto one = ask(g, conversation("one"));
    EXPECT_EQ((co_await std::move(one)).end.usage.cached, 0);
    auto two = ask(g, conversation("two" + std::string(3000, 'x') + "y"));
    EXPECT_EQ((co_await std::move(two)).end.usage.cached, 1501);  // and the beginning of the
                                                                  // sentence
    // What two have in common beyond that is found with the second, and of use from the third on.
    auto three = ask(g, conversation("two" + std::string(3000, 'x') + "z"));
    EXPECT_GE((co_await std::move(three)).end.usage.cached, 1501);
    auto four = ask(g, conversation("two" + std::string(3000, 'x') + "w"));
    const Answered a = co_await std::move(four);
    EXPECT_TRUE(a.end.reason == Reason::failed) << "the script has three answers";
    EXPECT_EQ(a.end.usage.cached, 4480);  // 35 * 128 of 4505
  });
}

TEST_F(GeneratorTest, AFailureOfTheEngineIsSaid) {
  run({{.text = "abcdef", .fail_at = 3}, {.text = "x", .fail_sync = 0}},
      [](Generator& g) -> asio::awaitable<void> {
        Conversation c = user("x");
        c.thinking = false;
        auto asking = ask(g, c);
        const Answered a = co_await std::move(asking);
        EXPECT_EQ(a.content, "abc");
        EXPECT_EQ(a.end.reason, Reason::failed);
        EXPECT_EQ(a.end.what, "the script fails here");
        auto again = ask(g, c);
        EXPECT_EQ((co_await std::move(again)).end.reason, Reason::failed);
      });
}

// As one that finds too many waiting: it may ask again.
TEST_F(GeneratorTest, WhoHasNoMemoryIsRefusedForNow) {
  const auto no_memory = engine::Errc::no_memory;
  run({{.text = "x", .fail_sync = 0, .fails_with = no_memory},
       {.text = "abcdef", .fail_at = 3, .fails_with = no_memory},
       {.text = "abcdef", .fail_at = 3}},
      [](Generator& g) -> asio::awaitable<void> {
        Conversation c = user("x");
        c.thinking = false;
        for (const char* said : {"", "abc"}) {
          auto asking = ask(g, c);
          const Answered a = co_await std::move(asking);
          EXPECT_EQ(a.content, said);
          EXPECT_EQ(a.end.reason, Reason::failed);
          if (!a.end.refused) co_return ADD_FAILURE();
          EXPECT_EQ(a.end.refused->kind, Refusal::Kind::not_ready);
          EXPECT_NE(a.end.refused->message.find("service unavailable: the script fails here"),
                    std::string::npos)
              << a.end.refused->message;
        }
        auto broken = ask(g, c);
        EXPECT_FALSE((co_await std::move(broken)).end.refused);
      });
}

TEST_F(GeneratorTest, OneAfterTheOtherAndNoMoreThanMayWait) {
  options.running_max = 1, options.queued_max = 1;
  run({{.text = "one"}, {.text = "two"}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.thinking = false;
    auto b1 = g.begin(c, {});
    auto first = co_await std::move(b1);
    std::stop_source stop;
    auto b2 = g.begin(c, stop.get_token());
    auto second = co_await std::move(b2);
    auto b3 = g.begin(c, {});
    const auto third = co_await std::move(b3);
    if (!first || !second) co_return ADD_FAILURE();
    EXPECT_TRUE(!third && third.error().kind == Refusal::Kind::not_ready);
    EXPECT_EQ(g.counts().waiting, 1u);
    const auto io = co_await asio::this_coro::executor;
    // It begins when it is awaited
    auto waiting = asio::co_spawn(io, read(std::move(*second)), asio::use_awaitable);
    auto r1 = read(std::move(*first));
    EXPECT_EQ((co_await std::move(r1)).content, "one");
    EXPECT_EQ((co_await std::move(waiting)).content, "two");
    EXPECT_EQ(g.counts().running, 0u);
  });
}

TEST_F(GeneratorTest, OfAnEngineElsewhereNoneWaitsForAnother) {
  options.running_max = 1, apart = true;
  run({{.text = "one"}, {.text = "two"}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.thinking = false;
    const auto io = co_await asio::this_coro::executor;
    std::deque<std::unique_ptr<Generation>> begun;
    for (int i = 0; i < 2; ++i)
      asio::co_spawn(io, g.begin(c, {}), [&](std::exception_ptr, auto generation) {
        if (generation) begun.push_back(std::move(*generation));
      });
    while (begun.size() < 2) co_await asio::post(io, asio::use_awaitable);
    EXPECT_EQ(g.counts().waiting, 0u);
    if (g.counts().running != 2) co_return ADD_FAILURE();
    auto r2 = read(std::move(begun[1]));
    EXPECT_EQ((co_await std::move(r2)).content, "one") << "and the first has not begun";
    auto r1 = read(std::move(begun[0]));
    EXPECT_EQ((co_await std::move(r1)).content, "two");
  });
}

TEST_F(GeneratorTest, WhoWaitsAndHangsUpLeavesTheQueue) {
  options.running_max = 1;
  run({{.text = "one"}, {.text = "three"}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.thinking = false;
    auto b1 = g.begin(c, {});
    auto first = co_await std::move(b1);
    std::stop_source stop;
    auto b2 = g.begin(c, stop.get_token());
    auto second = co_await std::move(b2);
    if (!first || !second) co_return ADD_FAILURE();
    stop.request_stop();
    auto r2 = read(std::move(*second));
    EXPECT_EQ((co_await std::move(r2)).end.reason, Reason::cancelled);
    EXPECT_EQ(g.counts().waiting, 0u);
    auto r1 = read(std::move(*first));
    EXPECT_EQ((co_await std::move(r1)).content, "one");
    auto third = ask(g, c);
    EXPECT_EQ((co_await std::move(third)).content, "three");
  });
}

TEST_F(GeneratorTest, WhenTheDaemonEndsEveryAnswerDoes) {
  run({{.text = "x", .open_ended = true}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.thinking = false;
    auto beginning = g.begin(c, {});
    auto generation = co_await std::move(beginning);
    if (!generation) co_return ADD_FAILURE();
    auto saying = (*generation)->next();
    EXPECT_FALSE((co_await std::move(saying)).empty());
    g.end();
    auto rest = read(std::move(*generation));
    EXPECT_EQ((co_await std::move(rest)).end.reason, Reason::ending);
    auto late = ask(g, c);
    const Answered a = co_await std::move(late);
    EXPECT_TRUE(a.refusal && a.refusal->kind == Refusal::Kind::not_ready);
  });
}

TEST_F(GeneratorTest, ARequiredCallIsMade) {
  run({{.text = "hm</think>" + scripted_calls({scripted_call("read", {{"path", "a"}})})},
       {.text = "hm</think>I will not."}},
      [&](Generator& g) -> asio::awaitable<void> {
        Conversation c = with_tool(user("x"));
        c.call = Conversation::Call::named, c.call_name = "read";
        auto asking = ask(g, c);
        const Answered a = co_await std::move(asking);
        EXPECT_EQ(a.calls.size(), 1u);
        c.call_name = "write";
        auto wrong = ask(g, c);
        const Answered b = co_await std::move(wrong);
        EXPECT_TRUE(b.refusal && b.refusal->parameter == "tool_choice");
        EXPECT_EQ(engine_->n_masked(), 0);
        c.call = Conversation::Call::some, c.tokens_max = 200;
        auto unwilling = ask(g, c);
        EXPECT_EQ((co_await std::move(unwilling)).content, "");
      });
  EXPECT_GT(n_masked, 0);
}

TEST_F(GeneratorTest, ACallHasWhatItsToolDeclaresByReference) {
  run({{.text = "hm</think>" + scripted_calls({scripted_call("read", {{"input", "a"}})})}},
      [](Generator& g) -> asio::awaitable<void> {
        Conversation c = user("x");
        c.tools.push_back(Conversation::Json::parse(
            R"({"type": "function", "function": {"name": "read", "parameters": {"$ref": "#/$defs/A",
            "$defs": {"A": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}}}}})"));
        auto asking = ask(g, c);
        const Answered a = co_await std::move(asking);
        if (a.calls.size() != 1) co_return ADD_FAILURE();
        EXPECT_EQ(a.calls[0].arguments, R"({"input": "a"})");
      });
  EXPECT_EQ(n_masked, 0);
}

TEST_F(GeneratorTest, WithoutCallsToolsAreNotShown) {
  run({{.text = "hm</think>Done."}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = with_tool(user("x"));
    c.call = Conversation::Call::never;
    auto asking = ask(g, c);
    co_await std::move(asking);
  });
  EXPECT_EQ(prompts.at(0).find("## Tools"), std::string::npos);
}

TEST_F(GeneratorTest, JsonIsAskedForInThePromptAndOfTheGrammar) {
  run({{.text = "{\"a\": 1}"}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.thinking = false, c.format = Conversation::Format::json_schema,
    c.schema = {{"type", "object"}};
    auto asking = ask(g, c);
    EXPECT_EQ((co_await std::move(asking)).content, "{\"a\": 1}");
  });
  EXPECT_NE(prompts.at(0).find("## Response Format:\n\nYou MUST strictly adhere to the following "
                               "schema to reply:\n{\"type\": \"object\"}"),
            std::string::npos)
      << prompts.at(0);
}

TEST_F(GeneratorTest, ASchemaIsObeyed) {
  const Json schema = Json::parse(
      R"({"type":"object","properties":{"a":{"type":"array","items":{"enum":["x","y"]},"minItems":2,"maxItems":2}},"required":["a"]})");
  run({{.text = "{\"b\": 1, [\"y\", 2]"}, {.text = ", \"z\"] it is"}},
      [&](Generator& g) -> asio::awaitable<void> {
        Conversation c = user("x");
        c.thinking = false, c.format = Conversation::Format::json_schema, c.schema = schema,
        c.enforced = *engine::compile_schema(schema);
        auto asking = ask(g, c);
        const Answered a = co_await std::move(asking);
        const Json said = Json::parse(a.content, nullptr, /*allow_exceptions=*/false);
        if (said.is_discarded() || !said.contains("a") || said["a"].size() != 2)
          co_return ADD_FAILURE() << a.content;
        EXPECT_EQ(a.end.reason, Reason::stop);
        // A beginning that a client wrote is gone on with.
        c.messages.push_back({{"role", "assistant"}, {"content", "{ \"a\" : [\"y\""}});
        c.continues_last = true;
        auto more = ask(g, c);
        const Answered b = co_await std::move(more);
        const Json whole = Json::parse("{ \"a\" : [\"y\"" + b.content, nullptr,
                                       /*allow_exceptions=*/false);
        EXPECT_TRUE(whole.is_object() && whole.contains("a") && whole["a"].size() == 2 &&
                    whole["a"][0] == "y")
            << b.content;
      });
}

TEST_F(GeneratorTest, AnAnswerGoesOnWhereTheClientBeganIt) {
  run({{.text = "\n2\n"}, {.text = " more</think>3"}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("Count.");
    c.messages.push_back({{"role", "assistant"}, {"content", "1"}, {"reasoning_content", "hm"}});
    c.continues_last = true;
    auto asking = ask(g, c);
    const Answered a = co_await std::move(asking);
    EXPECT_EQ(a.content, "\n2\n");
    EXPECT_EQ(a.reasoning, "");
    EXPECT_EQ(a.end.usage.completion, 4);
    c.messages.back()["content"] = "";
    auto thinking = ask(g, c);
    const Answered b = co_await std::move(thinking);
    EXPECT_EQ(b.reasoning, " more");
    EXPECT_EQ(b.content, "3");
  });
  EXPECT_TRUE(prompts.at(0).ends_with("<｜Assistant｜><think>hm</think>1")) << prompts.at(0);
  EXPECT_TRUE(prompts.at(1).ends_with("<｜Assistant｜><think>hm")) << prompts.at(1);
}

TEST_F(GeneratorTest, BehindAMessageThatIsWholeComesAnotherOne) {
  std::int64_t n_counted = 0, n_prompt = 0;
  run({{.text = "hm</think>Done."}}, [&](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("Go on.");
    c.messages.push_back({{"role", "assistant"}, {"content", "No more steps: sum up."}});
    auto counting = g.count_tokens(c);
    n_counted = (co_await std::move(counting)).value_or(0);
    auto asking = ask(g, c);
    const Answered a = co_await std::move(asking);
    EXPECT_EQ(a.content, "Done.");
    EXPECT_EQ(a.reasoning, "hm");
    n_prompt = a.end.usage.prompt;
  });
  EXPECT_TRUE(prompts.at(0).ends_with(
      "No more steps: sum up.<｜end▁of▁sentence｜><｜User｜><｜Assistant｜><think>"))
      << prompts.at(0);
  EXPECT_EQ(n_counted, n_prompt);
}

TEST_F(GeneratorTest, TheMiddleIsFilledIn) {
  run({{.text = "\n  return a;\n"}, {.text = "x"}}, [](Generator& g) -> asio::awaitable<void> {
    auto asking = ask(g, Infill{.prefix = "int f() {", .suffix = "}", .sampling = {}, .stop = {}});
    const Answered a = co_await std::move(asking);
    EXPECT_EQ(a.content, "\n  return a;\n");
    EXPECT_EQ(a.end.reason, Reason::stop);
    auto plain = ask(g,
                     Infill{.prefix = "int f", .suffix = std::nullopt, .sampling = {}, .stop = {}});
    co_await std::move(plain);
  });
  EXPECT_EQ(prompts.at(0),
            "<｜begin▁of▁sentence｜><｜fim▁begin｜>int f() {<｜fim▁hole｜>}<｜fim▁end｜>");
  EXPECT_EQ(prompts.at(1), "<｜begin▁of▁sentence｜>int f");
}

TEST_F(GeneratorTest, SystemMessagesStandAtTheFrontOrAreTheUsers) {
  run({{.text = "x"}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c;
    c.thinking = false;
    for (const auto& [role, text] : {std::pair("developer", "a"), std::pair("system", "b"),
                                     std::pair("user", "c"), std::pair("system", "d")}) {
      c.messages.push_back({{"role", role}, {"content", text}});
    }
    auto asking = ask(g, c);
    co_await std::move(asking);
  });
  EXPECT_EQ(prompts.at(0), "<｜begin▁of▁sentence｜>a\n\nb<｜User｜>c\n\nd<｜Assistant｜></think>");
}

TEST_F(GeneratorTest, LogprobsAreOfTheContent) {
  run({{.text = "hm</think>Done."}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.n_logprobs = 2;
    auto asking = ask(g, c);
    EXPECT_EQ((co_await std::move(asking)).logprobs.size(), 5u);
  });
}

// A client bounds its answers itself; a grid of zeros is one.
TEST_F(GeneratorTest, WhatRepeatsItselfIsSaidAndWhatHasNoEndIsEnded) {
  std::string grid;
  for (int i = 0; i < 400; ++i) grid += "0, ";
  run({{.text = "hm</think>" + grid}, {.text = "hm</think>" + grid, .open_ended = true}},
      [&](Generator& g) -> asio::awaitable<void> {
        auto asking = ask(g, user("x"));
        const Answered whole = co_await std::move(asking);
        EXPECT_EQ(whole.content, grid);
        EXPECT_EQ(whole.end.reason, Reason::stop);
        auto again = ask(g, user("y"));
        const Answered endless = co_await std::move(again);
        EXPECT_EQ(endless.end.reason, Reason::length);
        EXPECT_LT(endless.content.size(), 3 * kWrittenPeriodTokensMin);
      });
}

TEST_F(GeneratorTest, AFullContextIsNotTheRequestsLimit) {
  n_context = 100;
  run({{.text = "x", .open_ended = true}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.thinking = false;
    auto asking = ask(g, c);
    const Answered a = co_await std::move(asking);
    EXPECT_EQ(a.end.reason, Reason::context);
    EXPECT_NE(a.content, "");
  });
}

// What is refused says how long a prompt may be, and one of that length is answered.
TEST_F(GeneratorTest, TheLongestPromptThatIsAnswered) {
  n_context = 1 << 14;
  run({{.text = "x", .open_ended = true}}, [](Generator& g) -> asio::awaitable<void> {
    auto counting = g.count_tokens(user(""));
    const auto n_around = co_await std::move(counting);
    const std::int64_t n_max = (1 << 14) - kClosingTokens - 1;
    const auto of = [&](std::int64_t n_tokens) {
      return user(std::string(static_cast<std::size_t>(n_tokens - n_around.value()), 'x'));
    };
    auto asking = ask(g, of(n_max + 1));
    const Answered a = co_await std::move(asking);
    const std::string says = fmt::format("{} tokens > {}, ", n_max + 1, n_max);
    EXPECT_TRUE(a.refusal && a.refusal->message.find(says) != std::string::npos)
        << (a.refusal ? a.refusal->message : "it is answered");
    auto again = ask(g, of(n_max));
    const Answered b = co_await std::move(again);
    EXPECT_FALSE(b.refusal);
    EXPECT_EQ(b.end.reason, Reason::context);
    EXPECT_GE(b.end.usage.completion, 1);
  });
}

TEST_F(GeneratorTest, WhatCannotBeAnsweredIsRefused) {
  n_context = 100;
  run({}, [](Generator& g) -> asio::awaitable<void> {
    Conversation none, twice = with_tool(with_tool(user("x"))), quoted = with_tool(user("x"));
    quoted.tools[0]["function"]["name"] = "a\"b";
    for (const Conversation& c : {none, twice, quoted}) {
      auto asking = ask(g, c);
      const Answered a = co_await std::move(asking);
      EXPECT_TRUE(a.refusal && a.refusal->kind == Refusal::Kind::invalid &&
                  !a.refusal->parameter.empty());
    }
    Conversation lost = with_tool(user("x"));
    lost.tools[0]["function"]["parameters"] = {{"$ref", "#/$defs/Args"}};
    auto losing = ask(g, lost);
    const Answered lost_it = co_await std::move(losing);
    EXPECT_TRUE(lost_it.refusal && lost_it.refusal->kind == Refusal::Kind::invalid);
    EXPECT_TRUE(lost_it.refusal &&
                lost_it.refusal->parameter == "tools[0].function.parameters.$ref");
    auto asking = ask(g, user(std::string(100, 'x')));
    const Answered a = co_await std::move(asking);
    EXPECT_TRUE(a.refusal && a.refusal->kind == Refusal::Kind::too_long);
    // Agents know it by these words, and Claude Code reads the numbers: N tokens > M.
    EXPECT_TRUE(a.refusal && a.refusal->message.find("prompt is too long: ") != std::string::npos &&
                a.refusal->message.find(" tokens > ") != std::string::npos);
    auto counting = g.count_tokens(user("x"));
    const auto n = co_await std::move(counting);
    EXPECT_TRUE(n && *n > 10);
  });
}

}  // namespace
}  // namespace lares::daemon
