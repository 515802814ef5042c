// What Messages requests mean: each row a request's fields and the part of the conversation they
// become.
#include <gtest/gtest.h>

#include "daemon/dialects/messages_request.h"
#include "daemon/dialects/thoughts.h"
#include "tests/daemon/dialects/request_cases.h"

namespace lares::daemon {
namespace {

using namespace test;

tl::expected<MessagesRequest, WireError> read(const std::string& fields) {
  return read_messages_request(parsed(fields), {});
}
Conversation conversation(const std::string& fields) { return conversation_of(read, fields); }

class MessagesMean : public testing::TestWithParam<Meaning> {};

TEST_P(MessagesMean, TheConversation) {
  EXPECT_EQ(conversation(GetParam().request).messages.dump(), parsed(GetParam().messages).dump());
}

const Meaning
    kRows[] =
        {
            {"text as a string", R"({"messages":[{"role":"user","content":"hi"}]})",
             R"([{"role":"user","content":"hi"}])"},
            {"text as a block with a cache mark",
             R"({"messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]})",
             R"([{"role":"user","content":"hi"}])"},
            {"two texts",
             R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})",
             R"([{"role":"user","content":"a\n\nb"}])"},
            {"system as a string",
             R"({"system":"be brief","messages":[{"role":"user","content":"hi"}]})",
             R"([{"role":"system","content":"be brief"},{"role":"user","content":"hi"}])"},
            {"claude's system: the billing line is no part of it",
             R"({"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1.330.9f5; cc_entrypoint=sdk-cli;"},{"type":"text","text":"You are Claude Code.","cache_control":{"type":"ephemeral"}},{"type":"text","text":"Be careful."}],"messages":[{"role":"user","content":"hi"}]})",
             R"([{"role":"system","content":"You are Claude Code.\n\nBe careful."},{"role":"user","content":"hi"}])"},
            {"a system message after the first user message is told in the user's turn",
             R"({"system":"s","messages":[{"role":"user","content":"hi"},{"role":"system","content":[{"type":"text","text":"Today is Thursday."}]}]})",
             R"([{"role":"system","content":"s"},{"role":"user","content":"hi"},{"role":"user","content":"Today is Thursday."}])"},
            {"a system message before everything is the system's",
             R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"}]})",
             R"([{"role":"system","content":"s"},{"role":"user","content":"hi"}])"},
            {"only instructions", R"({"messages":[{"role":"system","content":"say hi"}]})",
             R"([{"role":"system","content":"say hi"},{"role":"user","content":""}])"},
            {"a tool turn with thinking",
             R"({"messages":[{"role":"user","content":"write"},{"role":"assistant","content":[{"type":"thinking","thinking":"I write.","signature":"x"},{"type":"redacted_thinking","data":"zz"},{"type":"text","text":"Now."},{"type":"tool_use","id":"toolu_1","name":"Write","input":{"path":"a","n":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"done"},{"type":"text","text":"and?"}]}]})",
             R"([{"role":"user","content":"write"},{"role":"assistant","content":"Now.","reasoning_content":"I write.","tool_calls":[{"id":"toolu_1","type":"function","function":{"name":"Write","arguments":"{\"path\":\"a\",\"n\":1}"}}]},{"role":"tool","tool_call_id":"toolu_1","content":"done"},{"role":"user","content":"and?"}])"},
            {"two calls, results as blocks, an image among them",
             R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"R","input":{}},{"type":"tool_use","id":"b","name":"R","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"one"},{"type":"image","source":{"type":"base64","data":"AA=="}}]},{"type":"tool_result","tool_use_id":"b"}]}]})",
             R"([{"role":"user","content":"x"},{"role":"assistant","content":"","tool_calls":[{"id":"a","type":"function","function":{"name":"R","arguments":"{}"}},{"id":"b","type":"function","function":{"name":"R","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"one\n\n[Unsupported image]"},{"role":"tool","tool_call_id":"b","content":""}])"},
            {"a failed tool that does not say so", R"({"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"no such file","is_error":true},{"type":"tool_result","tool_use_id":"b","content":"<tool_use_error>x</tool_use_error>","is_error":true},{"type":"tool_result","tool_use_id":"c","is_error":true}]}]})", R"([{"role":"tool","tool_call_id":"a","content":"Error: no such file"},{"role":"tool","tool_call_id":"b","content":"<tool_use_error>x</tool_use_error>"},{"role":"tool","tool_call_id":"c","content":"Error"}])"},
            {"blocks that this model cannot read, and some it can",
             R"({"messages":[{"role":"user","content":[{"type":"image","source":{}},{"type":"document","source":{"type":"text","data":"the text"}},{"type":"document","source":{"type":"base64"}},{"type":"hologram","x":1},{"type":"search_result","content":[{"type":"text","text":"found"}]}]}]})",
             R"([{"role":"user","content":"[Unsupported image]\n\nthe text\n\n[Unsupported document]\n\n[Unsupported hologram]\n\nfound"}])"},
            {"what another server's tools did is not told twice",
             R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"server_tool_use","id":"s","name":"web_search","input":{}},{"type":"web_search_tool_result","tool_use_id":"s","content":[]},{"type":"text","text":"It rains."}]},{"role":"user","content":"y"}]})",
             R"([{"role":"user","content":"x"},{"role":"assistant","content":"It rains."},{"role":"user","content":"y"}])"},
            {"two assistant messages in a row are one turn",
             R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":""}]},{"role":"assistant","content":"a"},{"role":"user","content":"y"}]})",
             R"([{"role":"user","content":"x"},{"role":"assistant","content":"a","reasoning_content":"t"},{"role":"user","content":"y"}])"},
            {"input that is no object stays readable",
             R"({"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"R","input":"ls"}]},{"role":"user","content":"y"}]})",
             R"([{"role":"assistant","content":"","tool_calls":[{"id":"a","type":"function","function":{"name":"R","arguments":"{\"arguments\":\"\\\"ls\\\"\"}"}}]},{"role":"user","content":"y"}])"},
};
INSTANTIATE_TEST_SUITE_P(, MessagesMean, testing::ValuesIn(kRows));

