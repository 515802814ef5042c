// Chat Completions as clients see it: what of a request is understood, and every byte of an answer.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "daemon/dialects/chat_request.h"
#include "daemon/dialects/dialects.h"
#include "daemon/http/router.h"
#include "tests/daemon/dialects/fake_exchange.h"

namespace lares::daemon {
namespace {

using Call = Conversation::Call;
using Format = Conversation::Format;
using test::FakeExchange, test::FakeGenerations;

// ---- what is understood

ChatRequest read(const char* json, bool beta = false) {
  const auto asked = read_chat(WireJson::parse(json), {}, beta);
  EXPECT_TRUE(asked) << (asked ? "" : asked.error().message);
  return asked.value_or(ChatRequest{});
}
WireError refused(const std::string& json, bool beta = false) {
  auto asked = read_chat(WireJson::parse(json), {}, beta);
  EXPECT_FALSE(asked) << json;
  return asked ? WireError{} : asked.error();
}
// A request that says `fields` and what it has to say.
std::string with(const std::string& fields) {
  return R"({"messages": [{"role": "user", "content": "x"}], )" + fields + "}";
}

TEST(ChatRequest, LittleIsNeeded) {
  const ChatRequest r = read(R"({"messages": [{"role": "user", "content": "x"}]})");
  EXPECT_EQ(r.model, "deepseek-v4-flash");
  EXPECT_FALSE(r.stream);
  EXPECT_TRUE(r.conversation.thinking);
  EXPECT_EQ(r.conversation.effort, "");
  EXPECT_EQ(r.conversation.call, Call::as_it_likes);
  EXPECT_EQ(r.conversation.n_logprobs, -1);
}

TEST(ChatRequest, PartsAreOneText) {
  const ChatRequest r = read(R"({"messages": [
      {"role": "developer", "content": [{"type": "text", "text": "a"}]},
      {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
      {"role": "assistant", "content": null, "reasoning_content": "r", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
      {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "d"}, {"type": "image_url", "image_url": {"url": "data:,"}}]}]})");
  EXPECT_EQ(r.conversation.messages,
            WireJson::parse(
                R"([{"role": "developer", "content": "a"}, {"role": "user", "content": "b\n\nc"},
      {"role": "assistant", "content": "", "reasoning_content": "r", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
      {"role": "tool", "content": "d\n\n[Unsupported image_url]", "tool_call_id": "1"}])"));
}

TEST(ChatRequest, ArgumentsThatNoPromptCanHoldAreText) {
  const auto arguments = [](const std::string& given) {
    WireJson body = WireJson::parse(R"({"messages": [{"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]}, {"role": "tool", "tool_call_id": "1", "content": "d"}]})");
    body["messages"][1]["tool_calls"][0]["function"]["arguments"] = given;
    const auto asked = read_chat(body, {}, false);
    EXPECT_TRUE(asked);
    return asked ? asked->conversation.messages[1]["tool_calls"][0]["function"]["arguments"]
                       .get<std::string>()
                 : "";
  };
  EXPECT_EQ(arguments(R"({"a":  1})"), R"({"a":  1})");
  for (const std::string& text :
       {std::string("[1]"), std::string("{"),
        R"({"a": )" + std::string(100'000, '[') + std::string(100'000, ']') + "}"}) {
    EXPECT_EQ(WireJson::parse(arguments(text)), (WireJson{{"arguments", text}}))
        << text.substr(0, 20);
  }
}

TEST(ChatRequest, EffortsAndThinking) {
  struct Case {
    const char* fields;
    bool thinking;
    const char* effort;
  };
  for (const Case& c :
       {Case{R"("reasoning_effort": "none")", false, ""},
        Case{R"("reasoning_effort": "minimal")", true, "low"},
        Case{R"("reasoning_effort": "medium")", true, "high"},
        Case{R"("reasoning_effort": "xhigh")", true, "high"},
        Case{R"("reasoning_effort": "ultra")", true, "max"},
        Case{R"("thinking": {"type": "enabled"})", true, ""},
        Case{R"("thinking": {"type": "adaptive"}, "reasoning_effort": "low")", true, "low"},
        Case{R"("thinking": {"type": "disabled"}, "reasoning_effort": "max")", false, ""}}) {
    const ChatRequest r = read(with(c.fields).c_str());
    EXPECT_EQ(r.conversation.thinking, c.thinking) << c.fields;
    EXPECT_EQ(r.conversation.effort, c.effort) << c.fields;
  }
}

