#include "daemon/completions/render.h"

#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/completions/effort.h"
#include "daemon/completions/flat_schema.h"
#include "daemon/utf8.h"
#include "engine/chat.h"

namespace lares::daemon {
namespace {

using Json = Conversation::Json;
using engine::Token;

constexpr std::size_t kNameShown = 100;  // bytes of a parameter's, in a message
constexpr std::string_view kFimBegin = "<｜fim▁begin｜>", kFimHole = "<｜fim▁hole｜>",
                           kFimEnd = "<｜fim▁end｜>";

tl::unexpected<Refusal> refuse(std::string parameter, std::string message) {
  return tl::unexpected(Refusal{Refusal::Kind::invalid, std::move(message), std::move(parameter)});
}

std::string text_of(const Json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

// In a name these would end it, or the tag around it.
bool plain(std::string_view name) {
  return !name.empty() && name.size() <= kToolNameMax &&
         std::ranges::none_of(
             name, [](unsigned char c) { return c < 0x21 || c == '"' || c == '<' || c == '>'; });
}

// The first property that no call could name; empty: none.
std::string wrong_parameter(const Json& schema) {
  const auto properties = schema.find("properties");
  if (properties == schema.end() || !properties->is_object()) return {};
  for (const auto& [name, property] : properties->items())
    if (!engine::is_parameter_name(name)) return name.empty() ? "(no name)" : name;
  return {};
}

tl::expected<std::vector<engine::ToolSpec>, Refusal> specs_of(const Conversation& c) {
  const Json& tools = c.tools;
  if (tools.size() > kToolsMax)
    return refuse("tools",
                  fmt::format("read tools: there are {}, of at most {}", tools.size(), kToolsMax));
  std::vector<engine::ToolSpec> out;
  std::set<std::string> names;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const auto function = tools[i].find("function");
    if (function == tools[i].end() || !function->is_object())
      return refuse(fmt::format("tools[{}].function", i),
                    fmt::format("read tools[{}]: it has no function", i));
    const std::string name = text_of(*function, "name"),
                      where = fmt::format("tools[{}].function.name", i);
    if (!plain(name))
      return refuse(
          where,
          fmt::format(
              "read {}: a name is 1 to {} characters without blanks, quotes and angle brackets",
              where, kToolNameMax));
    if (!names.insert(name).second)
      return refuse(where,
                    fmt::format("read {}: '{}' is the name of another tool, too", where, name));
    const auto schema = function->find("parameters");
    const std::string parameter = schema != function->end() ? wrong_parameter(*schema) : "";
    if (!parameter.empty())
      return refuse(
          fmt::format("tools[{}].function.parameters", i),
          fmt::format("read tools[{}].function.parameters: '{}' cannot be called: a parameter's "
                      "name is 1 to {} bytes without quotes, angle brackets and control characters",
                      i, parameter.substr(0, kNameShown), engine::kParameterNameBytesMax));
    const bool declares = schema != function->end() && schema->is_object();
    const Json flat = declares ? flat_schema(*schema) : Json::object();
    const std::string lost = declares && flat["properties"].empty() ? lost_reference(*schema) : "";
    if (!lost.empty()) {
      const std::string at = fmt::format("tools[{}].function.parameters.$ref", i);
      return refuse(at, fmt::format("read {}: nothing within the schema is at {}, so a call could "
                                    "have no arguments; put the definition there",
                                    at, utf8_prefix(lost, kNameShown)));
    }
    const auto strict = c.strict.find(name);
    out.push_back({name, text_of(*function, "description"), declares ? flat.dump() : "{}",
                   strict != c.strict.end() ? strict->second : nullptr});
  }
  return out;
}

tl::expected<engine::GrammarOptions, Refusal> grammar_of(const Conversation& c) {
  engine::GrammarOptions grammar{.tools = {},
                                 .thinking = c.thinking,
                                 .oracle = {},
                                 .calls_max = c.one_call ? 1 : kCallsPerAnswerMax};
  grammar.json = c.format != Conversation::Format::text;
  grammar.schema = c.enforced;
  if (c.call == Conversation::Call::never) return grammar;
  auto specs = specs_of(c);
  if (!specs) return tl::unexpected(std::move(specs.error()));
  grammar.call_required = c.call == Conversation::Call::some || c.call == Conversation::Call::named;
  if (grammar.call_required && specs->empty())
    return refuse("tool_choice", "read tool_choice: it asks for a call, and there are no tools");
  if (c.call == Conversation::Call::named) {
    std::erase_if(*specs, [&](const engine::ToolSpec& spec) { return spec.name != c.call_name; });
    if (specs->empty())
      return refuse("tool_choice",
                    fmt::format("read tool_choice: there is no tool '{}'", c.call_name));
    grammar.calls_max = 1;
  }
  grammar.tools = std::move(*specs);
  return grammar;
}

// The format has one system message, at the front: behind a user's nobody would be asked to answer.
// There it is the user's words.
Json settled(const Json& messages) {
  Json out = Json::array();
  for (Json message : messages) {
    const std::string role = text_of(message, "role");
    const bool system = role == "system" || role == "developer",
               front = out.empty() || text_of(out.back(), "role") == "system";
    if (system) message["role"] = front ? "system" : "user";
    if (system && !out.empty() && front) {
      Json& content = out.back()["content"];
      if (!content.is_string()) content = "";
      content.get_ref<std::string&>() += "\n\n" + text_of(message, "content");
    } else {
      out.push_back(std::move(message));
    }
  }
  return out;
}

// The tools that are not defined later, where they were found.
Json catalogue(Json tools) {
  std::erase_if(tools.get_ref<Json::array_t&>(),
                [](const Json& tool) { return tool.value("defer_loading", false); });
  return tools;
}

void add_to_system(Json& messages, const char* key, const Json& value) {
  if (messages.empty() || text_of(messages.front(), "role") != "system")
    messages.insert(messages.begin(), Json{{"role", "system"}, {"content", ""}});
  messages.front()[key] = value;
}

class Renderer {
 public:
  Renderer(const Conversation& conversation, const engine::Tokenizer& tokenizer,
           SampledAnswers& sampled, const CheckpointWords& words)
      : c_(conversation),
        tokenizer_(tokenizer),
        sampled_(sampled),
        words_(words),
        messages_(c_.messages) {}

