// Messages to prompt, as DeepSeek's encoding_dsv4.py does it: merge
// tool results into user turns, order them by their calls, drop old reasoning, then render message
// by message.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/chat.h"
#include "engine/exact_json.h"
#include "engine/text/chat/tools_wording.h"
#include "engine/text/python_json.h"

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kReminder = "<｜latest_reminder｜>";

std::string field(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}
bool present(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && !it->is_null() && !(it->is_array() && it->empty()) &&
         !(it->is_object() && it->empty()) &&
         !(it->is_string() && it->get_ref<const std::string&>().empty()) && *it != false;
}

// Text of a content field: a string, or parts joined by a blank line, what is no text named as
// unsupported.
std::string flat(const Json& message) {
  const auto it = message.find("content");
  if (it == message.end() || !it->is_array()) return field(message, "content");
  std::string out;
  for (std::size_t i = 0; i < it->size(); ++i) {
    const Json& part = (*it)[i];
    if (i > 0) out += "\n\n";
    const std::string type = part.is_object() ? field(part, "type") : "";
    out += type == "text" ? field(part, "text") : fmt::format("[Unsupported {}]", type);
  }
  return out;
}

// Tool results and user messages in a row become one user message of blocks.
std::vector<Json> merged(const Json& messages) {
  std::vector<Json> out;
  for (const Json& message : messages) {
    const std::string role = field(message, "role");
    const bool open = !out.empty() && out.back().value("role", "") == "user" &&
                      out.back().contains("content_blocks");
    if (role == "tool") {
      if (!open) out.push_back(Json{{"role", "user"}, {"content_blocks", Json::array()}});
      out.back()["content_blocks"].push_back(Json{{"type", "tool_result"},
                                                  {"tool_use_id", field(message, "tool_call_id")},
                                                  {"text", flat(message)}});
    } else if (role == "user") {
      if (!open || present(out.back(), "task")) {
        out.push_back(Json{{"role", "user"}, {"content_blocks", Json::array()}});
        for (const char* key : {"task", "wo_eos", "mask"}) {
          if (message.contains(key)) out.back()[key] = message[key];
        }
      }
      out.back()["content_blocks"].push_back(Json{{"type", "text"}, {"text", flat(message)}});
    } else {
      out.push_back(message);
    }
  }
  return out;
}

// Tool results stand in the order of the calls they answer.
void sort_results(std::vector<Json>& messages) {
  std::map<std::string, std::size_t> order;
  for (Json& message : messages) {
    if (message.value("role", "") == "assistant" && present(message, "tool_calls")) {
      order.clear();
      for (std::size_t i = 0; i < message["tool_calls"].size(); ++i) {
        const Json& call = message["tool_calls"][i];
        std::string id = field(call, "id");
        if (id.empty() && call.contains("function") && call["function"].is_object())
          id = field(call["function"], "id");
        if (!id.empty()) order.emplace(id, i);
      }
    }
    if (!message.contains("content_blocks")) continue;
    std::vector<std::size_t> slots;
    std::vector<Json> results;
    Json& blocks = message["content_blocks"];
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (field(blocks[i], "type") != "tool_result") continue;
      slots.push_back(i);
      results.push_back(blocks[i]);
    }
    if (results.size() < 2) continue;
    const auto rank = [&](const Json& block) {
      const auto it = order.find(field(block, "tool_use_id"));
      return it == order.end() ? 0 : it->second;
    };
    std::stable_sort(results.begin(), results.end(),
                     [&](const Json& a, const Json& b) { return rank(a) < rank(b); });
    for (std::size_t i = 0; i < slots.size(); ++i) blocks[slots[i]] = results[i];
  }
}

std::ptrdiff_t last_user(const std::vector<Json>& messages) {
  for (std::size_t i = messages.size(); i-- > 0;) {
    const std::string role = field(messages[i], "role");
    if (role == "user" || role == "developer") return std::ptrdiff_t(i);
  }
  return -1;
}

class Renderer {
 public:
  Renderer(std::vector<Json> messages, const EncodeOptions& options, bool drop)
      : messages_(std::move(messages)),
        options_(options),
        drop_(drop),
        last_user_(last_user(messages_)) {}

