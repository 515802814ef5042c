#include "daemon/dialects/messages_request.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "daemon/completions/effort.h"
#include "daemon/dialects/conversation_builder.h"
#include "daemon/dialects/fields.h"
#include "daemon/dialects/strict_tools.h"

namespace lares::daemon {
namespace {

// Claude Code's first system block; it changes with the first user message, and means nothing to a
// model.
constexpr std::string_view kBillingLine = "x-anthropic-billing-header";
constexpr std::string_view kBetweenTexts = "\n\n";  // as encode_chat() joins what people said

const WireJson kNothing = WireJson::array();

const WireJson& list_of(const WireJson& object, std::string_view name) {
  const WireJson* field = field_of(object, name);
  return field && field->is_array() ? *field : kNothing;
}

// Of a block that changes which tools there are: {"tool": {"name"}}, or {"tool": {"definition":
// {"name", ...}}} where the tool is none of the request's `tools`. Null: there is none.
const WireJson* definition_in(const WireJson& block) {
  const WireJson* tool = field_of(block, "tool");
  const WireJson* definition = tool ? field_of(*tool, "definition") : nullptr;
  return definition && field_of(*definition, "input_schema") ? definition : nullptr;
}
std::string changed_tool(const WireJson& block) {
  const WireJson* tool = field_of(block, "tool");
  if (const WireJson* definition = definition_in(block)) tool = definition;
  return tool ? std::string(string_field(*tool, "name")) : "";
}

void collect_references(const WireJson& blocks, std::set<std::string>& names) {
  for (const WireJson& block : blocks) {
    const std::string_view type = string_field(block, "type");
    if (type == "tool_reference") names.emplace(string_field(block, "tool_name"));
    if (type == "tool_addition") names.insert(changed_tool(block));
    for (const WireJson& inner : list_of(block, "content")) {
      if (string_field(inner, "type") == "tool_reference")
        names.emplace(string_field(inner, "tool_name"));
    }
  }
}

OfferedTool offered(const WireJson& tool, std::string at) {
  return {.name = std::string(string_field(tool, "name")),
          .description = std::string(string_field(tool, "description")),
          .parameters = field_of(tool, "input_schema"),
          .strict = is_true(tool, "strict"),
          .at = std::move(at)};
}

// Failed tools mostly say so themselves; a model that reads plain output of one that does not would
// believe it.
std::string failure(std::string text) {
  const std::string_view beginning = std::string_view(text).substr(0, 40);
  if (beginning.find("rror") != std::string_view::npos) return text;
  return text.empty() ? "Error" : "Error: " + text;
}

class MessagesReader {
 public:
  MessagesReader(const WireJson& body, const engine::Sampling& defaults, bool to_count)
      : body_(body), fields_(body), to_count_(to_count) {
    out_.conversation.sampling = defaults;
  }

  tl::expected<MessagesRequest, WireError> read() {
    std::optional<WireError> wrong_model;
    out_.model = read_model(fields_, wrong_model);
    if (wrong_model) return tl::unexpected(std::move(*wrong_model));
    out_.stream = fields_.flag("stream", false);
    const WireJson& messages = list_of(body_, "messages");
    for (const WireJson& message : messages)
      collect_references(list_of(message, "content"), referenced_);
    tools();
    tools_of_messages(messages);
    tool_choice();
    hosted_tools();
    system();
    for (std::size_t i = 0; i < messages.size(); ++i)
      message(messages[i], fmt::format("messages[{}]", i));
    last_message(messages);
    thinking();
    format();
    sampling();
    if (fields_.error()) return tl::unexpected(*fields_.error());
    if (not_enforced_) return tl::unexpected(std::move(*not_enforced_));
    out_.conversation.messages = builder_.take();
    return std::move(out_);
  }