TEST(ChatRequest, ReasoningIsSampledAsItWasTrained) {
  const ChatRequest thinking = read(with(R"("temperature": 0, "top_p": 0.5, "seed": 7)").c_str());
  EXPECT_EQ(thinking.conversation.sampling.temperature, 1.0f);
  EXPECT_EQ(thinking.conversation.sampling.top_p, 1.0f);
  EXPECT_EQ(thinking.conversation.sampling.seed, 7u);
  const ChatRequest other = read(
      with(
          R"("temperature": 0, "top_p": 0.5, "presence_penalty": 1, "thinking": {"type": "disabled"})")
          .c_str());
  EXPECT_EQ(other.conversation.sampling.temperature, 0.0f);
  EXPECT_EQ(other.conversation.sampling.top_p, 0.5f);
  EXPECT_EQ(other.conversation.sampling.presence_penalty, 1.0f);
  const ChatRequest more = read(
      with(
          R"("top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1, "thinking": {"type": "disabled"})")
          .c_str());
  EXPECT_EQ(more.conversation.sampling.top_k, 40);
  EXPECT_EQ(more.conversation.sampling.min_p, 0.05f);
  EXPECT_EQ(more.conversation.sampling.repetition_penalty, 1.1f);
  EXPECT_EQ(read(with(R"("top_k": -1, "thinking": {"type": "disabled"})").c_str())
                .conversation.sampling.top_k,
            0);
}

TEST(ChatRequest, ToolsAndHowTheyAreCalled) {
  const std::string tools =
      R"("tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], )";
  EXPECT_EQ(read(with(tools + R"("tool_choice": "none")").c_str()).conversation.call, Call::never);
  EXPECT_EQ(read(with(tools + R"("tool_choice": "required")").c_str()).conversation.call,
            Call::some);
  const ChatRequest named = read(
      with(
          tools +
          R"("tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false)")
          .c_str());
  const auto allowed = [&](const std::string& mode) {
    return read(with(tools +
                     R"("tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": ")" +
                     mode + R"(", "tools": [{"type": "function", "function": {"name": "f"}}]}})")
                    .c_str())
        .conversation.call;
  };
  EXPECT_EQ(allowed("auto"), Call::as_it_likes);
  EXPECT_EQ(allowed("required"), Call::some);
  EXPECT_EQ(named.conversation.call, Call::named);
  EXPECT_EQ(named.conversation.call_name, "f");
  EXPECT_TRUE(named.conversation.one_call);
  EXPECT_EQ(
      named.conversation.tools,
      WireJson::parse(
          R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])"));
}

TEST(ChatRequest, LimitsFormatsAndStreams) {
  const ChatRequest r = read(
      with(
          R"("max_completion_tokens": 5, "stop": ["a", "b"], "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
      "logprobs": true, "top_logprobs": 3, "n": 1, "stream": true, "stream_options": {"include_usage": true}, "store": false, "metadata": {"x": 1}, "user": null)")
          .c_str());
  EXPECT_EQ(r.conversation.tokens_max, 5);
  EXPECT_EQ(r.conversation.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(r.conversation.format, Format::json_schema);
  EXPECT_EQ(r.conversation.n_logprobs, 3);
  EXPECT_TRUE(r.stream && r.with_usage);
  EXPECT_EQ(read(with(R"("response_format": {"type": "json_object"})").c_str()).conversation.format,
            Format::json_object);
  EXPECT_TRUE(
      read(
          R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "prefix": true}]})")
          .conversation.continues_last);
}

TEST(ChatRequest, WhatEndsWithTheAssistantIsAnsweredUnlessItWaitsForResults) {
  const std::string asked =
      R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y")";
  EXPECT_FALSE(read((asked + "}]}").c_str()).conversation.continues_last);
  EXPECT_FALSE(read((asked + R"(, "prefix": false, "tool_calls": []}]})").c_str())
                   .conversation.continues_last);
  const WireError waits = refused(
      asked +
      R"(, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]})");
  EXPECT_EQ(waits.parameter, "messages");
  EXPECT_NE(waits.message.find("send a tool message for each"), std::string::npos) << waits.message;
}

TEST(ChatRequest, NumbersStopsAndReasoningAsTheyAreMeant) {
  EXPECT_EQ(refused(with(R"("seed": 18446744073709551615)")).parameter, "seed");
  EXPECT_EQ(read(with(R"("seed": -1)").c_str()).conversation.sampling.seed, UINT64_MAX);
  EXPECT_TRUE(read(with(R"("stop": "")").c_str()).conversation.stop.empty());
  std::string stops = R"("stop": ["0")";
  for (int i = 1; i < 16; ++i) stops += fmt::format(R"(, "{}")", i);
  EXPECT_EQ(read(with(stops + "]").c_str()).conversation.stop.size(), kStopSequencesMax);
  EXPECT_EQ(refused(with(stops + R"(, "one more"])")).parameter, "stop");
  EXPECT_EQ(
      read(
          R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "reasoning": "r"}]})")
          .conversation.messages[1]["reasoning_content"],
      "r");
  EXPECT_EQ(refused(with(R"("max_tokens": 0, "stop": 5)")).parameter, "max_tokens")
      << "the first mistake is the one that is told";
}

