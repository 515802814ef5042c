// What a scripted model is given for a request, what its answer may be, and which are refused.
#include <fmt/format.h>

#include "daemon/turn/answer.h"
#include "tests/daemon/completions/generator_case.h"

namespace lares::daemon {
namespace {

using Json = Conversation::Json;
using Reason = GenerationEnd::Reason;
using test::Answered;
class RenderTest : public test::GeneratorCase {};

TEST_F(RenderTest, WhatAClientChangedIsWhatThePromptHas) {
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

TEST_F(RenderTest, ReasoningIsPutBackWhereItWasThoughtAndNowhereElse) {
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

TEST_F(RenderTest, ARequiredCallIsMade) {
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

TEST_F(RenderTest, ACallHasWhatItsToolDeclaresByReference) {
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

TEST_F(RenderTest, WithoutCallsToolsAreNotShown) {
  run({{.text = "hm</think>Done."}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = with_tool(user("x"));
    c.call = Conversation::Call::never;
    auto asking = ask(g, c);
    co_await std::move(asking);
  });
  EXPECT_EQ(prompts.at(0).find("## Tools"), std::string::npos);
}

TEST_F(RenderTest, JsonIsAskedForInThePromptAndOfTheGrammar) {
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

TEST_F(RenderTest, ASchemaIsObeyed) {
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

TEST_F(RenderTest, AnAnswerGoesOnWhereTheClientBeganIt) {
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

TEST_F(RenderTest, BehindAMessageThatIsWholeComesAnotherOne) {
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

TEST_F(RenderTest, TheMiddleIsFilledIn) {
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

TEST_F(RenderTest, SystemMessagesStandAtTheFrontOrAreTheUsers) {
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

TEST_F(RenderTest, AfterInstructionsAloneNobodyHasTheWord) {
  run({{.text = "x"}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c;
    c.thinking = false;
    for (const auto& [role, text] : {std::pair("system", "a"), std::pair("developer", "b")})
      c.messages.push_back({{"role", role}, {"content", text}});
    auto asking = ask(g, c);
    const Answered a = co_await std::move(asking);
    EXPECT_FALSE(a.refusal);
  });
  ASSERT_EQ(prompts.size(), 1u);
  EXPECT_EQ(prompts.at(0), "<｜begin▁of▁sentence｜>a\n\nb<｜User｜><｜Assistant｜></think>");
}

// What is refused says how long a prompt may be, and one of that length is answered.
TEST_F(RenderTest, TheLongestPromptThatIsAnswered) {
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

TEST_F(RenderTest, WhatCannotBeAnsweredIsRefused) {
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
