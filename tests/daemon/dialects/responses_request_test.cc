// What Responses requests mean: each row a request's fields and the part of the conversation they
// become.
#include <gtest/gtest.h>

#include "daemon/dialects/responses_request.h"
#include "daemon/dialects/thoughts.h"
#include "tests/daemon/dialects/request_cases.h"

namespace lares::daemon {
namespace {

using namespace test;

tl::expected<ResponsesRequest, WireError> read(const std::string& fields) {
  return read_responses_request(parsed(fields), {});
}
Conversation conversation(const std::string& fields) { return conversation_of(read, fields); }

class ResponsesMean : public testing::TestWithParam<Meaning> {};

TEST_P(ResponsesMean, TheConversation) {
  EXPECT_EQ(conversation(GetParam().request).messages.dump(), parsed(GetParam().messages).dump());
}

const Meaning kRows[] = {
    {"a string", R"({"input":"hi"})", R"([{"role":"user","content":"hi"}])"},
    {"a message as sdks write it",
     R"({"instructions":"be brief","input":[{"role":"user","content":"hi"}]})",
     R"([{"role":"system","content":"be brief"},{"role":"user","content":"hi"}])"},
    {"codex's beginning: two developer messages are the system's, the environment is the user's",
     R"({"input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"You are Codex."}]},{"type":"message","role":"developer","content":[{"type":"input_text","text":"<permissions>"}]},{"type":"message","role":"user","content":[{"type":"input_text","text":"<environment_context>"}]},{"type":"message","role":"user","content":[{"type":"input_text","text":"go"}]}]})",
     R"([{"role":"system","content":"You are Codex.\n\n<permissions>"},{"role":"user","content":"<environment_context>"},{"role":"user","content":"go"}])"},
    {"a developer message later is told in the user's turn",
     R"({"input":[{"role":"user","content":"x"},{"role":"developer","content":"mind the gap"}]})",
     R"([{"role":"user","content":"x"},{"role":"user","content":"mind the gap"}])"},
    {"a tool turn as codex sends it back",
     R"({"input":[{"role":"user","content":"x"},{"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"I run."}],"encrypted_content":"foreign"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Running."}]},{"type":"function_call","id":"fc_1","name":"exec_command","arguments":"{\"cmd\": \"ls\"}","call_id":"call_1","status":"completed"},{"type":"function_call_output","call_id":"call_1","output":"a.txt"}]})",
     R"([{"role":"user","content":"x"},{"role":"assistant","content":"Running.","reasoning_content":"I run.","tool_calls":[{"id":"call_1","type":"function","function":{"name":"exec_command","arguments":"{\"cmd\": \"ls\"}"}}]},{"role":"tool","tool_call_id":"call_1","content":"a.txt"}])"},
    {"a custom tool and its output",
     R"({"input":[{"role":"user","content":"x"},{"type":"custom_tool_call","call_id":"c","name":"apply_patch","input":"*** Begin\n"},{"type":"custom_tool_call_output","call_id":"c","output":"ok"}]})",
     R"([{"role":"user","content":"x"},{"role":"assistant","content":"","tool_calls":[{"id":"c","type":"function","function":{"name":"apply_patch","arguments":"{\"input\":\"*** Begin\\n\"}"}}]},{"role":"tool","tool_call_id":"c","content":"ok"}])"},
    {"a call in a namespace, its output in parts",
     R"({"input":[{"role":"user","content":"x"},{"type":"function_call","call_id":"c","namespace":"mcp__so","name":"probe_echo","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"one"},{"type":"input_image","image_url":"data:"}]}]})",
     R"([{"role":"user","content":"x"},{"role":"assistant","content":"","tool_calls":[{"id":"c","type":"function","function":{"name":"mcp__so__probe_echo","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"one\n\n[Unsupported image]"}])"},
    {"items of others",
     R"({"input":[{"type":"web_search_call","id":"ws"},{"type":"new_thing"},{"role":"user","content":"x"}]})",
     R"([{"role":"user","content":"x"}])"},
    {"parallel calls are one turn",
     R"({"input":[{"role":"user","content":"x"},{"type":"function_call","call_id":"a","name":"f","arguments":""},{"type":"function_call","call_id":"b","name":"f","arguments":"[1]"},{"type":"function_call_output","call_id":"a","output":"1"},{"type":"function_call_output","call_id":"b","output":"2"}]})", R"([{"role":"user","content":"x"},{"role":"assistant","content":"","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"b","type":"function","function":{"name":"f","arguments":"{\"arguments\":\"[1]\"}"}}]},{"role":"tool","tool_call_id":"a","content":"1"},{"role":"tool","tool_call_id":"b","content":"2"}])"},
    {"a refusal is what was said",
     R"({"input":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]},{"role":"user","content":"y"}]})",
     R"([{"role":"user","content":"x"},{"role":"assistant","content":"no"},{"role":"user","content":"y"}])"},
};
INSTANTIATE_TEST_SUITE_P(, ResponsesMean, testing::ValuesIn(kRows));

