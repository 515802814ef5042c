#include "tests/mcp/conformance_provider.h"

#include <chrono>
#include <iterator>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "mcp/server/peer.h"

namespace lares::mcp::server::test {
namespace {

constexpr std::chrono::milliseconds kPause{50};
constexpr const char* kPng =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg"
    "==";
constexpr const char* kWav = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAD//w==";

Json text_content(const std::string& text) { return {{"type", "text"}, {"text", text}}; }
Json result(Json content) {
  Json list = Json::array();
  list.push_back(std::move(content));
  return {{"content", std::move(list)}};
}
Json says(const std::string& text) { return result(text_content(text)); }

Json schema(const char* properties, const char* required) {
  return {{"type", "object"},
          {"properties", Json::parse(properties)},
          {"required", Json::parse(required)}};
}

Json elicitation(const std::string& message, Json requested) {
  return {{"mode", "form"}, {"message", message}, {"requestedSchema", std::move(requested)}};
}

Json sampling(const std::string& prompt, int max_tokens) {
  Json message = {{"role", "user"}, {"content", text_content(prompt)}};
  Json messages = Json::array();
  messages.push_back(std::move(message));
  return {{"messages", std::move(messages)}, {"maxTokens", max_tokens}};
}

// Of an answer to a sampling: one content or several.
std::string sampled(const Json& answer) {
  const Json& content = answer["content"].is_array() && !answer["content"].empty()
                            ? answer["content"][0]
                            : answer["content"];
  return content.is_object() && content.contains("text") ? content["text"].get<std::string>() : "";
}

Json json_schema_2020_12() {
  return Json::parse(
      R"({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}, "contactMethod": {"type": "string", "enum": ["phone", "email"]},
                   "phone": {"type": "string"}, "email": {"type": "string"}},
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]}, "then": {"required": ["phone"]}, "else": {"required": ["email"]},
    "additionalProperties": false})");
}

const char* const kPlainTools[] = {"test_simple_text",
                                   "test_image_content",
                                   "test_audio_content",
                                   "test_embedded_resource",
                                   "test_multiple_content_types",
                                   "test_tool_with_logging",
                                   "test_tool_with_progress",
                                   "test_error_handling",
                                   "test_elicitation_sep1034_defaults",
                                   "test_elicitation_sep1330_enums",
                                   "test_reconnection",
                                   "test_missing_capability",
                                   "test_streaming_elicitation",
                                   "test_logging_tool",
                                   "test_trigger_tool_change",
                                   "test_trigger_prompt_change",
                                   "test_input_required_result_elicitation",
                                   "test_input_required_result_sampling",
                                   "test_input_required_result_list_roots",
                                   "test_input_required_result_request_state",
                                   "test_input_required_result_multiple_inputs",
                                   "test_input_required_result_multi_round",
                                   "test_input_required_result_tampered_state",
                                   "test_input_required_result_capabilities"};

Json resource(const char* uri, const char* name, const char* mime) {
  return {{"uri", uri},
          {"name", name},
          {"description", std::string("Fixture: ") + name},
          {"mimeType", mime}};
}

}  // namespace

asio::awaitable<void> ConformanceProvider::pause() {
  asio::steady_timer timer(io_, kPause);
  co_await timer.async_wait(asio::use_awaitable);
}

Json ConformanceProvider::tools() {
  Json list = Json::array();
  const auto add = [&](const std::string& name, Json input) {
    list.push_back({{"name", name},
                    {"description", "Fixture of the conformance suite"},
                    {"inputSchema", std::move(input)}});
  };
  for (const char* name : kPlainTools) add(name, {{"type", "object"}});
  add("test_sampling", schema(R"({"prompt": {"type": "string"}})", R"(["prompt"])"));
  add("test_elicitation", schema(R"({"message": {"type": "string"}})", R"(["message"])"));
  add("test_x_mcp_header",
      schema(R"({"region": {"type": "string", "x-mcp-header": "Region"}})", R"(["region"])"));
  add("json_schema_2020_12_tool", json_schema_2020_12());
  return list;
}