// Of a call's input; a schema's are nlohmann's.
TEST(MessagesRequest, NumbersAreThoseThatWereWritten) {
  const std::string input = R"({"id":12345678901234567890123,"n":[1e400]})";
  const auto body = parse_body(
      R"({"tools":[{"name":"R","input_schema":{"type":"object","maximum":1e400}}],"messages":[)"
      R"({"role":"assistant","content":[{"type":"tool_use","id":"a","name":"R","input":)" +
      input + R"(}]},{"role":"user","content":"y"}]})");
  ASSERT_TRUE(body);
  const auto request = read_messages_request(*body, {});
  ASSERT_TRUE(request);
  const Conversation& c = request->conversation;
  EXPECT_EQ(c.messages[0]["tool_calls"][0]["function"]["arguments"], input);
  EXPECT_TRUE(c.tools[0]["function"]["parameters"]["maximum"].is_number());
}

TEST(MessagesRequest, APrefillIsGoneOnWith) {
  const Conversation c = conversation(
      R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"{"}]})");
  EXPECT_TRUE(c.continues_last);
  EXPECT_EQ(c.messages.back()["content"], "{");
  EXPECT_FALSE(conversation(R"({"messages":[{"role":"user","content":"x"}]})").continues_last);
}

TEST(MessagesRequest, WhatIsCountedMayEndAnywhere) {
  const WireJson body = parsed(
      R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"R","input":{}}]}]})");
  EXPECT_FALSE(read_messages_request(body, {}));
  const auto counted = read_messages_request(body, {}, /*to_count=*/true);
  ASSERT_TRUE(counted);
  EXPECT_FALSE(counted->conversation.continues_last);
}