// The AI SDK sends back nothing of a thought but the handle.
TEST(ResponsesRequest, ASealedThoughtIsTheThought) {
  WireJson body = {{"input", WireJson::array()}};
  body["input"].push_back({{"role", "user"}, {"content", "x"}});
  body["input"].push_back({{"type", "reasoning"},
                           {"summary", WireJson::array()},
                           {"encrypted_content", sealed_thought("to the letter\n")}});
  body["input"].push_back({{"role", "assistant"}, {"content", "a"}});
  body["input"].push_back({{"role", "user"}, {"content", "y"}});
  const auto request = read_responses_request(body, {});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->conversation.messages[1]["reasoning_content"], "to the letter\n");
}

TEST(ResponsesRequest, ArgumentsTooDeepToWalkStayText) {
  const std::string deep = "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  const WireJson call = {
      {"type", "function_call"}, {"call_id", "c"}, {"name", "f"}, {"arguments", deep}};
  const WireJson output = {{"type", "function_call_output"}, {"call_id", "c"}, {"output", ""}};
  const WireJson body = {{"input", WireJson::array({call, output})}};
  const auto request = read_responses_request(body, {});
  ASSERT_TRUE(request);
  const auto& arguments = request->conversation
                              .messages[0]["tool_calls"][0]["function"]["arguments"]
                              .get_ref<const std::string&>();
  EXPECT_EQ(WireJson::parse(arguments)["arguments"], deep);
}

constexpr const char* kCodexTools = R"("tools":[
  {"type":"function","name":"exec_command","description":"runs","strict":false,"parameters":{"type":"object","properties":{"cmd":{"type":"string"}}}},
  {"type":"namespace","name":"multi_agent_v1","description":"Agents.","tools":[{"type":"function","name":"spawn","description":"starts one","parameters":{"type":"object"}},{"type":"function","name":"wait","parameters":{"type":"object"}}]},
  {"type":"custom","name":"apply_patch","description":"patches","format":{"type":"grammar","syntax":"lark","definition":"start: begin"}},
  {"type":"custom","name":"note"},
  {"type":"function","name":"sure","strict":true,"parameters":null},
  {"type":"web_search","external_web_access":false},{"type":"image_generation"}],"input":"x")";