  tl::expected<Rendered, Refusal> render() {
    auto grammar = grammar_of(c_);
    if (!grammar) return tl::unexpected(std::move(grammar.error()));
    Rendered out{.prompt = {}, .begun = {}, .grammar = std::move(*grammar)};
    if (!messages_.is_array() || messages_.empty())
      return refuse("messages", "read messages: there are none");
    messages_ = settled(messages_);
    if (auto begun = take_begun(); begun)
      out.begun = std::move(*begun);
    else
      return tl::unexpected(std::move(begun.error()));
    if (text_of(messages_.back(), "role") == "system") add_empty_turn();  // nobody has the word
    if (const Json tools = catalogue(c_.tools);
        !tools.empty() && c_.call != Conversation::Call::never)
      add_to_system(messages_, "tools", tools);
    if (c_.format == Conversation::Format::json_schema)
      add_to_system(messages_, "response_format", c_.schema);
    mark_sampled();
    const std::string effort(
        effort_known(c_.effort.empty() ? words_.effort : c_.effort, words_.generation));
    const engine::EncodeOptions options{.thinking = c_.thinking,
                                        .reasoning_effort = c_.thinking ? effort : "",
                                        .generation = words_.generation};
    const auto segments = engine::encode_chat(messages_, Json::array(), options);
    if (!segments) return refuse("messages", segments.error().message);
    out.prompt = tokens_of(*segments);
    return out;
  }

 private:
  void add_empty_turn() { messages_.push_back({{"role", "user"}, {"content", ""}}); }

  // Of an answer whose beginning is there, the tokens of that.
  tl::expected<std::vector<Token>, Refusal> take_begun() {
    if (text_of(messages_.back(), "role") != "assistant") {
      if (c_.continues_last)
        return refuse(
            "messages",
            "read messages: the last one is to be gone on with, and is not the assistant's");
      return std::vector<Token>();
    }
    // It is whole, and another is asked for; only behind somebody else's turn the model has its own
    if (!c_.continues_last) {
      add_empty_turn();
      return std::vector<Token>();
    }
    const Json last = messages_.back();
    messages_.erase(messages_.size() - 1);
    if (messages_.empty() || text_of(messages_.back(), "role") == "assistant")
      return refuse("messages",
                    "read messages: what is to be gone on with answers nothing; put a user message "
                    "before it");
    if (last.contains("tool_calls") && !last["tool_calls"].empty())
      return refuse("messages", "read messages: an answer with tool calls cannot be gone on with");
    const std::string content = text_of(last, "content");
    std::vector<Token> begun;
    if (c_.thinking) {
      const std::string reasoning = text_of(last, "reasoning_content");
      tokenizer_.encode(reasoning, false, begun);
      if (!content.empty())
        begun.push_back(*tokenizer_.added(engine::kThinkEnd));  // else it goes on thinking
    }
    tokenizer_.encode(content, false, begun);
    return begun;
  }

