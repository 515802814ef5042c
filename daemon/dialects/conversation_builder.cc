#include "daemon/dialects/conversation_builder.h"

#include <utility>

#include <fmt/format.h>

#include "daemon/dialects/strict_tools.h"
#include "engine/exact_json.h"

namespace lares::daemon {
namespace {

void append(WireJson& message, const char* field, std::string_view text) {
  auto& whole = message[field];
  if (whole.is_string())
    whole.get_ref<std::string&>() += text;
  else
    whole = std::string(text);
}

}  // namespace

void ConversationBuilder::system(std::string_view text) {
  if (text.empty()) return;
  if (messages_.empty()) {
    messages_.push_back({{"role", "system"}, {"content", std::string(text)}});
  } else if (messages_.size() == 1 && messages_[0]["role"] == "system") {
    append(messages_[0], "content", "\n\n");
    append(messages_[0], "content", text);
  } else {
    user(std::string(text));
  }
}

void ConversationBuilder::user(std::string text) {
  messages_.push_back({{"role", "user"}, {"content", std::move(text)}});
}

WireJson& ConversationBuilder::turn() {
  if (!ends_with_assistant()) messages_.push_back({{"role", "assistant"}, {"content", ""}});
  return messages_.back();
}

void ConversationBuilder::reasoning(std::string_view text) {
  if (!text.empty()) append(turn(), "reasoning_content", text);
}

void ConversationBuilder::content(std::string_view text) {
  if (!text.empty()) append(turn(), "content", text);
}

void ConversationBuilder::call(std::string_view id, std::string_view name,
                               std::string_view arguments) {
  auto& calls = turn()["tool_calls"];
  if (!calls.is_array()) calls = WireJson::array();
  WireJson function = {{"name", name}, {"arguments", arguments_object(arguments)}};
  calls.push_back({{"id", id}, {"type", "function"}, {"function", std::move(function)}});
}

void ConversationBuilder::result(std::string_view id, std::string text) {
  messages_.push_back({{"role", "tool"}, {"tool_call_id", id}, {"content", std::move(text)}});
}

WireJson ConversationBuilder::take() {
  // After instructions alone nobody has the word.
  if (messages_.size() == 1 && messages_[0]["role"] == "system") user("");
  return std::move(messages_);
}

bool ConversationBuilder::ends_with_assistant() const {
  return !messages_.empty() && messages_.back()["role"] == "assistant";
}

bool ConversationBuilder::ends_with_reasoning() const {
  return ends_with_assistant() && messages_.back().contains("reasoning_content");
}

bool ConversationBuilder::ends_with_calls() const {
  return ends_with_assistant() && messages_.back().contains("tool_calls");
}

std::string arguments_object(std::string_view arguments) {
  if (arguments.find_first_not_of(" \t\r\n") == std::string_view::npos) return "{}";
  // What a body may not be, a string in one may not either
  const bool usual = !too_much(arguments);
  if (usual && engine::exact_json<WireJson>(arguments).is_object()) return std::string(arguments);
  return wire_text({{"arguments", arguments}});
}

std::string unsupported(std::string_view type) {
  if (type.starts_with("input_")) type.remove_prefix(6);
  // V4's reference encoder calls them so
  return fmt::format("[Unsupported {}]", type.empty() ? "part" : type);
}

std::string text_of(const WireJson& content, std::string_view between) {
  if (content.is_string()) return content.get<std::string>();
  std::string out;
  if (!content.is_array()) return out;
  bool first = true;
  for (const WireJson& part : content) {
    if (!std::exchange(first, false)) out += between;
    if (part.is_string())
      out += part.get_ref<const std::string&>();
    else if (const WireJson* text = field_of(part, "text"); text && text->is_string())
      out += text->get_ref<const std::string&>();
    else if (const WireJson* refusal = field_of(part, "refusal"); refusal && refusal->is_string())
      out += refusal->get_ref<const std::string&>();
    else
      out += unsupported(string_field(part, "type"));
  }
  return out;
}

std::string_view string_field(const WireJson& object, std::string_view name) {
  const WireJson* field = field_of(object, name);
  return field && field->is_string() ? std::string_view(field->get_ref<const std::string&>())
                                     : std::string_view();
}

WireJson function_of(const OfferedTool& tool) {
  WireJson function = {{"name", tool.name}, {"description", tool.description}};
  if (tool.parameters && tool.parameters->is_object())
    function["parameters"] = *tool.parameters;
  else
    function["parameters"] = {{"type", "object"}, {"properties", WireJson::object()}};
  if (tool.strict) function["strict"] = true;
  return function;
}

tl::expected<bool, WireError> add_tool(Conversation& conversation, std::set<std::string>& names,
                                       OfferedTool tool) {
  if (tool.name.empty() || !names.insert(tool.name).second) return false;
  WireJson function = function_of(tool);
  if (tool.strict) {
    auto strict = enforced_parameters(function["parameters"], tool.at);
    if (!strict) return tl::unexpected(std::move(strict.error()));
    conversation.strict[tool.name] = std::move(*strict);
  }
  conversation.tools.push_back({{"type", "function"}, {"function", std::move(function)}});
  return true;
}

WireError only_hosted(std::size_t i, const WireJson& tool) {
  const std::string_view type = string_field(tool, "type"), name = string_field(tool, "name");
  return invalid(
      fmt::format("tools[{}]", i),
      fmt::format("call {}: it runs on the servers of the API that defines it, and there "
                  "are none here; send tools that the client runs, or none",
                  !type.empty()   ? type
                  : !name.empty() ? name
                                  : "a tool without a type"));
}

bool is_true(const WireJson& object, std::string_view name) {
  const WireJson* field = field_of(object, name);
  return field && *field == true;
}

}  // namespace lares::daemon