  Result<> render(std::size_t i) {
    const Json& message = messages_[i];
    const std::string role = field(message, "role");
    if (i == 0 && options_.thinking)
      ours(effort_text(options_.reasoning_effort, options_.generation));
    if (role == "system") {
      theirs(flat(message));
      extras(message);
    } else if (role == "user") {
      user(message);
    } else if (role == "developer") {
      if (flat(message).empty()) return refuse("a developer message needs content");
      ours(kUser);
      theirs(flat(message));
      extras(message);
    } else if (role == "latest_reminder") {
      ours(kReminder);
      theirs(flat(message));
    } else if (role == "assistant") {
      if (auto done = assistant(i); !done) return done;
    } else {
      return refuse(
          fmt::format("the role '{}' is not known; use system, user, assistant or tool", role));
    }
    transition(i);
    return {};
  }

  void ours(std::string_view text) { add(text, true); }
  std::vector<Segment> take() { return std::move(out_); }

 private:
  static tl::unexpected<Error> refuse(std::string why) {
    return tl::unexpected(Error{Errc::bad_argument, "encode the messages: " + std::move(why)});
  }
  void theirs(std::string_view text) { add(text, false); }
  static bool stands_for_sampled(std::string_view text) {
    return text == kSampledWhole || text == kSampledSaid;
  }
  void add(std::string_view text, bool trusted) {
    if (text.empty()) return;
    if (!out_.empty() && out_.back().trusted == trusted &&
        !(trusted && stands_for_sampled(out_.back().text))) {
      out_.back().text += text;
    } else {
      out_.push_back({std::string(text), trusted});
    }
  }

  // What a system or developer message may carry beside its text.
  void extras(const Json& message) {
    if (present(message, "tools")) {
      std::vector<std::string> functions;
      for (const Json& tool : message["tools"]) {
        functions.push_back(
            python_json(tool.is_object() && tool.contains("function") ? tool["function"] : tool));
      }
      // A mark that JSON text cannot contain keeps our wording apart from the schemas, which others
      // wrote.
      const std::string wording = tools_wording({std::string(1, '\0')});
      const std::size_t mark = wording.find('\0');
      ours("\n\n" + wording.substr(0, mark));
      std::string lines;
      for (std::size_t i = 0; i < functions.size(); ++i) lines += (i ? "\n" : "") + functions[i];
      theirs(lines);
      ours(wording.substr(mark + 1));
    }
    if (present(message, "response_format")) {
      ours(
          "\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to "
          "reply:\n");
      theirs(python_json(message["response_format"]));
    }
  }

  void user(const Json& message) {
    ours(kUser);
    bool first = true;
    for (const Json& block : message["content_blocks"]) {
      if (!first) theirs("\n\n");
      first = false;
      const bool result = field(block, "type") == "tool_result";
      if (result) theirs("<tool_result>");
      theirs(field(block, "text"));
      if (result) theirs("</tool_result>");
    }
  }

  Result<> assistant(std::size_t i) {
    const Json& message = messages_[i];
    const bool after_task = i > 0 && present(messages_[i - 1], "task");
    const bool with_reasoning = options_.thinking && !after_task &&
                                (!drop_ || std::ptrdiff_t(i) > last_user_);
    if (present(message, "sampled")) {
      out_.push_back({std::string(with_reasoning ? kSampledWhole : kSampledSaid), true});
      return {};
    }
    if (with_reasoning) {
      theirs(field(message, "reasoning_content"));
      ours(kThinkEnd);
    }
    theirs(flat(message));
    if (present(message, "tool_calls")) {
      ours("\n\n<｜DSML｜tool_calls>\n");
      bool first = true;
      for (const Json& call : message["tool_calls"]) {
        if (!first) ours("\n");
        first = false;
        if (auto done = invoke(call.is_object() && call.contains("function") ? call["function"]
                                                                             : call);
            !done)
          return done;
      }
      ours("\n</｜DSML｜tool_calls>");
    }
    if (!present(message, "wo_eos")) ours(kEos);
    return {};
  }