struct Thinks {
  const char* fields;
  bool thinking;
  const char* effort;
};
TEST(MessagesRequest, ThinkingAndEffort) {
  const Thinks rows[] = {
      {"", true, ""},
      {R"(,"thinking":{"type":"enabled","budget_tokens":4096})", true, ""},
      {R"(,"thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"high"})",
       true, "high"},
      {R"(,"thinking":{"type":"disabled"},"output_config":{"effort":"max"})", false, ""},
      {R"(,"thinking":{"type":"disabled"})", false, ""},
      {R"(,"output_config":{"effort":"medium"})", true, "high"},
      {R"(,"output_config":{"effort":"low"})", true, "low"},
      {R"(,"output_config":{"effort":"max"})", true, "max"},
      {R"(,"output_config":{"effort":"none"})", false, ""},
  };
  for (const Thinks& row : rows) {
    const Conversation c = conversation(
        std::string(R"({"messages":[{"role":"user","content":"x"}])") + row.fields + "}");
    EXPECT_EQ(c.thinking, row.thinking) << row.fields;
    EXPECT_EQ(c.effort, row.effort) << row.fields;
  }
}

TEST(MessagesRequest, AFormatIsEnforcedAndSoAreStrictTools) {
  const auto format = [](const std::string& schema) {
    return R"({"output_config":{"format":{"type":"json_schema","schema":)" + schema +
           R"(}},"messages":[{"role":"user","content":"x"}]})";
  };
  EXPECT_TRUE(
      conversation(
          format(
              R"({"type":"object","properties":{"title":{"type":"string"}},"required":["title"],"additionalProperties":false})"))
          .enforced);
  EXPECT_EQ(read(format(R"({"type":"string","maxLength":3})")).error().parameter,
            "output_config.format.schema.maxLength");
  const auto before = read(
      R"({"output_format":{"type":"json_schema","schema":{"type":"array","contains":{}}},"messages":[{"role":"user","content":"x"}]})");
  ASSERT_FALSE(before);
  EXPECT_EQ(before.error().parameter, "output_format.schema.contains");
  const auto tool = [](const std::string& schema, const char* strict) {
    return R"({"tools":[{"type":"web_search_20250305","name":"w"},{"name":"f","strict":)" +
           std::string(strict) + R"(,"input_schema":)" + schema +
           R"(}],"messages":[{"role":"user","content":"x"}]})";
  };
  const std::string
      good =
          R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}}},"required":["a"]})",
      bad = R"({"type":"object","properties":{"a":{"type":"string","minLength":1}}})";
  EXPECT_TRUE(conversation(tool(good, "true")).strict.contains("f"));
  EXPECT_TRUE(conversation(tool(good, "false")).strict.empty());
  EXPECT_TRUE(conversation(tool(bad, "false")).strict.empty());
  const auto refused = read(tool(bad, "true"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 400u);
  EXPECT_EQ(refused.error().parameter, "tools[1].input_schema.properties.a.minLength");
  EXPECT_EQ(
      refused.error().message,
      "read tools[1].input_schema.properties.a.minLength: it cannot be enforced; leave it out");
}

TEST(MessagesRequest, LimitsAndStopsAndFormat) {
  const auto request = read(
      R"({"model":"claude-opus-4-8","stream":true,"max_tokens":32000,"thinking":{"type":"disabled"},"temperature":0.5,"top_k":40,"stop_sequences":["END","","\n\n"],
    "output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}},"messages":[{"role":"user","content":"x"}]})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->model, "claude-opus-4-8");
  EXPECT_TRUE(request->stream);
  const Conversation& c = request->conversation;
  EXPECT_EQ(c.tokens_max, 32000);
  EXPECT_EQ(c.sampling.top_k, 40);
  EXPECT_EQ(c.sampling.temperature, 0.5f);
  EXPECT_EQ(c.stop, (std::vector<std::string>{"END", "\n\n"}));
  EXPECT_EQ(c.format, Conversation::Format::json_schema);
  EXPECT_EQ(c.schema.dump(), R"({"type":"object"})");
  EXPECT_EQ(
      conversation(R"({"top_k":40,"messages":[{"role":"user","content":"x"}]})").sampling.top_k, 0)
      << "reasoning is sampled as it was trained";
  EXPECT_EQ(conversation(R"({"max_tokens":99000000,"messages":[{"role":"user","content":"x"}]})")
                .tokens_max,
            kOutputTokensMax);
  EXPECT_EQ(
      conversation(R"({"max_tokens":0,"messages":[{"role":"user","content":"x"}]})").tokens_max, 0)
      << "the prompt is to be read, and nothing said";
  EXPECT_EQ(conversation(R"({"messages":[{"role":"user","content":"x"}]})").tokens_max,
            kOutputTokensMax);
}

constexpr const char* kToolsAndUser = R"("tools":[
  {"name":"Write","description":"writes","input_schema":{"type":"object","properties":{"path":{"type":"string"}}},"cache_control":{"type":"ephemeral"},"eager_input_streaming":true},
  {"type":"custom","name":"Read","input_schema":{"type":"object"}},
  {"name":"Write","description":"again","input_schema":{}},
  {"type":"web_search_20250305","name":"web_search","max_uses":5}],"messages":[{"role":"user","content":"x"}])";