TEST(ChatRequest, WhatIsWrongIsNamed) {
  for (const auto& [json, parameter] :
       {std::pair(std::string("{}"), "messages"),
        std::pair(std::string(R"({"messages": []})"), "messages"),
        std::pair(std::string(R"({"messages": [1]})"), "messages[0]"),
        std::pair(std::string(R"({"messages": [{"role": "king"}]})"), "messages[0].role"),
        std::pair(std::string(R"({"messages": [{"role": "user", "content": 1}]})"),
                  "messages[0].content"),
        std::pair(std::string(R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})"),
                  "messages[0].content"),
        std::pair(std::string(R"({"messages": [{"role": "tool", "content": "x"}]})"),
                  "messages[0].tool_call_id"),
        std::pair(std::string(R"({"messages": [{"role": "assistant", "tool_calls": [{}]}]})"),
                  "messages[0].tool_calls[0]"),
        std::pair(with(R"("max_tokens": 0)"), "max_tokens"),
        std::pair(with(R"("max_tokens": 393217)"), "max_tokens"),
        std::pair(with(R"("temperature": 3)"), "temperature"),
        std::pair(with(R"("top_p": "x")"), "top_p"),
        std::pair(with(R"("n": 2)"), "n"),
        std::pair(with(R"("top_k": -5)"), "top_k"),
        std::pair(with(R"("min_p": 5)"), "min_p"),
        std::pair(with(R"("logit_bias": {"5": 1})"), "logit_bias"),
        std::pair(with(R"("stop": [1])"), "stop"),
        std::pair(with(R"("stream": 1)"), "stream"),
        std::pair(with(R"("stream_options": 1)"), "stream_options"),
        std::pair(with(R"("tools": [{"type": "function"}])"), "tools[0]"),
        std::pair(with(R"("tool_choice": "maybe")"), "tool_choice"),
        std::pair(
            with(R"("tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}})"),
            "tool_choice"),
        std::pair(with(R"("reasoning_effort": "huge")"), "reasoning_effort"),
        std::pair(with(R"("thinking": {"type": "x"})"), "thinking.type"),
        std::pair(with(R"("response_format": {"type": "xml"})"), "response_format.type"),
        std::pair(with(R"("top_logprobs": 21, "logprobs": true)"), "top_logprobs"),
        std::pair(with(R"("top_logprobs": 2)"), "top_logprobs"),
        std::pair(with(R"("seed": 1.5)"), "seed")}) {
    const WireError error = refused(json);
    EXPECT_EQ(error.parameter, parameter) << json << ": " << error.message;
    EXPECT_EQ(error.status, 400u);
  }
}

TEST(ChatRequest, RetiredModelsSayWhatToUse) {
  const WireError error = refused(with(R"("model": "deepseek-reasoner")"));
  EXPECT_EQ(error.status, 404u);
  EXPECT_EQ(error.code, "model_not_found");
  EXPECT_NE(error.message.find("deepseek-v4-flash"), std::string::npos);
  EXPECT_EQ(read(with(R"("model": "claude-opus")").c_str()).model, "claude-opus");
}

TEST(ChatRequest, StrictToolsAreHeldToTheirRulesOnBetaAlone) {
  const auto tool = [](const std::string& schema, const char* strict) {
    return R"({"type": "function", "function": {"name": "f", "strict": )" + std::string(strict) +
           R"(, "parameters": )" + schema + "}}";
  };
  const std::string good =
      R"({"type": "object", "properties": {"minLength": {"type": "string", "enum": ["a"]}}, "required": ["minLength"], "additionalProperties": false})";
  const std::string open =
      R"({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})";
  const std::string loose =
      R"({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false})";
  const std::string bound =
      R"({"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}, "required": ["a"], "additionalProperties": false})";
  const auto asked = [&](const std::string& tools) { return with(R"("tools": [)" + tools + "]"); };
  read(asked(tool(good, "true")).c_str(), true);
  EXPECT_EQ(refused(asked(tool(open, "true")), true).parameter,
            "tools[0].function.parameters.additionalProperties");
  EXPECT_EQ(refused(asked(tool(loose, "true")), true).parameter,
            "tools[0].function.parameters.required");
  EXPECT_EQ(refused(asked(tool(bound, "true")), true).parameter,
            "tools[0].function.parameters.properties.a.minLength");
  EXPECT_EQ(refused(asked(tool(good, "true") + "," + tool(good, "false")), true).parameter,
            "tools[1].function.strict");
  read(asked(tool(bound, "false")).c_str(), true);
}