 private:
  void tools() {
    const WireJson& tools = list_of(body_, "tools");
    // Anthropic's own search would find deferred tools; there is none here, so all are in the
    // catalogue.
    const bool searched_there = std::any_of(tools.begin(), tools.end(), [](const WireJson& tool) {
      return string_field(tool, "type").starts_with("tool_search_tool");
    });
    const bool some_marked = std::any_of(tools.begin(), tools.end(), [](const WireJson& tool) {
      return is_true(tool, "defer_loading");
    });
    for (std::size_t i = 0; i < tools.size() && !not_enforced_; ++i) {
      const WireJson& tool = tools[i];
      const WireJson* schema = field_of(tool, "input_schema");
      const std::string name(string_field(tool, "name"));
      // Left out, one as Chat Completions has it would be missed, and nobody would know why.
      if (schema ? name.empty() : field_of(tool, "function") != nullptr)
        return fields_.refuse(fmt::format("tools[{}]", i),
                              "an object with name and input_schema beside each other");
      if (!schema)
        continue;  // one that Anthropic's servers run, or whose shape only their models know
      const bool referenced = referenced_.contains(name);
      // Some clients say which tools are late only by the reference. Where any is marked, one that
      // is not has been in the catalogue from the start, and stays there.
      const bool late = some_marked ? is_true(tool, "defer_loading") : referenced;
      const bool deferred = !searched_there && late;
      if (deferred && !referenced) continue;
      add(offered(tool, fmt::format("tools[{}].input_schema", i)), deferred);
    }
  }
  void add(OfferedTool tool, bool deferred) {
    const auto added = add_tool(out_.conversation, names_, std::move(tool));
    if (!added)
      not_enforced_ = added.error();
    else if (*added && deferred)
      out_.conversation.tools.back()["defer_loading"] = true;
  }
  // Tools that a message brings with their definition; of several of a name the last one counts.
  void tools_of_messages(const WireJson& messages) {
    for (std::size_t i = messages.size(); i-- > 0 && !not_enforced_;) {
      const WireJson& blocks = list_of(messages[i], "content");
      for (std::size_t j = blocks.size(); j-- > 0 && !not_enforced_;) {
        if (string_field(blocks[j], "type") != "tool_addition") continue;
        if (const WireJson* definition = definition_in(blocks[j]))
          add(offered(*definition,
                      fmt::format("messages[{}].content[{}].tool.definition.input_schema", i, j)),
              /*deferred=*/true);
      }
    }
  }

  void tool_choice() {
    const WireJson* choice = field_of(body_, "tool_choice");
    if (!choice) return;
    Conversation& c = out_.conversation;
    const std::string_view type = string_field(*choice, "type");
    c.one_call = is_true(*choice, "disable_parallel_tool_use");
    if (type == "any") {
      c.call = Conversation::Call::some;
    } else if (type == "none") {
      c.call = Conversation::Call::never;
    } else if (type == "tool") {
      c.call = Conversation::Call::named;
      c.call_name = string_field(*choice, "name");
    } else if (type != "auto") {
      return fields_.refuse("tool_choice.type", "one of auto, any, tool, none");
    }
  }

  void hosted_tools() {
    const WireJson& tools = list_of(body_, "tools");
    const bool no_other = !tools.empty() && names_.empty() &&
                          std::ranges::none_of(tools, [](const WireJson& tool) {
                            return field_of(tool, "input_schema") != nullptr;
                          });
    if (no_other && !to_count_ && !not_enforced_ &&
        out_.conversation.call != Conversation::Call::never)
      not_enforced_ = only_hosted(0, tools[0]);
  }

  void system() {
    const WireJson* system = field_of(body_, "system");
    if (!system) return;
    if (system->is_string()) return system_text(system->get_ref<const std::string&>());
    if (!system->is_array()) return fields_.refuse("system", "a string or an array of blocks");
    for (const WireJson& block : *system) system_text(string_field(block, "text"));
  }
  void system_text(std::string_view text) {
    if (!text.starts_with(kBillingLine)) builder_.system(text);
  }