TEST(MessagesRequest, ToolsThatThisMachineRuns) {
  const Conversation c = conversation(std::string("{") + kToolsAndUser + "}");
  EXPECT_EQ(
      c.tools.dump(),
      R"([{"type":"function","function":{"name":"Write","description":"writes","parameters":{"type":"object","properties":{"path":{"type":"string"}}}}},)"
      R"({"type":"function","function":{"name":"Read","description":"","parameters":{"type":"object"}}}])");
}

// Nothing is made up where no tool may be called, and nothing is said where tokens are counted.
TEST(MessagesRequest, ToolsOfTheApisServersAloneAreHarmlessWhereNoneIsCalled) {
  WireJson body = parsed(
      R"({"tools":[{"type":"web_search_20250305","name":"w"}],"messages":[{"role":"user","content":"x"}]})");
  EXPECT_FALSE(read_messages_request(body, {}));
  EXPECT_TRUE(read_messages_request(body, {}, /*to_count=*/true));
  body["tool_choice"]["type"] = "none";
  EXPECT_TRUE(read_messages_request(body, {}));
}

TEST(MessagesRequest, ToolChoice) {
  using Call = Conversation::Call;
  const auto call = [](const char* choice) {
    return conversation(std::string(R"({"tool_choice":)") + choice + "," + kToolsAndUser + "}");
  };
  EXPECT_EQ(call(R"({"type":"auto","disable_parallel_tool_use":true})").call, Call::as_it_likes);
  EXPECT_TRUE(call(R"({"type":"auto","disable_parallel_tool_use":true})").one_call);
  EXPECT_FALSE(call(R"({"type":"auto"})").one_call);
  EXPECT_EQ(call(R"({"type":"any"})").call, Call::some);
  EXPECT_EQ(call(R"({"type":"none"})").call, Call::never);
  EXPECT_EQ(call(R"({"type":"tool","name":"Read"})").call, Call::named);
  EXPECT_EQ(call(R"({"type":"tool","name":"Read"})").call_name, "Read");
}

// Claude Code's tool search: the tool comes into `tools` with the request after the search.
constexpr const char* kSearch =
    R"({"role":"user","content":"fetch it"},{"role":"assistant","content":[{"type":"tool_use","id":"s1","name":"ToolSearch","input":{"query":"web"}}]},
  {"role":"user","content":[{"type":"tool_result","tool_use_id":"s1","content":[{"type":"tool_reference","tool_name":"WebFetch"}]}]})";
constexpr const char* kInline =
    R"({"name":"ToolSearch","input_schema":{"type":"object"}},{"name":"DeferredToolPlaceholder","defer_loading":true,"input_schema":{"type":"object"}})";
constexpr const char* kFetch =
    R"({"name":"WebFetch","description":"fetches","defer_loading":true,"input_schema":{"type":"object"}})";

