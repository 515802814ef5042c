#include "daemon/dialects/responses_request.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/completions/effort.h"
#include "daemon/dialects/conversation_builder.h"
#include "daemon/dialects/fields.h"
#include "daemon/dialects/strict_tools.h"
#include "daemon/dialects/thoughts.h"

namespace lares::daemon {
namespace {

constexpr std::string_view kBetweenParts = "\n\n";  // of what people said
constexpr const char* kStored[] = {"previous_response_id", "conversation"};

WireJson or_null(const WireJson* field) { return field ? *field : WireJson(); }

class ResponsesReader {
 public:
  ResponsesReader(const WireJson& body, const engine::Sampling& defaults)
      : body_(body), fields_(body) {
    out_.conversation.sampling = defaults;
  }

  tl::expected<ResponsesRequest, WireError> read() {
    for (const char* field : kStored) {
      if (field_of(body_, field))
        fields_.refuse(
            field, "left out, as no response is stored here; send the whole conversation as input");
    }
    std::optional<WireError> wrong_model;
    out_.model = read_model(fields_, wrong_model);
    if (wrong_model) return tl::unexpected(std::move(*wrong_model));
    out_.stream = fields_.flag("stream", false);
    if (const WireJson* tools = field_of(body_, "tools"); tools && tools->is_array()) {
      auto known = read_tools(*tools, out_.conversation);
      if (!known) return tl::unexpected(std::move(known.error()));
      out_.tools = std::move(*known);
    }
    tool_choice();
    hosted_tools();
    builder_.system(fields_.text("instructions").value_or(""));
    input();
    reasoning();
    format();
    sampling();
    if (fields_.error()) return tl::unexpected(*fields_.error());
    if (not_enforced_) return tl::unexpected(std::move(*not_enforced_));
    out_.conversation.messages = builder_.take();
    echo();
    return std::move(out_);
  }

 private:
  void tool_choice() {
    out_.conversation.one_call = !fields_.flag("parallel_tool_calls", true);
    const WireJson* choice = field_of(body_, "tool_choice");
    if (!choice) return;
    Conversation& c = out_.conversation;
    const std::string_view word = choice->is_string()
                                      ? std::string_view(choice->get_ref<const std::string&>())
                                      : "";
    const std::string_view type = string_field(*choice, "type");
    // Which of them is the model's to read; that one is called, ours to see to
    const bool allowed = type == "allowed_tools";
    if (word == "none") {
      c.call = Conversation::Call::never;
    } else if (word == "required" || (allowed && string_field(*choice, "mode") == "required")) {
      c.call = Conversation::Call::some;
    } else if (type == "function" || type == "custom") {
      c.call = Conversation::Call::named;
      c.call_name = flat_name(string_field(*choice, "namespace"), string_field(*choice, "name"));
    } else if (choice->is_string() && word != "auto") {
      return fields_.refuse("tool_choice", "none, auto, required or an object that names a tool");
    }
  }

  void hosted_tools() {
    const WireJson* tools = field_of(body_, "tools");
    const Conversation& c = out_.conversation;
    if (!tools || !tools->is_array() || !c.tools.empty() || c.call == Conversation::Call::never)
      return;
    for (std::size_t i = 0; i < tools->size() && !not_enforced_; ++i) {
      if (string_field((*tools)[i], "type") != "namespace")
        not_enforced_ = only_hosted(i, (*tools)[i]);
    }
  }

  void input() {
    const WireJson* input = field_of(body_, "input");
    if (input && input->is_string()) {
      builder_.user(input->get<std::string>());
    } else if (input && input->is_array() && !input->empty()) {
      for (std::size_t i = 0; i < input->size(); ++i)
        item((*input)[i], fmt::format("input[{}]", i));
    } else {
      return fields_.refuse("input", "a string or an array of at least one item");
    }
    if (builder_.empty())
      return fields_.refuse("input", "an array with an item that says something");
    if (builder_.ends_with_calls()) {
      return fields_.refuse(
          "input",
          "ended by outputs where it ends with calls: send a function_call_output for each");
    }
    // A client that tries again after a cut stream sends what it has of the answer, its reasoning
    // first: it goes on behind that. Words alone are whole, as OpenAI's API has it: agents append
    // what is meant for the model as the assistant's (opencode, when its steps are used up).
    out_.conversation.continues_last = builder_.ends_with_reasoning();
  }

  void item(const WireJson& item, const std::string& where) {
    const std::string_view type = string_field(item, "type");
    if (type == "function_call") {
      builder_.call(string_field(item, "call_id"),
                    flat_name(string_field(item, "namespace"), string_field(item, "name")),
                    string_field(item, "arguments"));
    } else if (type == "custom_tool_call") {
      builder_.call(string_field(item, "call_id"),
                    flat_name(string_field(item, "namespace"), string_field(item, "name")),
                    custom_arguments(string_field(item, "input")));
    } else if (type == "function_call_output" || type == "custom_tool_call_output") {
      const WireJson* output = field_of(item, "output");
      builder_.result(string_field(item, "call_id"), output ? text_of(*output, kBetweenParts) : "");
    } else if (type == "reasoning") {
      thought(item);
    } else if (type == "message" || (type.empty() && field_of(item, "role"))) {
      message(item, where);
    } else if (type == "item_reference" || (type.empty() && field_of(item, "id"))) {
      fields_.refuse(where,
                     "the item itself and no reference, as no response is stored here; where "
                     "a client chooses, give it store: false");
    }
  }