  void mark_sampled() {
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      if (text_of(messages_[i], "role") != "assistant") continue;
      SampledRef answer = sampled_.find(messages_[i]);
      if (!answer) continue;
      messages_[i]["sampled"] = true;
      replayed_.emplace_back(i, std::move(answer));
    }
  }

  std::vector<Token> tokens_of(const std::vector<engine::Segment>& segments) const {
    std::vector<Token> ids;
    std::vector<engine::Segment> run;
    const auto flush = [&] {
      const auto more = tokenizer_.encode(run);
      ids.insert(ids.end(), more.begin(), more.end());
      run.clear();
    };
    auto next = replayed_.begin();
    std::uint64_t hash = kHashOfNothing;
    std::size_t n_hashed = 0;
    for (const engine::Segment& segment : segments) {
      const bool whole = segment.trusted && segment.text == engine::kSampledWhole;
      if (!whole && !(segment.trusted && segment.text == engine::kSampledSaid)) {
        run.push_back(segment);
        continue;
      }
      flush();
      hash = hash_of(std::span(ids).subspan(n_hashed), hash);
      n_hashed = ids.size();
      const SampledRef answer = sampled_.find(messages_[next->first], hash);
      replay(messages_[next->first], answer ? *answer : *next->second, hash, whole, ids);
      ++next;
    }
    flush();
    return ids;
  }

  // Behind a prompt of that hash. `with_reasoning`: the think block is open, and its content stands
  // here.
  void replay(const Json& message, const Sampled& answer, std::uint64_t prompt, bool with_reasoning,
              std::vector<Token>& ids) const {
    if (with_reasoning) {
      const std::string reasoning = text_of(message, "reasoning_content");
      // Two conversations may have the same short answer: only what was thought of this very prompt
      // is put back.
      const bool put_back = reasoning.empty() && (!answer.calls.empty() || answer.prompt == prompt);
      if (put_back || reasoning == answer.reasoning)
        ids.insert(ids.end(), answer.reasoning_ids.begin(), answer.reasoning_ids.end());
      else
        tokenizer_.encode(reasoning, false, ids);
      ids.push_back(*tokenizer_.added(engine::kThinkEnd));
    }
    ids.insert(ids.end(), answer.said_ids.begin(), answer.said_ids.end());
    ids.push_back(*tokenizer_.added(engine::kEos));
  }

  const Conversation& c_;
  const engine::Tokenizer& tokenizer_;
  SampledAnswers& sampled_;
  const CheckpointWords& words_;
  Json messages_;
  std::vector<std::pair<std::size_t, SampledRef>> replayed_;  // by message, ascending
};

}  // namespace

tl::expected<Rendered, Refusal> render(const Conversation& conversation,
                                       const engine::Tokenizer& tokenizer, SampledAnswers& sampled,
                                       const CheckpointWords& words) {
  return Renderer(conversation, tokenizer, sampled, words).render();
}

tl::expected<Rendered, Refusal> render(const Infill& infill, const engine::Tokenizer& tokenizer) {
  std::vector<engine::Segment> segments = {{std::string(engine::kBos), true}};
  if (infill.suffix) {
    for (const std::string_view token : {kFimBegin, kFimHole, kFimEnd}) {
      if (!tokenizer.added(token))
        return refuse(
            "suffix",
            fmt::format("fill in the middle: this checkpoint has no token {}; leave out the suffix",
                        token));
    }
    segments.push_back({std::string(kFimBegin), true});
    segments.push_back({infill.prefix, false});
    segments.push_back({std::string(kFimHole), true});
    segments.push_back({*infill.suffix, false});
    segments.push_back({std::string(kFimEnd), true});
  } else {
    segments.push_back({infill.prefix, false});
  }
  Rendered out{.prompt = tokenizer.encode(segments),
               .begun = {},
               .grammar = {.tools = {}, .thinking = false, .oracle = {}}};
  // The answer goes on behind the prompt's last token: so its first line may be an empty one.
  out.begun.push_back(out.prompt.back());
  out.prompt.pop_back();
  return out;
}

}  // namespace lares::daemon