TEST(ChatRequest, ElsewhereStrictToolsAreHeldToWhatCanBeEnforced) {
  const auto asked = [](const std::string& parameters, const char* strict) {
    return with(
        R"("tools": [{"type": "function", "function": {"name": "g"}}, {"type": "function", "function": {"name": "f", "strict": )" +
        std::string(strict) + R"(, "parameters": )" + parameters + "}}]");
  };
  const std::string loose =
      R"({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}, "minItems": 1}, "b": {"type": "string"}}, "required": ["a"]})";
  const Conversation c = read(asked(loose, "true").c_str()).conversation;
  ASSERT_EQ(c.strict.size(), 1u);
  EXPECT_TRUE(c.strict.contains("f"));
  EXPECT_TRUE(read(asked(loose, "false").c_str()).conversation.strict.empty());
  EXPECT_TRUE(read(asked("null", "true").c_str()).conversation.strict.contains("f"));
  const std::string bound =
      R"({"type": "object", "properties": {"a\nb": {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 1}]}}})";
  const WireError error = refused(asked(bound, "true"));
  EXPECT_EQ(error.status, 400u);
  EXPECT_EQ(error.parameter, "tools[1].function.parameters.properties.a?b.anyOf[1].minLength");
  EXPECT_EQ(error.message,
            "read tools[1].function.parameters.properties.a?b.anyOf[1].minLength: it cannot be "
            "enforced; leave it out");
  EXPECT_EQ(refused(asked(R"({"type": "array"})", "true")).parameter,
            "tools[1].function.parameters");
  EXPECT_EQ(refused(asked("[]", "true")).parameter, "tools[1].function.parameters");
  read(asked(bound, "false").c_str());
}

TEST(ChatRequest, AFormatIsEnforcedWhereItIsStrict) {
  const auto asked = [](const std::string& schema, const char* strict) {
    return with(
        R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": )" +
        std::string(strict) + R"(, "schema": )" + schema + "}}");
  };
  EXPECT_TRUE(
      read(asked(R"({"type": "object", "properties": {"a": {"type": "string"}}})", "true").c_str())
          .conversation.enforced);
  EXPECT_FALSE(read(asked(R"({"type": "object"})", "false").c_str()).conversation.enforced);
  EXPECT_EQ(refused(asked(R"({"type": "object", "minProperties": 1})", "true")).parameter,
            "response_format.json_schema.schema.minProperties");
  read(asked(R"({"type": "object", "minProperties": 1})", "false").c_str());
}

// ---- what is answered

// What does not change from one run to the next.
std::string settled(std::string text) {
  for (const auto& [name, n_quotes] :
       {std::pair(std::string("\"id\":\"chatcmpl-"), 1),
        std::pair(std::string("\"id\":\"cmpl-"), 1), std::pair(std::string("\"created\":"), 0)}) {
    for (std::size_t at = text.find(name); at != std::string::npos;
         at = text.find(name, at + name.size())) {
      const std::size_t begin = at + name.size();
      text.erase(begin, text.find_first_of(n_quotes ? "\"" : ",", begin) - begin)
          .insert(begin, 1, '0');
    }
  }
  return text;
}

class ChatTest : public ::testing::Test {
 protected:
  std::unique_ptr<FakeExchange> ask(const char* method, const char* path, std::string body = "",
                                    int writes_max = 1 << 30, HttpHeaders headers = {}) {
    const auto add_all = [](Router& router, Generations& all) {
      add_chat(router, all), add_models(router, all), add_text_completions(router, all);
      add_tokenize(router, all);
    };
    return test::ask(add_all, generations, method, path, std::move(body), writes_max,
                     std::move(headers));
  }
  std::string stream(const std::string& fields) {
    const auto ex = ask("POST", "/v1/chat/completions",
                        with("\"stream\": true, \"model\": \"m\"" + fields));
    EXPECT_EQ(ex->answer.content_type, "text/event-stream; charset=utf-8");
    EXPECT_EQ(ex->keep_alive(), ": keep-alive\n\n");
    EXPECT_TRUE(ex->ended);
    return settled(ex->answer.body);
  }
  HttpReply whole(const std::string& fields) {
    return ask("POST", "/v1/chat/completions", with("\"model\": \"m\"" + fields))->answer;
  }
  void says_and_calls() {
    generations.script.steps = {
        {ReasoningText{"hm"}},
        {ContentText{"I look."}, CallBegun{0, "call_1", "f"}, CallArguments{0, "{\"a\": "}},
        {CallArguments{0, "1}"}, CallDone{0, "call_1", "f", "{\"a\": 1}"}}};
    generations.script.end = {
        .reason = GenerationEnd::Reason::calls,
        .what = "",
        .usage = {.prompt = 10, .cached = 7, .completion = 5, .reasoning = 2}};
  }
  FakeGenerations generations;
};