TEST(MessagesRequest, ADeferredToolIsDefinedWhereItWasFound) {
  const Conversation before =
      conversation(std::string(R"({"tools":[)") + kInline +
                   R"(],"messages":[{"role":"user","content":"fetch it"}]})");
  ASSERT_EQ(before.tools.size(), 1u) << "what nothing points to cannot be called";
  const Conversation after = conversation(std::string(R"({"tools":[)") + kInline + "," + kFetch +
                                          R"(],"messages":[)" + kSearch + "]}");
  ASSERT_EQ(after.tools.size(), 2u);
  EXPECT_EQ(after.tools[0].dump(), before.tools[0].dump())
      << "the beginning of the prompt is as it was";
  EXPECT_EQ(after.tools[1]["function"]["name"], "WebFetch");
  EXPECT_EQ(after.tools[1]["defer_loading"], true);
  EXPECT_EQ(after.messages.back()["content"],
            "The tool WebFetch can be called from now on, as the others are:\n"
            R"({"name":"WebFetch","description":"fetches","parameters":{"type":"object"}})");
}

TEST(MessagesRequest, AToolIsDefinedOnceAndAnUnknownOneNamed) {
  const std::string again =
      R"(,{"role":"assistant","content":[{"type":"tool_use","id":"s2","name":"ToolSearch","input":{}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"s2","content":[{"type":"tool_reference","tool_name":"WebFetch"},{"type":"tool_reference","tool_name":"Gone"}]}]})";
  const Conversation c = conversation(std::string(R"({"tools":[)") + kInline + "," + kFetch +
                                      R"(],"messages":[)" + kSearch + again + "]}");
  EXPECT_EQ(c.messages.back()["content"],
            "The tool WebFetch is defined above.\n\nThe tool Gone is not available.");
}

// Claude Code says so of an MCP server that is connected late.
constexpr const char* kTides =
    R"({"name":"mcp__late__tides","description":"tells tides","defer_loading":true,"input_schema":{"type":"object"}})";

TEST(MessagesRequest, AToolThatIsAddedLateIsDefinedWhereItIsAdded) {
  const auto read = [](const std::string& tools, const std::string& more) {
    return conversation(R"({"tools":[)" + tools +
                        R"(],"messages":[{"role":"user","content":"when is low tide?"})" + more +
                        "]}");
  };
  const Conversation before = read(kInline, "");
  const Conversation after = read(
      std::string(kTides) + "," + kInline,
      R"(,{"role":"system","content":[{"type":"text","text":"New tools: mcp__late__tides"},)"
      R"({"type":"tool_addition","tool":{"type":"tool_reference","name":"mcp__late__tides"},"cache_control":{"type":"ephemeral"}}]})");
  ASSERT_EQ(after.tools.size(), 2u);
  EXPECT_EQ(after.tools[0]["function"]["name"], "mcp__late__tides");
  EXPECT_EQ(after.tools[0]["defer_loading"], true) << "it is no part of the catalogue";
  EXPECT_EQ(after.tools[1].dump(), before.tools[0].dump());
  EXPECT_EQ(
      after.messages.dump(),
      parsed(
          R"([{"role":"user","content":"when is low tide?"},{"role":"user","content":"New tools: mcp__late__tides"},)"
          R"({"role":"user","content":"The tool mcp__late__tides can be called from now on, as the others are:\n{\"name\":\"mcp__late__tides\",\"description\":\"tells tides\",\"parameters\":{\"type\":\"object\"}}"}])")
          .dump());
}