asio::awaitable<Answer<>> ConformanceProvider::call_tool(Call& call, std::string name,
                                                         const Json& arguments) {
  if (name == "test_simple_text") co_return says("This is a simple text response for testing.");
  if (name == "test_image_content")
    co_return result({{"type", "image"}, {"data", kPng}, {"mimeType", "image/png"}});
  if (name == "test_audio_content")
    co_return result({{"type", "audio"}, {"data", kWav}, {"mimeType", "audio/wav"}});
  if (name == "test_embedded_resource") {
    const Json embedded = {{"uri", "test://embedded-resource"},
                           {"mimeType", "text/plain"},
                           {"text", "This is an embedded resource content."}};
    co_return result({{"type", "resource"}, {"resource", embedded}});
  }
  if (name == "test_multiple_content_types") {
    const Json embedded = {{"uri", "test://mixed-content-resource"},
                           {"mimeType", "application/json"},
                           {"text", R"({"test":"data","value":123})"}};
    Json all = says("Multiple content types test:");
    all["content"].push_back({{"type", "image"}, {"data", kPng}, {"mimeType", "image/png"}});
    all["content"].push_back({{"type", "resource"}, {"resource", embedded}});
    co_return all;
  }
  if (name == "test_error_handling") {
    Json failed = says("This tool intentionally returns an error for testing");
    failed["isError"] = true;
    co_return failed;
  }
  if (name == "test_tool_with_logging") {
    for (const char* line :
         {"Tool execution started", "Tool processing data", "Tool execution completed"}) {
      call.log("info", line);
      co_await pause();
    }
    co_return says("Logged three times.");
  }
  if (name == "test_logging_tool") {
    call.log("info", "only for who asked for it");
    co_return says("Logged, where it was asked for.");
  }
  if (name == "test_tool_with_progress") {
    for (const int done : {0, 50, 100}) {
      call.progress(done, 100, "");
      co_await pause();
    }
    co_return says("Made progress.");
  }
  if (name == "test_reconnection") {
    call.let_go();
    co_await pause();
    co_return says("Said after the connection was closed.");
  }
  if (name == "test_missing_capability") {
    if (call.can_be_asked("sampling")) co_return says("The client can sample.");
    Refusal refusal{kMissingCapability, "this tool needs a client that samples"};
    refusal.data["requiredCapabilities"]["sampling"] = Json::object();
    co_return tl::unexpected(refusal);
  }
  if (name == "test_trigger_tool_change") {
    endpoint_->tools_changed();
    co_return says("Told that the tools changed.");
  }
  if (name == "test_trigger_prompt_change") {
    endpoint_->prompts_changed();
    co_return says("Told that the prompts changed.");
  }
  if (name == "test_x_mcp_header" || name == "json_schema_2020_12_tool")
    co_return says("Called with " + arguments.dump());
  auto asking = name.starts_with("test_input_required") || name == "test_streaming_elicitation"
                    ? asks_back(call, name)
                    : asks(call, name, arguments);
  co_return co_await std::move(asking);
}

asio::awaitable<Answer<>> ConformanceProvider::asks(Call& call, const std::string& name,
                                                    const Json& arguments) {
  std::string method = "elicitation/create";
  Json params;
  if (name == "test_sampling") {
    method = "sampling/createMessage";
    params = sampling(arguments.value("prompt", ""), 100);
  } else if (name == "test_elicitation") {
    params = elicitation(
        arguments.value("message", ""),
        schema(
            R"({"username": {"type": "string", "description": "User's response"}, "email": {"type": "string", "description": "User's email address"}})",
            R"(["username", "email"])"));
  } else if (name == "test_elicitation_sep1034_defaults") {
    params = elicitation(
        "Please confirm",
        schema(
            R"({"name": {"type": "string", "default": "John Doe"}, "age": {"type": "integer", "default": 30}, "score": {"type": "number", "default": 95.5},
      "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"}, "verified": {"type": "boolean", "default": true}})",
            "[]"));
  } else if (name == "test_elicitation_sep1330_enums") {
    params = elicitation(
        "Please choose",
        schema(R"({"untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
      "titledSingle": {"type": "string", "oneOf": [{"const": "value1", "title": "First Option"}, {"const": "value2", "title": "Second Option"}, {"const": "value3", "title": "Third Option"}]},
      "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
      "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
      "titledMulti": {"type": "array", "items": {"anyOf": [{"const": "value1", "title": "First Choice"}, {"const": "value2", "title": "Second Choice"}, {"const": "value3", "title": "Third Choice"}]}}})",
               "[]"));
  } else {
    const Refusal refusal{kInvalidParams, "there is no tool " + name};
    co_return tl::unexpected(refusal);
  }
  auto asking = call.ask("question", method, std::move(params));
  const Asked asked = co_await std::move(asking);
  if (asked.how != Asked::answered) {
    Json failed = says("The client cannot be asked, or did not answer.");
    failed["isError"] = true;
    co_return failed;
  }
  if (name == "test_sampling") co_return says("LLM response: " + sampled(asked.result()));
  const std::string action = asked.result()["action"].get<std::string>(),
                    content = asked.result().contains("content") ? asked.result()["content"].dump()
                                                                 : "{}";
  co_return says(
      name == "test_elicitation"
          ? fmt::format("User response: action={}, content={}", action, content)
          : fmt::format("Elicitation completed: action={}, content={}", action, content));
}