std::string chunk(const std::string& choices, const std::string& usage = "") {
  return R"(data: {"id":"chatcmpl-0","object":"chat.completion.chunk","created":0,"model":"m","system_fingerprint":"lares_nano","choices":[)" +
         choices + "]" + usage + "}\n\n";
}
std::string delta(const std::string& fields, const std::string& finish = "null",
                  const std::string& logprobs = "null") {
  return R"({"index":0,"delta":{)" + fields + R"(},"logprobs":)" + logprobs +
         R"(,"finish_reason":)" + finish + "}";
}

TEST_F(ChatTest, EveryByteOfAStream) {
  says_and_calls();
  EXPECT_EQ(
      stream(""),
      chunk(delta(R"("role":"assistant","content":"","reasoning_content":"")")) +
          chunk(delta(R"("reasoning_content":"hm")")) + chunk(delta(R"("content":"I look.")")) +
          chunk(delta(
              R"("tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}])")) +
          chunk(delta(R"("tool_calls":[{"index":0,"function":{"arguments":"{\"a\": "}}])")) +
          chunk(delta(R"("tool_calls":[{"index":0,"function":{"arguments":"1}"}}])")) +
          chunk(delta("", "\"tool_calls\"")) + "data: [DONE]\n\n");
}

TEST_F(ChatTest, UsageComesLastWhereItIsAskedForAndIsNullBefore) {
  says_and_calls();
  generations.script.steps.resize(1);
  const std::string none = R"(,"usage":null)";
  EXPECT_EQ(
      stream(R"(, "stream_options": {"include_usage": true}, "thinking": {"type": "disabled"})"),
      chunk(delta(R"("role":"assistant","content":"")"), none) +
          chunk(delta(R"("reasoning_content":"hm")"), none) +
          chunk(delta("", "\"tool_calls\""), none) +
          chunk(
              "",
              R"(,"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":7},"completion_tokens_details":{"reasoning_tokens":2},)"
              R"("prompt_cache_hit_tokens":7,"prompt_cache_miss_tokens":3})") +
          "data: [DONE]\n\n");
}

TEST_F(ChatTest, EveryStreamEndsWithItsReasonAndDone) {
  using Reason = GenerationEnd::Reason;
  for (const auto& [reason, word] :
       {std::pair(Reason::stop, "stop"), std::pair(Reason::sequence, "stop"),
        std::pair(Reason::length, "length"), std::pair(Reason::context, "length"),
        std::pair(Reason::calls, "tool_calls"),
        std::pair(Reason::failed, "insufficient_system_resource"),
        std::pair(Reason::ending, "insufficient_system_resource"),
        std::pair(Reason::cancelled, "insufficient_system_resource")}) {
    generations.script.steps = {{ContentText{"x"}}};
    generations.script.end.reason = reason;
    const std::string text = stream("");
    EXPECT_TRUE(text.ends_with(chunk(delta("", fmt::format("\"{}\"", word))) + "data: [DONE]\n\n"))
        << text;
    const std::string code = reason == Reason::failed ? R"("code":"server_error")"
                                                      : R"("code":"overloaded")";
    EXPECT_EQ(text.find("{\"error\":{") != std::string::npos,
              word == std::string("insufficient_system_resource"))
        << text;
    EXPECT_EQ(text.find(code) != std::string::npos,
              word == std::string("insufficient_system_resource"))
        << text;
  }
}

TEST_F(ChatTest, WhoReadsNoMoreStopsTheGeneration) {
  generations.script.steps = {{ContentText{"a"}}, {ContentText{"b"}}, {ContentText{"c"}}};
  const auto ex = ask("POST", "/v1/chat/completions", with(R"("stream": true)"), /*writes_max=*/1);
  EXPECT_TRUE(generations.stop.stop_requested());
  EXPECT_EQ(ex->answer.body.find("\"b\""), std::string::npos);
}

