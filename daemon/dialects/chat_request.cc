#include "daemon/dialects/chat_request.h"

#include <utility>

#include <fmt/format.h>

#include "daemon/completions/effort.h"
#include "daemon/dialects/conversation_builder.h"
#include "daemon/dialects/fields.h"
#include "daemon/dialects/strict_tools.h"

namespace lares::daemon {
namespace {

using Failed = tl::unexpected<WireError>;

class ChatReader {
 public:
  ChatReader(const WireJson& body, const engine::Sampling& defaults, bool beta)
      : fields_(body), beta_(beta) {
    c_.sampling = defaults;
  }

  tl::expected<ChatRequest, WireError> read() {
    ChatRequest out;
    std::optional<WireError> wrong_model;
    out.model = read_model(fields_, wrong_model);
    if (wrong_model) return Failed(std::move(*wrong_model));
    read_messages();
    read_tools();
    read_tool_choice();
    read_thinking();
    read_sampling(fields_, c_.thinking, c_.sampling);
    read_limits();
    read_format();
    read_logprobs();
    if (const auto n = fields_.whole("n", 1, 1); !n && fields_.any("n")) fields_.refuse("n", "1");
    if (const WireJson* const bias = fields_.object("logit_bias"); bias && !bias->empty())
      fields_.refuse("logit_bias", "empty, for tokens are not weighted");
    out.stream = fields_.flag("stream", false);
    if (const WireJson* const options = fields_.object("stream_options")) {
      Fields inside(*options, "stream_options.");
      out.with_usage = inside.flag("include_usage", false);
      take(inside);
    }
    if (error_) return Failed(std::move(*error_));
    if (fields_.error()) return Failed(*fields_.error());
    out.conversation = std::move(c_);
    return out;
  }

 private:
  void take(const Fields& fields) {
    if (!error_ && fields.error()) error_ = fields.error();
  }

  void read_messages() {
    const WireJson* const messages = fields_.array("messages");
    if (!messages || messages->empty())
      return fields_.refuse("messages", "an array of at least one message");
    for (std::size_t i = 0; i < messages->size() && !error_; ++i) {
      const std::string at = fmt::format("messages[{}]", i);
      if (!(*messages)[i].is_object()) {
        error_ = invalid(at, fmt::format("read {}: it must be an object", at));
        return;
      }
      Fields message((*messages)[i], at + ".");
      read_message(message, i + 1 == messages->size());
      take(message);
    }
    if (error_ || !c_.messages.back().contains("tool_calls")) return;
    fields_.refuse(
        "messages",
        "ended by results where the last one has tool_calls: send a tool message for each");
  }

  void read_message(Fields& message, bool last) {
    const auto role = message.word("role", {"system", "developer", "user", "assistant", "tool"});
    if (!role) return message.refuse("role", "one of system, developer, user, assistant, tool");
    WireJson out = {{"role", *role}, {"content", read_content(message, *role == "tool")}};
    if (*role == "assistant") {
      auto reasoning = message.text("reasoning_content");
      if (!reasoning) reasoning = message.text("reasoning");  // as other servers call it
      if (reasoning) out["reasoning_content"] = std::move(*reasoning);
      if (const WireJson* const calls = message.array("tool_calls"); calls && !calls->empty())
        out["tool_calls"] = read_calls(message, *calls);
      if (last) c_.continues_last = message.flag("prefix", false);
    }
    if (*role == "tool") {
      const auto id = message.text("tool_call_id");
      if (!id)
        message.refuse("tool_call_id", "the id of the call that it answers");
      else
        out["tool_call_id"] = *id;
    }
    c_.messages.push_back(std::move(out));
  }

  // As text, whether it came as one or in parts: what clients change between two requests must not
  // change the prompt.
  static std::string read_content(Fields& message, bool of_tool) {
    const WireJson* const content = message.any("content");
    if (!content) return "";
    if (content->is_string()) return content->get<std::string>();
    if (!content->is_array()) return message.refuse("content", "a string or an array of parts"), "";
    std::string out;
    for (const WireJson& part : *content) {
      const WireJson* const type = field_of(part, "type");
      if (!type || !type->is_string()) return message.refuse("content", "of parts with a type"), "";
      const auto& word = type->get_ref<const std::string&>();
      const WireJson* const text = field_of(part, word == "refusal" ? "refusal" : "text");
      if ((word == "text" || word == "refusal") && (!text || !text->is_string()))
        return message.refuse("content", "of text parts with a text"), "";
      // As DeepSeek does. What a tool gave is another matter: an agent cannot help it, and sends it
      // again and again, so the model is told.
      if (!of_tool && word != "text" && word != "refusal")
        return message.refuse("content", fmt::format("text: this model reads nothing else, such as "
                                                     "{:.40}",
                                                     word)),
               "";
      if (!out.empty()) out += "\n\n";
      out += word == "text" || word == "refusal" ? text->get<std::string>() : unsupported(word);
    }
    return out;
  }

  WireJson read_calls(Fields& message, const WireJson& calls) {
    WireJson out = WireJson::array();
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const WireJson* const function = field_of(calls[i], "function");
      const WireJson* const id = field_of(calls[i], "id");
      const WireJson* const name = function ? field_of(*function, "name") : nullptr;
      const WireJson* const arguments = function ? field_of(*function, "arguments") : nullptr;
      if (!name || !name->is_string() || (id && !id->is_string()))
        return message.refuse(fmt::format("tool_calls[{}]", i),
                              "an object with id and function.name"),
               out;
      std::string text = !arguments               ? "{}"
                         : arguments->is_string() ? arguments->get<std::string>()
                                                  : wire_text(*arguments);
      if (text.empty()) text = "{}";
      out.push_back({{"id", id ? id->get<std::string>() : ""},
                     {"type", "function"},
                     {"function", {{"name", *name}, {"arguments", arguments_object(text)}}}});
    }
    return out;
  }