asio::awaitable<Answer<>> ConformanceProvider::asks_back(Call& call, const std::string& name) {
  struct Question {
    std::string key, method;
    Json params;
  };
  const Question user_name{
      "user_name", "elicitation/create",
      elicitation("What is your name?", schema(R"({"name": {"type": "string"}})", R"(["name"])"))};
  const Question confirm{
      "confirm", "elicitation/create",
      elicitation("Please confirm", schema(R"({"ok": {"type": "boolean"}})", R"(["ok"])"))};
  const Question roots{"client_roots", "roots/list", Json::object()};
  const std::string what = name.starts_with("test_input_required_result_") ? name.substr(27)
                                                                           : "elicitation";
  std::vector<Question> questions;
  bool keeps = false;
  if (what == "elicitation")
    questions = {user_name};
  else if (what == "sampling")
    questions = {{"capital_question", "sampling/createMessage",
                  sampling("What is the capital of France?", 100)}};
  else if (what == "list_roots")
    questions = {roots};
  else if (what == "request_state" || what == "tampered_state")
    questions = {confirm}, keeps = true;
  else if (what == "multiple_inputs")
    questions = {user_name,
                 {"greeting", "sampling/createMessage", sampling("Generate a greeting", 50)},
                 roots},
    keeps = true;
  else if (what == "capabilities")
    questions = {user_name,
                 {"greeting", "sampling/createMessage", sampling("Generate a greeting", 50)}};
  else if (what == "multi_round") {
    const bool second = call.kept().is_object() && call.kept().value("round", 0) == 2;
    if (!second)
      questions.push_back({"step1", "elicitation/create",
                           elicitation("Step 1: What is your name?",
                                       schema(R"({"name": {"type": "string"}})", R"(["name"])"))});
    keeps = true;
  } else {
    const Refusal refusal{kInvalidParams, "there is no tool " + name};
    co_return tl::unexpected(refusal);
  }
  bool pending = false;
  std::string said;
  for (const Question& q : questions) {
    auto asking = call.ask(q.key, q.method, q.params);
    const Asked asked = co_await std::move(asking);
    pending = pending || asked.how == Asked::pending;
    if (asked.how == Asked::answered) said += asked.result().dump();
  }
  if (keeps) call.keep({{"round", 1}});
  if (pending) co_return Json::object();
  if (what == "multi_round") {
    call.keep({{"round", 2}});
    auto asking = call.ask("step2", "elicitation/create",
                           elicitation("Step 2: What is your favorite color?",
                                       schema(R"({"color": {"type": "string"}})", R"(["color"])")));
    const Asked asked = co_await std::move(asking);
    if (asked.how == Asked::answered) said += asked.result().dump();
  }
  // Who claims to have an answer must show what this was asked with.
  if (keeps && call.kept().is_null()) co_return says("An answer to no question.");
  co_return says((keeps ? "state-ok: " : "Hello, ") + said);
}

// ---- resources and prompts

Json ConformanceProvider::resources(const std::string&, std::size_t from, std::size_t n) {
  Json list = Json::array();
  list.push_back(resource("test://static-text", "Static text", "text/plain"));
  list.push_back(resource("test://static-binary", "Static binary", "image/png"));
  list.push_back(resource("test://watched-resource", "Watched", "text/plain"));
  return slice_of(std::move(list))(from, n);
}