TEST(ResponsesRequest, ToolsAsFunctions) {
  const auto request = read(std::string("{") + kCodexTools + "}");
  ASSERT_TRUE(request);
  const Conversation& c = request->conversation;
  std::vector<std::string> names;
  for (const auto& tool : c.tools) names.push_back(tool["function"]["name"]);
  EXPECT_EQ(names,
            (std::vector<std::string>{"exec_command", "multi_agent_v1__spawn",
                                      "multi_agent_v1__wait", "apply_patch", "note", "sure"}));
  EXPECT_EQ(
      c.tools[0].dump(),
      R"({"type":"function","function":{"name":"exec_command","description":"runs","parameters":{"type":"object","properties":{"cmd":{"type":"string"}}}}})");
  EXPECT_EQ(c.tools[1]["function"]["description"], "Agents.\n\nstarts one");
  EXPECT_EQ(c.tools[2]["function"]["description"], "");
  EXPECT_EQ(
      c.tools[3]["function"]["parameters"].dump(),
      R"({"type":"object","properties":{"input":{"type":"string","description":"The tool's whole input, as plain text. It follows this grammar (lark):\nstart: begin"}},"required":["input"],"additionalProperties":false})");
  EXPECT_EQ(
      c.tools[5]["function"].dump(),
      R"({"name":"sure","description":"","parameters":{"type":"object","properties":{}},"strict":true})");
  EXPECT_TRUE(request->tools.at("apply_patch").custom);
  EXPECT_EQ(request->tools.at("multi_agent_v1__spawn").space, "multi_agent_v1");
  EXPECT_EQ(request->tools.at("multi_agent_v1__spawn").name, "spawn");
}

TEST(ResponsesRequest, ToolChoice) {
  using Call = Conversation::Call;
  const auto call = [](const char* choice) {
    return conversation(std::string(R"({"tool_choice":)") + choice + "," + kCodexTools + "}");
  };
  EXPECT_EQ(call(R"("auto")").call, Call::as_it_likes);
  EXPECT_EQ(call(R"("none")").call, Call::never);
  EXPECT_EQ(call(R"("required")").call, Call::some);
  EXPECT_EQ(call(R"({"type":"function","name":"exec_command"})").call_name, "exec_command");
  EXPECT_EQ(call(R"({"type":"custom","name":"apply_patch"})").call, Call::named);
  EXPECT_EQ(call(R"({"type":"function","namespace":"multi_agent_v1","name":"wait"})").call_name,
            "multi_agent_v1__wait");
  EXPECT_EQ(call(R"({"type":"allowed_tools","mode":"required","tools":[]})").call, Call::some);
  EXPECT_EQ(call(R"({"type":"web_search"})").call, Call::as_it_likes);
  EXPECT_TRUE(read(R"({"input":"x","tools":[{"type":"web_search"}],"tool_choice":"none"})"));
  EXPECT_TRUE(read(R"({"input":"x","tools":[]})"));
}

TEST(ResponsesRequest, AFormatAndToolsAreEnforcedWhereTheyAreStrict) {
  const auto format = [](const std::string& schema, const char* strict) {
    return R"({"input":"x","text":{"format":{"type":"json_schema","name":"n","strict":)" +
           std::string(strict) + R"(,"schema":)" + schema + "}}}";
  };
  EXPECT_TRUE(conversation(format(R"({"type":"object"})", "true")).enforced);
  EXPECT_FALSE(conversation(format(R"({"type":"object"})", "false")).enforced);
  EXPECT_FALSE(conversation(format(R"({"not":{}})", "false")).enforced);
  EXPECT_EQ(read(format(R"({"not":{}})", "true")).error().parameter, "text.format.schema.not");
  const auto tools = [](const std::string& schema, const char* strict) {
    const std::string tool = R"({"type":"function","name":"f","strict":)" + std::string(strict) +
                             R"(,"parameters":)" + schema + "}";
    return R"({"input":"x","tools":[{"type":"custom","name":"c"},{"type":"namespace","name":"n","tools":[{"type":"web_search"},)" +
           tool + "]}]}";
  };
  const std::string good = R"({"type":"object","properties":{"a":{"enum":[1,2]}}})",
                    bad = R"({"type":"object","properties":{"a":{"oneOf":[]}}})";
  EXPECT_TRUE(conversation(tools(good, "true")).strict.contains("n__f"));
  EXPECT_TRUE(conversation(tools(bad, "false")).strict.empty());
  EXPECT_TRUE(conversation(tools("null", "true")).strict.contains("n__f"));
  const auto refused = read(tools(bad, "true"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().parameter, "tools[1].tools[1].parameters.properties.a.oneOf");
}

TEST(ResponsesRequest, ReasoningFormatAndLimits) {
  const auto request = read(
      R"({"model":"m","stream":true,"input":"x","reasoning":{"effort":"xhigh","summary":"auto"},"max_output_tokens":500,
    "text":{"verbosity":"low","format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object"}}}})");
  ASSERT_TRUE(request);
  EXPECT_TRUE(request->stream);
  EXPECT_TRUE(request->conversation.thinking);
  EXPECT_EQ(request->conversation.effort, "high");
  EXPECT_EQ(request->conversation.tokens_max, 500);
  EXPECT_FALSE(request->conversation.one_call);
  EXPECT_TRUE(conversation(R"({"input":"x","parallel_tool_calls":false})").one_call);
  EXPECT_EQ(request->conversation.format, Conversation::Format::json_schema);
  EXPECT_EQ(request->conversation.schema.dump(), R"({"type":"object"})");
  EXPECT_EQ(request->echo["reasoning"]["effort"], "xhigh");
  EXPECT_EQ(request->echo["store"], false);
  EXPECT_EQ(request->echo["max_output_tokens"], 500);
  EXPECT_FALSE(conversation(R"({"input":"x","reasoning":{"effort":"none"}})").thinking);
  EXPECT_TRUE(conversation(R"({"input":"x","reasoning":null})").thinking);
  EXPECT_EQ(conversation(R"({"input":"x","text":{"format":{"type":"json_object"}}})").format,
            Conversation::Format::json_object);
}