  void read_tools() {
    const WireJson* const tools = fields_.array("tools");
    if (!tools) return;
    for (std::size_t i = 0; i < tools->size(); ++i) {
      const WireJson* const type = field_of((*tools)[i], "type");
      const WireJson* const function = field_of((*tools)[i], "function");
      if ((type && *type != "function") || !function || !function->is_object())
        return fields_.refuse(fmt::format("tools[{}]", i),
                              "{\"type\": \"function\", \"function\": {...}}");
      c_.tools.push_back({{"type", "function"}, {"function", *function}});
    }
    if (error_) return;
    if (beta_) error_ = wrong_strict_tools(c_.tools);
    for (std::size_t i = 0; i < c_.tools.size() && !error_; ++i) {
      const WireJson& function = c_.tools[i]["function"];
      if (!is_true(function, "strict") || string_field(function, "name").empty()) continue;
      const WireJson* const parameters = field_of(function, "parameters");
      auto strict = enforced_parameters(parameters ? *parameters : WireJson::object(),
                                        fmt::format("tools[{}].function.parameters", i));
      if (strict)
        c_.strict[std::string(string_field(function, "name"))] = std::move(*strict);
      else
        error_ = std::move(strict.error());
    }
  }

  void read_tool_choice() {
    if (!fields_.flag("parallel_tool_calls", true)) c_.one_call = true;
    const WireJson* const choice = fields_.any("tool_choice");
    if (!choice) return;
    using Call = Conversation::Call;
    // Which of them is the model's to read; that one is called, ours to see to
    const WireJson* const allowed = string_field(*choice, "type") == "allowed_tools"
                                        ? field_of(*choice, "allowed_tools")
                                        : nullptr;
    const std::string_view mode = allowed ? string_field(*allowed, "mode") : "";
    if (*choice == "auto" || mode == "auto") return;
    if (*choice == "none")
      c_.call = Call::never;
    else if (*choice == "required" || mode == "required")
      c_.call = Call::some;
    else if (const WireJson* const function = field_of(*choice, "function");
             function && field_of(*function, "name") && (*function)["name"].is_string())
      c_.call = Call::named, c_.call_name = (*function)["name"].get<std::string>();
    else
      fields_.refuse(
          "tool_choice",
          "none, auto, required, {\"type\": \"function\", \"function\": {\"name\": ...}} or "
          "{\"type\": \"allowed_tools\", \"allowed_tools\": {\"mode\": \"auto\" or \"required\"}}");
  }

  // "disabled" wins over any effort: clients send both.
  void read_thinking() {
    if (const auto word = fields_.text("reasoning_effort")) {
      const auto effort = effort_of(*word);
      if (!effort)
        fields_.refuse("reasoning_effort", fmt::format("one of {}", kEffortWords));
      else
        c_.thinking = effort->thinking, c_.effort = effort->name;
    }
    const WireJson* const thinking = fields_.object("thinking");
    if (!thinking) return;
    Fields inside(*thinking, "thinking.");
    const auto type = inside.word("type", {"enabled", "disabled", "adaptive"});
    if (type == "disabled") c_.thinking = false, c_.effort.clear();
    take(inside);
  }

  void read_limits() {
    for (const char* const name : {"max_tokens", "max_completion_tokens"}) {
      if (const auto n = fields_.whole(name, 1, kOutputTokensMax)) c_.tokens_max = *n;
    }
    c_.stop = read_stop(fields_);
  }

  void read_format() {
    const WireJson* const format = fields_.object("response_format");
    if (!format) return;
    Fields inside(*format, "response_format.");
    const auto type = inside.word("type", {"text", "json_object", "json_schema"});
    if (!type) inside.refuse("type", "one of text, json_object, json_schema");
    if (type == "json_object") c_.format = Conversation::Format::json_object;
    if (type == "json_schema") {
      const WireJson* const named = inside.object("json_schema");
      const WireJson* const schema = named ? field_of(*named, "schema") : nullptr;
      if (!schema || !schema->is_object())
        inside.refuse("json_schema", "an object with a schema");
      else
        c_.format = Conversation::Format::json_schema, c_.schema = *schema;
      if (named && is_true(*named, "strict") && c_.format == Conversation::Format::json_schema) {
        auto enforced = enforced_schema(c_.schema, "response_format.json_schema.schema");
        if (enforced)
          c_.enforced = std::move(*enforced);
        else if (!error_)
          error_ = std::move(enforced.error());
      }
    }
    take(inside);
  }

  void read_logprobs() {
    const bool wanted = fields_.flag("logprobs", false);
    const auto n = fields_.whole("top_logprobs", 0, engine::kLogprobsMax);
    if (n && *n > 0 && !wanted)
      fields_.refuse("top_logprobs", "left out where logprobs is not true");
    if (wanted) c_.n_logprobs = static_cast<int>(n.value_or(0));
  }

  Fields fields_;
  const bool beta_;
  Conversation c_;
  std::optional<WireError> error_;
};

}  // namespace

tl::expected<ChatRequest, WireError> read_chat(const WireJson& body,
                                               const engine::Sampling& defaults, bool beta) {
  return ChatReader(body, defaults, beta).read();
}

}  // namespace lares::daemon
