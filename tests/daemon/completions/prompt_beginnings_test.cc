// What the next request need not evaluate again, over a scripted model.
#include <stop_token>

#include "tests/daemon/completions/generator_case.h"

namespace lares::daemon {
namespace {

using Json = Conversation::Json;
using Reason = GenerationEnd::Reason;
using test::Answered;
class PromptBeginningsTest : public test::GeneratorCase {};

// A client writes the arguments its own way, and leaves the reasoning out: the prompt is the tokens
// that were, and no more are evaluated.
TEST_F(PromptBeginningsTest, ATurnThatGoesOnEvaluatesWhatIsNew) {
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

TEST_F(PromptBeginningsTest, AnAnswerThatWasCutIsGoneOnFromInItsTokens) {
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

TEST_F(PromptBeginningsTest, WhoHangsUpStopsTheDecodeAndFindsThePromptAgain) {
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

TEST_F(PromptBeginningsTest, AnInterruptedPromptGoesOnWhereItWas) {
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

TEST_F(PromptBeginningsTest, ConversationsShareTheirInstructions) {
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

}  // namespace
}  // namespace lares::daemon