TEST(ResponsesRequest, AnAnswerThatWasCutIsGoneOnWith) {
  const Conversation c = conversation(
      R"({"input":[{"role":"user","content":"x"},{"type":"reasoning","content":[{"type":"reasoning_text","text":"so far"}]}]})");
  EXPECT_TRUE(c.continues_last);
  EXPECT_EQ(c.messages.back()["reasoning_content"], "so far");
  EXPECT_TRUE(
      conversation(
          R"({"input":[{"role":"user","content":"x"},{"type":"reasoning","content":[{"type":"reasoning_text","text":"t"}]},{"role":"assistant","content":"I"}]})")
          .continues_last);
}

TEST(ResponsesRequest, TheAssistantsWordsAloneAreAnswered) {
  const Conversation c = conversation(
      R"({"input":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"output_text","text":"NO MORE STEPS"}]}]})");
  EXPECT_FALSE(c.continues_last);
  EXPECT_EQ(c.messages.back()["content"], "NO MORE STEPS");
}

TEST(ResponsesRequest, FieldsOfOthersAreIgnored) {
  const auto request = read(
      R"({"model":"gpt-5-codex","input":"x","store":true,"include":["reasoning.encrypted_content"],"prompt_cache_key":"s","parallel_tool_calls":true,
    "client_metadata":{"a":"b"},"service_tier":"auto","user":"u","metadata":{"k":"v"},"truncation":"auto","background":true,"stream_options":{"include_obfuscation":false},
    "max_tool_calls":3,"prompt":null,"safety_identifier":"s","top_logprobs":0,"instructions":null,"previous_response_id":null,"nobody":{"sends":"this"}})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->conversation.messages.dump(), R"([{"role":"user","content":"x"}])");
  EXPECT_EQ(request->echo["store"], false) << "whatever was asked for";
  EXPECT_EQ(request->echo["metadata"]["k"], "v");
}

TEST(ResponsesRequest, WhatMakesNoSenseIsRefusedByName) {
  const Wrong rows[] = {
      {R"({})", "input"},
      {R"({"input":[]})", "input"},
      {R"({"input":{"role":"user"}})", "input"},
      {R"({"input":[{"role":"user","content":"x"},{"type":"item_reference","id":"x"}]})",
       "input[1]"},
      {R"({"input":[{"id":"rs_1"},{"role":"user","content":"x"}]})", "input[0]"},
      {R"({"input":[{"role":"wizard","content":"x"}]})", "input[0].role"},
      {R"({"input":[{"role":"user","content":5}]})", "input[0].content"},
      {R"({"input":"x","previous_response_id":"resp_1"})", "previous_response_id"},
      {R"({"input":"x","conversation":"conv_1"})", "conversation"},
      {R"({"input":"x","instructions":5})", "instructions"},
      {R"({"input":"x","reasoning":{"effort":"some"}})", "reasoning.effort"},
      {R"({"input":"x","text":{"format":{"type":"yaml"}}})", "text.format.type"},
      {R"({"input":"x","max_output_tokens":0})", "max_output_tokens"},
      {R"({"input":"x","tool_choice":"must"})", "tool_choice"},
      {R"({"input":"x","tools":[{"type":"function","function":{"name":"f"}}]})", "tools[0].name"},
      {R"({"input":"x","tools":[{"type":"namespace","name":"s","tools":[{"type":"custom"}]}]})",
       "tools[0].tools[0].name"},
      {R"({"input":"x","tools":[{"type":"web_search"}]})", "tools[0]"},
      {R"({"input":"x","tools":[{"type":"namespace","name":"s","tools":[]},{"type":"image_generation"}]})",
       "tools[1]"},
      {R"({"input":"x","parallel_tool_calls":"no"})", "parallel_tool_calls"},
      {R"({"input":[{"role":"user","content":"x"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]})",
       "input"},
  };
  expect_refused(read, rows);
}

}  // namespace
}  // namespace lares::daemon