TEST(MessagesRequest, AToolMayComeWithItsDefinitionAndGoAndComeAgain) {
  const auto addition = [](const std::string& description) {
    return R"({"role":"system","content":[{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"clock","description":")" +
           description + R"(","input_schema":{"type":"object"}}}}]},)";
  };
  const auto change = [](const std::string& type) {
    return R"({"role":"system","content":[{"type":"tool_)" + type +
           R"(","tool":{"type":"tool_reference","name":"clock"}}]},)";
  };
  const Conversation c = conversation(
      R"({"messages":[{"role":"user","content":"a"},)" + addition("tells time") +
      change("removal") + change("addition") + addition("tells time") + addition("and dates") +
      R"({"role":"system","content":[{"type":"tool_removal","tool":{"type":"mcp_toolset_reference","server_name":"s"}}]},{"role":"user","content":"b"}]})");
  ASSERT_EQ(c.tools.size(), 1u);
  EXPECT_EQ(c.tools[0]["defer_loading"], true);
  EXPECT_EQ(c.tools[0]["function"]["description"], "and dates") << "the last one can be called";
  const auto defined = [](const std::string& description) {
    return "The tool clock can be called from now on, as the others are:\n"
           R"({"name":"clock","description":")" +
           description + R"(","parameters":{"type":"object"}})";
  };
  std::vector<std::string> said;
  for (const WireJson& message : c.messages) said.push_back(message["content"].get<std::string>());
  EXPECT_EQ(said, (std::vector<std::string>{
                      "a", defined("tells time"), "The tool clock can no longer be called.",
                      "The tool clock can be called again; it is defined above.",
                      "The tool clock is defined above.", defined("and dates"), "b"}));
}

TEST(MessagesRequest, AToolThatWasRemovedIsSaidToBeThereAgain) {
  const auto change = [](const std::string& type) {
    return R"(,{"role":"system","content":[{"type":"tool_)" + type +
           R"(","tool":{"type":"tool_reference","name":"ToolSearch"}}]})";
  };
  const Conversation c = conversation(
      std::string(R"({"tools":[)") + kInline + R"(],"messages":[{"role":"user","content":"a"})" +
      change("removal") + change("addition") + change("addition") + "]}");
  ASSERT_EQ(c.tools.size(), 1u) << "the beginning of the prompt is as it was";
  EXPECT_FALSE(c.tools[0].contains("defer_loading"));
  ASSERT_EQ(c.messages.size(), 4u);
  EXPECT_EQ(c.messages[1]["content"], "The tool ToolSearch can no longer be called.");
  EXPECT_EQ(c.messages[2]["content"],
            "The tool ToolSearch can be called again; it is defined above.");
  EXPECT_EQ(c.messages[3]["content"], "The tool ToolSearch is defined above.");
}

// A server that was there in time, and is searched for all the same.
TEST(MessagesRequest, WhatIsReferencedLeavesTheCatalogueOnlyWhereNoToolIsMarkedAsLate) {
  const std::string unmarked =
      R"({"name":"WebFetch","description":"fetches","input_schema":{"type":"object"}})";
  const auto read = [&](const std::string& others) {
    return conversation(R"({"tools":[)" + others + unmarked + R"(],"messages":[)" + kSearch + "]}");
  };
  const Conversation marked = read(std::string(kInline) + ",");
  ASSERT_EQ(marked.tools.size(), 2u);
  EXPECT_FALSE(marked.tools[1].contains("defer_loading"));
  EXPECT_EQ(marked.messages.back()["content"], "The tool WebFetch is defined above.");
  const Conversation none = read("");
  ASSERT_EQ(none.tools.size(), 1u);
  EXPECT_EQ(none.tools[0]["defer_loading"], true);
}

TEST(MessagesRequest, WithoutASearchHereDeferredToolsAreInTheCatalogue) {
  const Conversation c = conversation(
      std::string(
          R"({"tools":[{"type":"tool_search_tool_regex_20251119","name":"tool_search_tool_regex"},)") +
      kFetch + R"(],"messages":[{"role":"user","content":"x"}]})");
  ASSERT_EQ(c.tools.size(), 1u);
  EXPECT_FALSE(c.tools[0].contains("defer_loading"));
}