Json ConformanceProvider::resource_templates() {
  Json list = Json::array();
  list.push_back({{"uriTemplate", "test://template/{id}/data"},
                  {"name", "Template"},
                  {"description", "Fixture: a template"},
                  {"mimeType", "application/json"}});
  return list;
}

asio::awaitable<Answer<>> ConformanceProvider::read_resource(Call&, std::string uri) {
  Json content = {{"uri", uri}, {"mimeType", "text/plain"}};
  constexpr std::string_view kBefore = "test://template/", kAfter = "/data";
  if (uri == "test://static-text")
    content["text"] = "This is the content of the static text resource.";
  else if (uri == "test://watched-resource")
    content["text"] = "Watched.";
  else if (uri == "test://static-binary")
    content["mimeType"] = "image/png", content["blob"] = kPng;
  else if (uri.starts_with(kBefore) && uri.ends_with(kAfter) &&
           uri.size() > kBefore.size() + kAfter.size()) {
    const std::string id = uri.substr(kBefore.size(), uri.size() - kBefore.size() - kAfter.size());
    const Json data = {{"id", id}, {"templateTest", true}, {"data", "Data for ID: " + id}};
    content["mimeType"] = "application/json", content["text"] = data.dump();
  } else {
    Refusal refusal{kInvalidParams, "Resource not found"};
    refusal.data["uri"] = uri;
    co_return tl::unexpected(refusal);
  }
  Json contents = Json::array();
  contents.push_back(std::move(content));
  Json read;
  read["contents"] = std::move(contents);
  co_return read;
}

Json ConformanceProvider::prompts() {
  return Json::parse(R"([
    {"name": "test_simple_prompt", "description": "Fixture: no arguments"},
    {"name": "test_prompt_with_arguments", "description": "Fixture: two arguments", "arguments": [{"name": "arg1", "description": "First", "required": true}, {"name": "arg2", "description": "Second", "required": true}]},
    {"name": "test_prompt_with_embedded_resource", "description": "Fixture: a resource", "arguments": [{"name": "resourceUri", "description": "To embed", "required": true}]},
    {"name": "test_prompt_with_image", "description": "Fixture: an image"},
    {"name": "test_input_required_result_prompt", "description": "Fixture: asks back"}])");
}

asio::awaitable<Answer<>> ConformanceProvider::get_prompt(Call& call, std::string name,
                                                          const Json& arguments) {
  Json messages = Json::array();
  const auto user = [&](Json content) {
    messages.push_back({{"role", "user"}, {"content", std::move(content)}});
  };
  if (name == "test_simple_prompt")
    user(text_content("This is a simple prompt for testing."));
  else if (name == "test_prompt_with_arguments")
    user(text_content(fmt::format("Prompt with arguments: arg1='{}', arg2='{}'",
                                  arguments.value("arg1", ""), arguments.value("arg2", ""))));
  else if (name == "test_prompt_with_embedded_resource") {
    const Json embedded = {{"uri", arguments.value("resourceUri", "")},
                           {"mimeType", "text/plain"},
                           {"text", "Embedded resource content for testing."}};
    user({{"type", "resource"}, {"resource", embedded}});
    user(text_content("Please process the embedded resource above."));
  } else if (name == "test_prompt_with_image") {
    user({{"type", "image"}, {"data", kPng}, {"mimeType", "image/png"}});
    user(text_content("Please analyze the image above."));
  } else if (name == "test_input_required_result_prompt") {
    auto asking = call.ask(
        "user_context", "elicitation/create",
        elicitation("What context should the prompt use?",
                    schema(R"({"context": {"type": "string"}})", R"(["context"])")));
    const Asked asked = co_await std::move(asking);
    user(text_content("Context: " + asked.result().dump()));
  } else {
    const Refusal refusal{kInvalidParams, "there is no prompt " + name};
    co_return tl::unexpected(refusal);
  }
  Json got;
  got["messages"] = std::move(messages);
  co_return got;
}

Answer<> ConformanceProvider::complete(const Json&, const std::string&, const std::string& value) {
  Json values = Json::array();
  for (const char* word : {"paris", "park", "party", "test"}) {
    if (std::string_view(word).starts_with(value)) values.push_back(word);
  }
  return values;
}

}  // namespace lares::mcp::server::test