TEST_F(ChatTest, AWholeAnswer) {
  says_and_calls();
  const HttpReply reply = whole("");
  EXPECT_EQ(reply.status, 200u);
  EXPECT_EQ(
      settled(reply.body),
      R"({"id":"chatcmpl-0","object":"chat.completion","created":0,"model":"m","system_fingerprint":"lares_nano","choices":[{"index":0,"message":{"role":"assistant","content":"I look.",)"
      R"("reasoning_content":"hm","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],)"
      R"("usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":7},"completion_tokens_details":{"reasoning_tokens":2},)"
      R"("prompt_cache_hit_tokens":7,"prompt_cache_miss_tokens":3}})");
}

TEST_F(ChatTest, LogprobsOfATokenThatIsHalfACharacter) {
  generations.script.steps = {
      {ContentText{"é", {{"\xC3", -1.5f, {{"\xC3", -1.5f}}}, {"\xA9", 0.0f, {}}}}}};
  const std::string expected =
      R"({"content":[{"token":"�","logprob":-1.5,"bytes":[195],"top_logprobs":[{"token":"�","logprob":-1.5,"bytes":[195]}]},{"token":"�","logprob":0.0,"bytes":[169],"top_logprobs":[]}]})";
  EXPECT_NE(stream(R"(, "logprobs": true, "top_logprobs": 1)")
                .find(chunk(delta(R"("content":"é")", "null", expected))),
            std::string::npos);
  EXPECT_NE(whole(R"(, "logprobs": true, "top_logprobs": 1)").body.find("\"logprobs\":" + expected),
            std::string::npos);
}

TEST_F(ChatTest, WhatIsNotAnsweredSaysWhy) {
  generations.refusal = Refusal{Refusal::Kind::too_long, "too long", "messages"};
  EXPECT_EQ(
      whole("").body,
      R"({"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}})");
  generations.refusal = Refusal{Refusal::Kind::not_ready, "later", ""};
  const HttpReply later = whole("");
  EXPECT_EQ(later.status, 503u);
  EXPECT_EQ(later.headers, (HttpHeaders{{"Retry-After", "5"}}));
  generations.refusal.reset();
  generations.script.end = {
      .reason = GenerationEnd::Reason::failed, .what = "the engine broke", .usage = {}};
  const HttpReply failed = whole("");
  EXPECT_EQ(failed.status, 500u);
  EXPECT_EQ(
      failed.body,
      R"({"error":{"message":"generate: internal error: the engine broke","type":"server_error","param":null,"code":"server_error"}})");
  for (const char* const body : {"", "[]", "{", "\"\xff\"", R"({"messages": "\ud800"})"}) {
    const auto ex = ask("POST", "/chat/completions", body);
    EXPECT_EQ(ex->answer.status, 400u) << body;
  }
}

// JavaScript cuts strings there, and the conversation would be refused ever after.
TEST_F(ChatTest, HalfACharacterIsShownAsLost) {
  const auto ex = ask("POST", "/chat/completions",
                      R"({"model": "m", "messages": [{"role": "user", "content": "a\ud83d"}]})");
  EXPECT_EQ(ex->answer.status, 200u) << ex->answer.body;
  EXPECT_EQ(generations.asked.messages[0]["content"], "a\uFFFD");
}

// Clients wait some minutes for a head, and a model may take longer to load.
TEST_F(ChatTest, AStreamBeginsWhileTheModelLoads) {
  generations.is_loading = true;
  const std::pair<const char*, std::string> doors[] = {
      {"/v1/chat/completions", with(R"("stream": true)")},
      {"/v1/completions", R"({"prompt": "x", "stream": true})"}};
  for (const auto& [path, body] : doors) {
    generations.refusal.reset();
    const auto answered = ask("POST", path, body);
    EXPECT_EQ(answered->n_begins, 2) << path;
    EXPECT_TRUE(answered->answer.body.ends_with("[DONE]\n\n")) << path;
    generations.refusal = Refusal{Refusal::Kind::failed, "generate: it is broken", ""};
    const auto refused = ask("POST", path, body);
    EXPECT_EQ(refused->answer.status, 200u) << path;
    EXPECT_NE(refused->answer.body.find(R"("message":"generate: it is broken")"), std::string::npos)
        << refused->answer.body;
    EXPECT_TRUE(refused->ended) << path;
    generations.refusal->kind = Refusal::Kind::too_long;
    EXPECT_NE(ask("POST", path, body)->answer.body.find(R"("code":"context_length_exceeded")"),
              std::string::npos)
        << path;
  }
  generations.refusal->kind = Refusal::Kind::failed;
  const auto whole = ask("POST", "/v1/chat/completions", with(R"("model": "m")"));
  EXPECT_EQ(whole->answer.status, 500u) << "who asked for no stream is told by the status";
  EXPECT_TRUE(whole->took_long) << "while it is still known: blank lines keep such a client";
}