// Every field that the recorded clients send, and some that nobody sends.
TEST(MessagesRequest, FieldsOfOthersAreIgnored) {
  const auto request = read(
      R"({"model":"deepseek-v4-pro","max_tokens":32000,"stream":true,"metadata":{"user_id":"{\"device_id\":\"a\",\"session_id\":\"b\"}"},
    "context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},"thinking":{"type":"adaptive","display":"omitted"},
    "output_config":{"effort":"high"},"service_tier":"auto","container":null,"mcp_servers":[],"betas":["x"],"inference_geo":"eu","diagnostics":{"x":1},
    "temperature":1,"tool_choice":null,"system":null,"messages":[{"role":"user","content":"x","unknown":[1]}],"nobody":{"sends":"this"}})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->conversation.messages.dump(), R"([{"role":"user","content":"x"}])");
  EXPECT_EQ(request->conversation.effort, "high");
}

TEST(MessagesRequest, WhatMakesNoSenseIsRefusedByName) {
  const Wrong rows[] = {
      {R"({})", "messages"},
      {R"({"messages":[]})", "messages"},
      {R"({"messages":[{"role":"assistant"}]})", "messages"},
      {R"({"messages":"hi"})", "messages"},
      {R"({"messages":[{"role":"wizard","content":"x"}]})", "messages[0].role"},
      {R"({"messages":[{"role":"user","content":5}]})", "messages[0].content"},
      {R"({"messages":[7]})", "messages[0].role"},
      {R"({"system":5,"messages":[{"role":"user","content":"x"}]})", "system"},
      {R"({"max_tokens":-1,"messages":[{"role":"user","content":"x"}]})", "max_tokens"},
      {R"({"max_tokens":"many","messages":[{"role":"user","content":"x"}]})", "max_tokens"},
      {R"({"temperature":"hot","messages":[{"role":"user","content":"x"}]})", "temperature"},
      {R"({"stream":"yes","messages":[{"role":"user","content":"x"}]})", "stream"},
      {R"({"thinking":{"type":"hard"},"messages":[{"role":"user","content":"x"}]})",
       "thinking.type"},
      {R"({"output_config":{"effort":"some"},"messages":[{"role":"user","content":"x"}]})",
       "output_config.effort"},
      {R"({"tools":[{"type":"function","function":{"name":"f"}}],"messages":[{"role":"user","content":"x"}]})",
       "tools[0]"},
      {R"({"tools":[{"type":"web_search_20250305","name":"w"},{"input_schema":{}}],"messages":[{"role":"user","content":"x"}]})",
       "tools[1]"},
      {R"({"tools":[{"type":"web_search_20250305","name":"web_search"}],"messages":[{"role":"user","content":"x"}]})",
       "tools[0]"},
      {R"({"tools":[{"type":"web_search_20250305","name":"w"},{"name":"f"}],"tool_choice":{"type":"tool","name":"w"},"messages":[{"role":"user","content":"x"}]})",
       "tools[0]"},
      {R"({"tool_choice":{"type":"must"},"messages":[{"role":"user","content":"x"}]})",
       "tool_choice.type"},
      {R"({"model":"deepseek-chat","messages":[{"role":"user","content":"x"}]})", "model"},
      {R"({"stop_sequences":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"],"messages":[{"role":"user","content":"x"}]})",
       "stop_sequences"},
      {R"({"stop_sequences":[1],"messages":[{"role":"user","content":"x"}]})", "stop_sequences"},
      {R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"R","input":{}}]}]})",
       "messages"},
  };
  expect_refused(read, rows);
}

TEST(Thoughts, ComeBackAsTheyWere) {
  for (const std::string& text : {std::string("x"), std::string("ab"), std::string("abc"),
                                  std::string("日本 \n\0 end", 12), std::string(100'000, 'z')}) {
    EXPECT_EQ(unsealed_thought(sealed_thought(text)), text);
  }
  for (const char* foreign :
       {"", "gAAAAABo", "lares-sealed-a", "lares-sealed-!!!!",
        "lares-sealed-====", "lares-sealed-dGV=dA==", "other-sealed-dGV4dA=="})
    EXPECT_EQ(unsealed_thought(foreign), std::nullopt) << foreign;
  EXPECT_EQ(thought_signature("a"), thought_signature("a"));
  EXPECT_NE(thought_signature("a"), thought_signature("b"));
}

}  // namespace
}  // namespace lares::daemon