  Result<> invoke(const Json& function) {
    const std::string raw = field(function, "arguments");
    Json arguments = exact_json<Json>(raw);
    if (arguments.is_discarded()) {
      arguments = Json{{"arguments", raw}};
    } else if (!arguments.is_object()) {
      return refuse(fmt::format("the arguments of a call of '{}' are no JSON object",
                                field(function, "name")));
    }
    ours("<｜DSML｜invoke name=\"");
    theirs(field(function, "name"));
    ours("\">\n");
    bool first = true;
    for (const auto& [key, value] : arguments.items()) {
      if (!first) ours("\n");
      first = false;
      ours("<｜DSML｜parameter name=\"");
      theirs(key);
      ours(value.is_string() ? "\" string=\"true\">" : "\" string=\"false\">");
      theirs(value.is_string() ? value.get<std::string>() : python_json(value));
      ours("</｜DSML｜parameter>");
    }
    ours("\n</｜DSML｜invoke>");
    return {};
  }

  // Who speaks next, written where a turn changes hands.
  void transition(std::size_t i) {
    const Json& message = messages_[i];
    if (i + 1 < messages_.size()) {
      const std::string next = field(messages_[i + 1], "role");
      if (next != "assistant" && next != "latest_reminder") return;
    }
    const std::string role = field(message, "role"), task = field(message, "task");
    if (!task.empty()) {
      if (task == "action") {
        ours(kAssistant);
        ours(options_.thinking ? kThink : kThinkEnd);
      }
      ours(fmt::format("<｜{}｜>", task));
    } else if (role == "user" || role == "developer") {
      ours(kAssistant);
      ours(options_.thinking && (!drop_ || std::ptrdiff_t(i) >= last_user_) ? kThink : kThinkEnd);
    }
  }

  std::vector<Json> messages_;
  const EncodeOptions& options_;
  bool drop_;
  std::ptrdiff_t last_user_;
  std::vector<Segment> out_;
};

// Earlier turns without their reasoning, as its drop_thinking does. `n_context` counts the messages
// at the front that are not rendered.
void drop_reasoning(std::vector<Json>& messages, std::size_t& n_context) {
  const std::ptrdiff_t keep_from = last_user(messages);
  std::vector<Json> kept;
  std::size_t n_kept_context = 0;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string role = field(messages[i], "role");
    if (std::ptrdiff_t(i) < keep_from) {
      if (role == "assistant")
        messages[i].erase("reasoning_content");
      else if (role != "user" && role != "system" && role != "latest_reminder")
        continue;
    }
    n_kept_context += i < n_context;
    kept.push_back(std::move(messages[i]));
  }
  messages = std::move(kept);
  n_context = n_kept_context;
}

bool effort_known(const EncodeOptions& options) {
  if (options.reasoning_effort.empty() || options.reasoning_effort == "high" ||
      options.reasoning_effort == "max")
    return true;
  return options.generation != "preview" && options.reasoning_effort == "low";
}

}  // namespace

Result<std::vector<Segment>> encode_chat(const Json& messages, const Json& context,
                                         const EncodeOptions& options) {
  const auto refuse = [](std::string why) {
    return tl::unexpected(Error{Errc::bad_argument, "encode the messages: " + why});
  };
  if (!messages.is_array() || !context.is_array()) return refuse("they are no JSON array");
  for (const Json* list : {&messages, &context}) {
    for (const Json& message : *list) {
      if (!message.is_object() || field(message, "role").empty())
        return refuse("each must be an object with a role");
    }
  }
  if (!effort_known(options)) {
    return refuse(
        fmt::format("the reasoning effort '{}' is not one of this checkpoint's; use high or max",
                    options.reasoning_effort));
  }
  std::vector<Json> full = merged(context);
  std::size_t n_context = full.size();
  for (Json& message : merged(messages)) full.push_back(std::move(message));
  sort_results(full);
  const bool has_tools = std::any_of(full.begin(), full.end(),
                                     [](const Json& m) { return present(m, "tools"); });
  const bool drop = options.drop_thinking && !has_tools;
  if (options.thinking && drop) drop_reasoning(full, n_context);
  const std::size_t n = full.size();
  Renderer renderer(std::move(full), options, drop);
  if (options.add_bos && n_context == 0) renderer.ours(kBos);
  for (std::size_t i = n_context; i < n; ++i) {
    if (auto done = renderer.render(i); !done) return tl::unexpected(std::move(done.error()));
  }
  return renderer.take();
}

}  // namespace lares::engine