  void message(const WireJson& message, const std::string& where) {
    const std::string_view role = string_field(message, "role");
    const WireJson* content = field_of(message, "content");
    if (content && !content->is_string() && !content->is_array()) {
      return fields_.refuse(where + ".content", "a string or an array of blocks");
    }
    const WireJson& said = content ? *content : kNothing;
    if (role == "assistant") {
      assistant(said);
    } else if (role == "user") {
      user(said);
    } else if (role == "system" || role == "developer") {
      if (said.is_string()) return system_text(said.get_ref<const std::string&>());
      for (const WireJson& block : said) {
        if (changes_tools(block))
          builder_.system(tool_change(block));
        else
          system_text(string_field(block, "text"));
      }
    } else {
      fields_.refuse(where + ".role", "one of user, assistant, system");
    }
  }

  void user(const WireJson& content) {
    if (content.is_string()) return builder_.user(content.get<std::string>());
    std::string text;
    bool has_text = content.empty();
    const auto flush = [&] {
      if (std::exchange(has_text, false)) builder_.user(std::exchange(text, {}));
    };
    for (const WireJson& block : content) {
      if (string_field(block, "type") == "tool_result") {
        flush();
        tool_result(block);
        continue;
      }
      if (has_text) text += kBetweenTexts;
      has_text = true;
      text += block_text(block);
    }
    flush();
  }

  void tool_result(const WireJson& block) {
    const WireJson* content = field_of(block, "content");
    std::string text;
    if (content && content->is_string())
      text = content->get<std::string>();
    else if (content && content->is_array())
      text = blocks_text(*content);
    if (is_true(block, "is_error")) text = failure(std::move(text));
    builder_.result(string_field(block, "tool_use_id"), std::move(text));
  }

  std::string blocks_text(const WireJson& blocks) {
    std::string text;
    for (const WireJson& block : blocks)
      text += (&block == &blocks.front() ? "" : std::string(kBetweenTexts)) + block_text(block);
    return text;
  }

  std::string block_text(const WireJson& block) {
    if (block.is_string()) return block.get<std::string>();
    const std::string_view type = string_field(block, "type");
    if (type == "text") return std::string(string_field(block, "text"));
    if (type == "tool_reference") return reference(std::string(string_field(block, "tool_name")));
    if (type == "document") {
      const WireJson* source = field_of(block, "source");
      if (source && string_field(*source, "type") == "text")
        return std::string(string_field(*source, "data"));
    }
    if (changes_tools(block)) return tool_change(block);
    if (type == "search_result") return blocks_text(list_of(block, "content"));
    return unsupported(type);
  }

  std::string reference(const std::string& name) {
    const WireJson* tool = nullptr;
    for (const WireJson& t : out_.conversation.tools) {
      if (string_field(t["function"], "name") == name) tool = &t;
    }
    if (!tool) return fmt::format("The tool {} is not available.", name);
    if (const auto known = defined_.find(name); known != defined_.end())
      return defined(name, known->second);
    return defined(name, tool->contains("defer_loading") ? wire_text((*tool)["function"]) : "");
  }

  // `definition`: "" of a tool of the catalogue.
  std::string defined(const std::string& name, std::string definition) {
    const bool again = removed_.erase(name) > 0;
    std::string& known = defined_[name];
    if (!definition.empty() && known != definition) {
      known = std::move(definition);
      return fmt::format("The tool {} can be called from now on, as the others are:\n{}", name,
                         known);
    }
    return again ? fmt::format("The tool {} can be called again; it is defined above.", name)
                 : fmt::format("The tool {} is defined above.", name);
  }

  static bool changes_tools(const WireJson& block) {
    const std::string_view type = string_field(block, "type");
    return type == "tool_addition" || type == "tool_removal";
  }

  // "": of all tools of a server that the API would call itself.
  std::string tool_change(const WireJson& block) {
    const std::string name = changed_tool(block);
    if (name.empty()) return "";
    if (string_field(block, "type") == "tool_removal") {
      removed_.insert(name);
      return fmt::format("The tool {} can no longer be called.", name);
    }
    const WireJson* definition = definition_in(block);
    return definition ? defined(name, wire_text(function_of(offered(*definition, ""))))
                      : reference(name);
  }