  void thought(const WireJson& item) {
    // What we sealed is to the letter what was sampled; what stands beside it has been through a
    // client.
    if (const auto text = unsealed_thought(string_field(item, "encrypted_content")))
      return builder_.reasoning(*text);
    if (const WireJson* content = field_of(item, "content"))
      builder_.reasoning(text_of(*content, ""));
  }

  void message(const WireJson& item, const std::string& where) {
    const std::string_view role = string_field(item, "role");
    const WireJson* field = field_of(item, "content");
    const WireJson content = field ? *field : WireJson("");
    if (!content.is_string() && !content.is_array()) {
      return fields_.refuse(where + ".content", "a string or an array of parts");
    }
    if (role == "assistant")
      builder_.content(text_of(content, ""));
    else if (role == "user")
      builder_.user(text_of(content, kBetweenParts));
    else if (role == "system" || role == "developer")
      builder_.system(text_of(content, kBetweenParts));
    else
      fields_.refuse(where + ".role", "one of user, assistant, system, developer");
  }

  void reasoning() {
    const WireJson* reasoning = field_of(body_, "reasoning");
    const std::string_view word = reasoning ? string_field(*reasoning, "effort") : "";
    if (word.empty()) return;
    const auto effort = effort_of(word);
    if (!effort) return fields_.refuse("reasoning.effort", fmt::format("one of {}", kEffortWords));
    out_.conversation.thinking = effort->thinking;
    out_.conversation.effort = effort->name;
  }

  void format() {
    const WireJson* text = field_of(body_, "text");
    const WireJson* format = text ? field_of(*text, "format") : nullptr;
    const std::string_view type = format ? string_field(*format, "type") : "text";
    Conversation& c = out_.conversation;
    if (type == "json_object") {
      c.format = Conversation::Format::json_object;
    } else if (type == "json_schema") {
      const WireJson* schema = field_of(*format, "schema");
      if (!schema || !schema->is_object()) return fields_.refuse("text.format.schema", "an object");
      c.format = Conversation::Format::json_schema;
      c.schema = *schema;
      if (!is_true(*format, "strict")) return;
      auto enforced = enforced_schema(*schema, "text.format.schema");
      if (enforced)
        c.enforced = std::move(*enforced);
      else
        not_enforced_ = std::move(enforced.error());
    } else if (type != "text") {
      fields_.refuse("text.format.type", "one of text, json_object, json_schema");
    }
  }

  void sampling() {
    Conversation& c = out_.conversation;
    read_sampling(fields_, c.thinking, c.sampling);
    c.tokens_max = std::min(
        fields_.whole("max_output_tokens", 1, INT64_MAX).value_or(kOutputTokensMax),
        kOutputTokensMax);
  }

  void echo() {
    const auto given = [&](const char* name, WireJson otherwise) {
      const WireJson* field = field_of(body_, name);
      return field ? *field : std::move(otherwise);
    };
    const WireJson* reasoning = field_of(body_, "reasoning");
    const WireJson* text = field_of(body_, "text");
    out_.echo = {{"background", false},
                 {"instructions", given("instructions", nullptr)},
                 {"max_output_tokens", given("max_output_tokens", nullptr)},
                 {"metadata", given("metadata", WireJson::object())},
                 {"parallel_tool_calls", given("parallel_tool_calls", true)},
                 {"previous_response_id", nullptr},
                 {"reasoning",
                  {{"effort", or_null(reasoning ? field_of(*reasoning, "effort") : nullptr)},
                   {"summary", nullptr}}},
                 {"store", false},
                 {"temperature", given("temperature", 1.0)},
                 {"text", text && field_of(*text, "format")
                              ? WireJson{{"format", *field_of(*text, "format")}}
                              : WireJson{{"format", {{"type", "text"}}}}},
                 {"tool_choice", given("tool_choice", "auto")},
                 // Whoever sent them has them; they are most of a request
                 {"tools", WireJson::array()},
                 {"top_p", given("top_p", 1.0)},
                 {"truncation", "disabled"}};
  }

  const WireJson& body_;
  Fields fields_;
  std::optional<WireError> not_enforced_;
  ResponsesRequest out_;
  ConversationBuilder builder_;
};

}  // namespace

tl::expected<ResponsesRequest, WireError> read_responses_request(const WireJson& body,
                                                                 const engine::Sampling& defaults) {
  return ResponsesReader(body, defaults).read();
}

}  // namespace lares::daemon
