// Stateless generation over a scripted model: what is said of what it draws, and how it ends.
#include <deque>

#include "daemon/turn/repetition.h"
#include "tests/daemon/completions/generator_case.h"

namespace lares::daemon {
namespace {

using Json = Conversation::Json;
using Reason = GenerationEnd::Reason;
using test::Answered;
class GeneratorTest : public test::GeneratorCase {};

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

}  // namespace
}  // namespace lares::daemon