TEST_F(ChatTest, WhoAsksForTokensWhileTheModelLoadsIsKept) {
  for (const bool loads : {false, true}) {
    generations.is_loading = loads;
    EXPECT_EQ(ask("POST", "/tokenize", R"({"prompt": "x"})")->took_long, loads);
  }
}

// Behind takes_long() the status may be lost.
TEST_F(ChatTest, WhatIsRefusedHasItsStatus) {
  const std::vector<std::pair<const char*, std::string>> doors = {
      {"/v1/chat/completions", with(R"("model": "m")")}, {"/v1/completions", R"({"prompt": "x"})"}};
  for (const auto& [path, body] : doors) {
    generations.refusal.reset();
    EXPECT_TRUE(ask("POST", path, body)->took_long) << path;
    for (const auto kind :
         {Refusal::Kind::too_long, Refusal::Kind::not_ready, Refusal::Kind::invalid}) {
      generations.refusal = Refusal{kind, "no", ""};
      EXPECT_FALSE(ask("POST", path, body)->took_long) << path;
    }
  }
}

TEST_F(ChatTest, ABodyThatIsReadIsLetGo) {
  EXPECT_EQ(ask("POST", "/v1/chat/completions", with(R"("model": "m")"))->request().body, "");
  EXPECT_EQ(ask("POST", "/v1/completions", R"({"prompt": "x"})")->request().body, "");
  EXPECT_EQ(generations.infilled.prefix, "x");
}