  void assistant(const WireJson& content) {
    if (content.is_string()) return builder_.content(content.get_ref<const std::string&>());
    for (const WireJson& block : content) {
      const std::string_view type = string_field(block, "type");
      if (type == "text")
        builder_.content(string_field(block, "text"));
      else if (type == "thinking")
        builder_.reasoning(string_field(block, "thinking"));
      else if (type == "tool_use")
        call(block);
      // redacted_thinking is for those who wrote it, and what other servers' tools did was told in
      // the text after it.
    }
  }

  void call(const WireJson& block) {
    const WireJson* input = field_of(block, "input");
    builder_.call(string_field(block, "id"), string_field(block, "name"),
                  input ? wire_text(*input) : "{}");
  }

  void last_message(const WireJson& messages) {
    if (messages.empty() || builder_.empty())
      return fields_.refuse("messages", "an array of at least one message that says something");
    if (to_count_) return;
    if (builder_.ends_with_calls()) {
      return fields_.refuse(
          "messages",
          "ended by results where the last one uses tools: send a tool_result for each");
    }
    out_.conversation.continues_last = builder_.ends_with_assistant();
  }

  void thinking() {
    Conversation& c = out_.conversation;
    if (const WireJson* config = field_of(body_, "output_config")) {
      if (const std::string_view word = string_field(*config, "effort"); !word.empty()) {
        const auto effort = effort_of(word);
        if (!effort)
          return fields_.refuse("output_config.effort", fmt::format("one of {}", kEffortWords));
        c.thinking = effort->thinking;
        c.effort = effort->name;
      }
    }
    const WireJson* thinking = field_of(body_, "thinking");
    const std::string_view type = thinking ? string_field(*thinking, "type") : "enabled";
    if (type == "disabled") {
      c.thinking = false;
      c.effort.clear();
    } else if (type != "enabled" && type != "adaptive") {
      fields_.refuse("thinking.type", "one of enabled, adaptive, disabled");
    }
  }

  void format() {
    const WireJson* config = field_of(body_, "output_config");
    const WireJson* format = config ? field_of(*config, "format") : nullptr;
    const char* const at = format ? "output_config.format.schema" : "output_format.schema";
    if (!format) format = field_of(body_, "output_format");  // its place before
    if (!format || string_field(*format, "type") != "json_schema") return;
    const WireJson* schema = field_of(*format, "schema");
    if (!schema || !schema->is_object()) return fields_.refuse(at, "an object");
    out_.conversation.format = Conversation::Format::json_schema;
    out_.conversation.schema = *schema;
    auto enforced = enforced_schema(*schema, at);
    if (enforced)
      out_.conversation.enforced = std::move(*enforced);
    else
      not_enforced_ = std::move(enforced.error());
  }

  void sampling() {
    Conversation& c = out_.conversation;
    read_sampling(fields_, c.thinking, c.sampling);
    // 0: the prompt is to be in the cache when its answer is asked for
    c.tokens_max = std::min(fields_.whole("max_tokens", 0, INT64_MAX).value_or(kOutputTokensMax),
                            kOutputTokensMax);
    const WireJson* stop = fields_.array("stop_sequences");
    if (!stop) return;
    if (stop->size() > kStopSequencesMax)
      return fields_.refuse("stop_sequences",
                            fmt::format("of at most {} strings", kStopSequencesMax));
    for (const WireJson& sequence : *stop) {
      if (!sequence.is_string()) return fields_.refuse("stop_sequences", "an array of strings");
      if (!sequence.get_ref<const std::string&>().empty())
        c.stop.push_back(sequence.get<std::string>());
    }
  }

  const WireJson& body_;
  Fields fields_;
  std::optional<WireError> not_enforced_;
  const bool to_count_;
  MessagesRequest out_;
  ConversationBuilder builder_;
  std::set<std::string> names_;                 // of tools that can be called
  std::set<std::string> referenced_;            // by a tool_reference somewhere
  std::map<std::string, std::string> defined_;  // as which, by a message already read
  std::set<std::string> removed_;               // by one already read
};

}  // namespace

tl::expected<MessagesRequest, WireError> read_messages_request(const WireJson& body,
                                                               const engine::Sampling& defaults,
                                                               bool to_count) {
  return MessagesReader(body, defaults, to_count).read();
}

}  // namespace lares::daemon