TEST_F(ChatTest, ABodyWithoutMeasureIsNotParsed) {
  const auto deep = ask("POST", "/chat/completions", std::string(1 << 20, '['));
  EXPECT_NE(deep->answer.body.find("nested deeper than 128"), std::string::npos)
      << deep->answer.body;
  const auto nested = [&](std::size_t n) {
    return with("\"metadata\": " + std::string(n - 1, '[') + std::string(n - 1, ']'));
  };  // n, with the body itself
  EXPECT_EQ(ask("POST", "/chat/completions", nested(kBodyDepthMax))->answer.status, 200u);
  EXPECT_EQ(ask("POST", "/chat/completions", nested(kBodyDepthMax + 1))->answer.status, 400u);
  EXPECT_NE(ask("POST", "/chat/completions", "[]")->answer.body.find("it is no JSON object"),
            std::string::npos);
  std::string wide = "{\"metadata\": {";
  for (int i = 0; i < 20'000; ++i) wide += fmt::format("\"{}\": 1, ", i);
  const auto many = ask("POST", "/chat/completions", wide + "\"x\": 1}}");
  EXPECT_NE(many->answer.body.find("more than 16384 members"), std::string::npos)
      << many->answer.body;
  std::string twice = "{\"metadata\": [";
  for (int n = 0; n < 2; ++n) {
    twice += "{\"0\": 1";
    for (std::size_t i = 1; i < kBodyMembersMax; ++i) twice += fmt::format(", \"{}\": 1", i);
    twice += n == 0 ? "}, " : "}]}";
  }
  const auto slow = ask("POST", "/chat/completions", twice);
  EXPECT_NE(slow->answer.body.find("its objects have too many members"), std::string::npos)
      << slow->answer.body;
  constexpr std::size_t kValuesMax = 1 << 22;
  const auto values = [&](std::size_t n) {  // n, and a few beside them
    std::string list = "1";
    list.reserve(2 * n);
    for (std::size_t i = 1; i < n; ++i) list += ",1";
    return ask("POST", "/chat/completions", with("\"metadata\": [" + list + "]"));
  };
  EXPECT_EQ(values(kValuesMax - 100)->answer.status, 200u);
  const auto full = values(kValuesMax);
  EXPECT_NE(full->answer.body.find("it has more than 4194304 values"), std::string::npos)
      << full->answer.body;
}

TEST_F(ChatTest, ModelsAreOneListForBothFamilies) {
  for (const char* const path : {"/v1/models", "/models", "/anthropic/v1/models"}) {
    const auto ex = ask("GET", path);
    const auto json = WireJson::parse(ex->answer.body);
    EXPECT_EQ(json["object"], "list");
    EXPECT_EQ(json["has_more"], false);
    EXPECT_EQ(json["data"][0]["id"], json["first_id"]);
    EXPECT_EQ(json["data"][1]["id"], "deepseek-v4-pro");
    EXPECT_EQ(json["data"][1]["type"], "model");
  }
  const auto any = ask("GET", "/v1/models/claude-x");
  EXPECT_EQ(WireJson::parse(any->answer.body)["id"], "claude-x");
  const auto gone = ask("GET", "/v1/models/deepseek-chat");
  EXPECT_EQ(gone->answer.status, 404u);
  EXPECT_EQ(WireJson::parse(gone->answer.body)["error"]["code"], "model_not_found");
  const auto theirs = ask("GET", "/anthropic/v1/models/deepseek-chat");
  EXPECT_EQ(WireJson::parse(theirs->answer.body)["error"]["type"], "not_found_error");
  const auto versioned = ask("GET", "/v1/models/deepseek-chat", "", /*writes_max=*/0,
                             {{"anthropic-version", "2023-06-01"}});
  EXPECT_EQ(WireJson::parse(versioned->answer.body)["error"]["type"], "not_found_error");
}

TEST_F(ChatTest, FimFillsTheMiddle) {
  generations.script.steps = {{ContentText{"b", {{"b", -1, {{"b", -1.0f}}}}}}};
  generations.script.end = {.reason = GenerationEnd::Reason::stop,
                            .what = "",
                            .usage = {.prompt = 3, .cached = 0, .completion = 2, .reasoning = 0}};
  const auto ex = ask(
      "POST", "/beta/completions",
      R"({"model": "m", "prompt": "a", "suffix": "c", "echo": true, "logprobs": 1, "stop": "x"})");
  EXPECT_EQ(generations.infilled.suffix, "c");
  EXPECT_EQ(generations.infilled.tokens_max, 4096);
  EXPECT_EQ(
      settled(ex->answer.body),
      R"({"id":"cmpl-0","object":"text_completion","created":0,"model":"m","system_fingerprint":"lares_nano","choices":[{"text":"ab","index":0,)"
      R"("logprobs":{"tokens":["b"],"token_logprobs":[-1.0],"top_logprobs":[{"b":-1.0}],"text_offset":[1]},"finish_reason":"stop"}],)"
      R"("usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0},)"
      R"("prompt_cache_hit_tokens":0,"prompt_cache_miss_tokens":3}})");
  const auto streamed = ask("POST", "/v1/completions",
                            R"({"model": "m", "prompt": "a", "stream": true})");
  const std::string head =
      R"(data: {"id":"cmpl-0","object":"text_completion","created":0,"model":"m","system_fingerprint":"lares_nano","choices":[)";
  EXPECT_EQ(settled(streamed->answer.body),
            head +
                R"({"text":"b","index":0,"logprobs":null,"finish_reason":null}]})"
                "\n\n" +
                head +
                R"({"text":"","index":0,"logprobs":null,"finish_reason":"stop"}]})"
                "\n\ndata: [DONE]\n\n");
  EXPECT_FALSE(generations.infilled.suffix);
  const auto accented = ask("POST", "/beta/completions",
                            R"({"prompt": "éé", "echo": true, "logprobs": 1})");
  EXPECT_NE(accented->answer.body.find(R"("text_offset":[2])"), std::string::npos)
      << accented->answer.body;
  const auto counted = ask(
      "POST", "/beta/completions",
      R"({"prompt": "a", "stream": true, "stream_options": {"include_usage": true}})");
  EXPECT_NE(counted->answer.body.find(R"("choices":[],"usage":{"prompt_tokens":3)"),
            std::string::npos)
      << counted->answer.body;
  generations.script.end.reason = GenerationEnd::Reason::failed;
  EXPECT_EQ(ask("POST", "/beta/completions", R"({"prompt": "a"})")->answer.status, 500u);
  const std::string cut =
      ask("POST", "/beta/completions", R"({"prompt": "a", "stream": true})")->answer.body;
  EXPECT_NE(cut.find("data: {\"error\":{"), std::string::npos) << cut;
  EXPECT_LT(cut.find("data: {\"error\":{"), cut.find("insufficient_system_resource")) << cut;
  generations.script.end.reason = GenerationEnd::Reason::cancelled;
  EXPECT_EQ(ask("POST", "/beta/completions", R"({"prompt": "a"})")->answer.status, 503u);
  for (const char* const body : {R"({"suffix": "x"})", R"({"prompt": "x", "max_tokens": 4097})",
                                 R"({"prompt": "x", "logprobs": 21})"}) {
    const auto wrong = ask("POST", "/beta/completions", body);
    EXPECT_EQ(wrong->answer.status, 400u) << body;
  }
}

}  // namespace
}  // namespace lares::daemon
