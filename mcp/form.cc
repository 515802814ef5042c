#include "mcp/form.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <vector>

#include "mcp/declining.h"
#include "mcp/message.h"
#include "mcp/tools.h"
#include "tools/characters.h"

namespace lares::mcp {
namespace {

using nlohmann::json;

constexpr std::size_t kChoicesShownMax = 50;
constexpr std::size_t kUrlMessageBytesMax = 200;  // beside an url that the model passes on

struct Choice {
  json value;
  std::string title;
};

// The values of an enum, in the shapes that the revisions have had: enum and enumNames, oneOf or
// anyOf of {const, title}.
std::vector<Choice> choices_of(const json& schema) {
  std::vector<Choice> choices;
  if (const auto plain = schema.find("enum"); plain != schema.end() && plain->is_array()) {
    const auto names = schema.find("enumNames");
    for (std::size_t i = 0; i < plain->size(); ++i) {
      const bool named = names != schema.end() && names->is_array() && i < names->size() &&
                         (*names)[i].is_string();
      choices.push_back({(*plain)[i], named ? (*names)[i].get<std::string>() : ""});
    }
    return choices;
  }
  for (const char* key : {"oneOf", "anyOf"}) {
    const auto titled = schema.find(key);
    if (titled == schema.end() || !titled->is_array()) continue;
    for (const auto& one : *titled) {
      if (one.is_object() && one.contains("const"))
        choices.push_back({one["const"], text_at(one, "title")});
    }
  }
  return choices;
}

std::string shown(const json& value) {
  return value.is_string() ? value.get<std::string>() : dumped(value);
}

std::string trimmed(std::string text) {
  const auto space = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  while (!text.empty() && space(text.back())) text.pop_back();
  text.erase(text.begin(), std::ranges::find_if_not(text, space));
  return text;
}

bool same(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, {}, [](unsigned char c) { return std::tolower(c); },
      [](unsigned char c) { return std::tolower(c); });
}

std::optional<bool> yes_or_no(const std::string& text) {
  for (const char* yes : {"yes", "y", "true", "1", "ok", "accept", "/accept"})
    if (same(text, yes)) return true;
  for (const char* no : {"no", "n", "false", "0"})
    if (same(text, no)) return false;
  return std::nullopt;
}

std::optional<json> choice(const std::vector<Choice>& choices, const std::string& text) {
  for (const auto& one : choices)
    if (shown(one.value) == text) return one.value;
  for (const auto& one : choices)
    if (same(shown(one.value), text) || (!one.title.empty() && same(one.title, text)))
      return one.value;
  return std::nullopt;
}

template <class T>
std::optional<json> number(const json& schema, const std::string& text, std::string& wrong) {
  T value{};
  const auto [stop, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>)
    if (!std::isfinite(value)) return std::nullopt;  // "inf" is none in JSON
  const auto low = schema.find("minimum"), high = schema.find("maximum");
  if (low != schema.end() && low->is_number() && json(value) < *low)
    return wrong = "at least " + low->dump(), std::nullopt;
  if (high != schema.end() && high->is_number() && json(value) > *high)
    return wrong = "at most " + high->dump(), std::nullopt;
  return value;
}

// Of the values that stand in `text` with commas between them, the one from `at` on, and where the
// next one begins. A choice may have commas of its own: the longest that stands there counts.
std::optional<json> one_of_several(const std::vector<Choice>& choices, const std::string& text,
                                   std::size_t& at) {
  std::size_t longest = 0;
  for (const auto& one : choices)
    longest = std::max({longest, shown(one.value).size(), one.title.size()});
  std::optional<json> found;
  const auto begin = std::min(text.find_first_not_of(" \n\t\r", at), text.size());
  for (auto end = begin; end < text.size(); ++end) {
    end = std::min(text.find(',', end), text.size());
    const auto part = trimmed(text.substr(begin, end - begin));
    if (part.size() > longest) break;
    if (auto value = choice(choices, part)) found = std::move(value), at = end + 1;
  }
  return found;
}

std::optional<json> several(const json& schema, const std::string& text, std::string& wrong) {
  const auto choices = choices_of(schema.value("items", json::object()));
  json picked = json::array();
  for (std::size_t at = 0; at <= text.size() && !text.empty();) {
    const auto comma = std::min(text.find(',', at), text.size());
    const auto part = trimmed(text.substr(at, comma - at));
    auto value = choices.empty() || part.empty() ? std::optional<json>(part)
                                                 : one_of_several(choices, text, at);
    if (!value) return wrong = "no choice is called " + part, std::nullopt;
    if (choices.empty() || part.empty()) at = comma + 1;
    if (part.empty()) continue;
    if (std::ranges::find(picked, *value) == picked.end()) picked.push_back(*value);
  }
  const auto low = schema.find("minItems"), high = schema.find("maxItems");
  if (low != schema.end() && low->is_number_unsigned() && picked.size() < low->get<std::size_t>())
    return wrong = "at least " + low->dump(), std::nullopt;
  if (high != schema.end() && high->is_number_unsigned() &&
      picked.size() > high->get<std::size_t>())
    return wrong = "at most " + high->dump(), std::nullopt;
  return picked;
}

// nullopt: the text is no value of the field; `wrong` may say more.
std::optional<json> value_of(const json& schema, const std::string& text, std::string& wrong) {
  const auto type = text_at(schema, "type");
  if (type == "array") return several(schema, text, wrong);
  if (const auto choices = choices_of(schema); !choices.empty()) return choice(choices, text);
  if (type == "boolean") {
    const auto said = yes_or_no(text);
    return said ? std::optional<json>(*said) : std::nullopt;
  }
  if (type == "integer") return number<std::int64_t>(schema, text, wrong);
  if (type == "number") return number<double>(schema, text, wrong);
  const auto low = schema.find("minLength"), high = schema.find("maxLength");
  if (low != schema.end() && low->is_number_unsigned() &&
      tools::n_characters(text) < low->get<std::size_t>())
    return wrong = "at least " + low->dump() + " characters", std::nullopt;
  if (high != schema.end() && high->is_number_unsigned() &&
      tools::n_characters(text) > high->get<std::size_t>())
    return wrong = "at most " + high->dump() + " characters", std::nullopt;
  return text;
}

std::string describe_choices(const std::vector<Choice>& choices) {
  std::string text;
  for (std::size_t i = 0; i < choices.size() && i < kChoicesShownMax; ++i) {
    text += (i ? ", " : "") + shown(choices[i].value);
    if (!choices[i].title.empty() && choices[i].title != shown(choices[i].value))
      text += " (" + choices[i].title + ")";
  }
  if (choices.size() > kChoicesShownMax)
    text += fmt::format(" and {} more", choices.size() - kChoicesShownMax);
  return text;
}

std::string describe(const std::string& name, const json& schema, bool required) {
  const auto title = text_at(schema, "title"), about = text_at(schema, "description"),
             type = text_at(schema, "type");
  std::string text = title.empty() ? name : title;
  if (!about.empty()) text += ": " + about;
  const auto choices = choices_of(type == "array" ? schema.value("items", json::object()) : schema);
  if (!choices.empty())
    text += fmt::format("\n{}: {}", type == "array" ? "any of, with commas between them" : "one of",
                        describe_choices(choices));
  else if (type == "boolean")
    text += "\nyes or no";
  else if (type == "integer" || type == "number")
    text += type == "integer" ? "\na whole number" : "\na number";
  else if (const auto format = text_at(schema, "format"); !format.empty())
    text += "\n" + format;
  if (schema.contains("default"))
    text += fmt::format("\nempty: {}", shown(schema["default"]));
  else if (!required)
    text += "\nempty: left out";
  return text;
}

// What is needed comes first, in the server's own order; of the rest the parser has kept none.
std::vector<std::string> in_order(const json& fields, const json& required) {
  std::vector<std::string> names;
  for (const auto& name : required) {
    if (name.is_string() && fields.contains(name.get<std::string>()))
      names.push_back(name.get<std::string>());
  }
  for (const auto& [name, field] : fields.items()) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

json action(std::string_view name) { return {{"action", name}}; }

bool is_url(std::string_view text) {
  return !text.empty() && text.size() <= kUrlBytesMax &&
         std::ranges::none_of(text, [](unsigned char c) { return c <= ' ' || c == 0x7f; });
}

// What stands above every question, so that nobody takes it for the agent's own.
std::string heading(const std::string& server, const std::string& message) {
  return fmt::format("The MCP server {} asks: {}\n", server, message);
}

asio::awaitable<json> ask_yes(std::string question, Elicit ask) {
  question += fmt::format("\nyes, {} or {}", kDecline, kCancel);
  auto asking = ask(std::move(question));
  const auto answer = co_await std::move(asking);
  const auto text = trimmed(answer.value_or(std::string(kCancel)));
  json result = action(text == kCancel ? "cancel" : yes_or_no(text) == true ? "accept" : "decline");
  co_return result;
}

// One field. False: `result` says that the person wants no more of it.
asio::awaitable<bool> ask_field(std::string above, std::string name, json schema, bool required,
                                Elicit ask, json& result) {
  std::string wrong;
  for (int n_tries = 0; n_tries < kTriesMax; ++n_tries) {
    std::string question = above + (wrong.empty() ? "" : wrong + "\n") +
                           describe(name, schema, required) +
                           fmt::format("\n(or {}, {})", kDecline, kCancel);
    auto asking = ask(std::move(question));
    const auto answer = co_await std::move(asking);
    const auto text = trimmed(answer.value_or(std::string(kCancel)));
    if (text == kCancel || text == kDecline) {
      result = action(text == kCancel ? "cancel" : "decline");
      co_return false;
    }
    if (text.empty()) {
      if (schema.contains("default")) result["content"][name] = schema["default"];
      if (schema.contains("default") || !required) co_return true;
      wrong = "An answer is needed.";
      continue;
    }
    std::string more;
    auto value = text.size() <= kAnswerBytesMax ? value_of(schema, text, more) : std::nullopt;
    if (value) {
      result["content"][name] = std::move(*value);
      co_return true;
    }
    wrong = "That does not fit" + (more.empty() ? "." : ": " + more + ".");
  }
  result = action("cancel");
  co_return false;
}

}  // namespace

asio::awaitable<json> elicit(std::string server, json params, Elicit ask) {
  json result = action("cancel");
  if (!ask || !params.is_object()) co_return result;
  const std::string message = text_at(params, "message");
  if (text_at(params, "mode") == "url") {
    std::string question = heading(server, message) +
                           fmt::format(
                               "Open {} in a browser, and say yes when it is done; the server "
                               "decides what stands there.",
                               text_at(params, "url"));
    auto asking = ask_yes(std::move(question), ask);
    result = co_await std::move(asking);
    co_return result;
  }
  const json schema = params.value("requestedSchema", json::object());
  const json fields = schema.is_object() ? schema.value("properties", json::object()) : json();
  if (!fields.is_object() || fields.size() > kFieldsMax) co_return result;
  if (fields.empty()) {
    auto asking = ask_yes(heading(server, message), ask);
    result = co_await std::move(asking);
    if (result["action"] == "accept") result["content"] = json::object();
    co_return result;
  }
  result = {{"action", "accept"}, {"content", json::object()}};
  const json required = schema.value("required", json::array());
  for (const auto& name : in_order(fields, required)) {
    const json field = fields[name];
    if (!field.is_object()) continue;
    const bool needed = std::ranges::find(required, json(name)) != required.end();
    auto asking = ask_field(heading(server, message), name, field, needed, ask, result);
    const bool goes_on = co_await std::move(asking);
    if (!goes_on) break;
  }
  co_return result;
}

std::vector<json> required_urls(const json& data) {
  std::vector<json> required;
  const auto listed = data.is_object() ? data.find("elicitations") : data.end();
  if (!data.is_object() || listed == data.end() || !listed->is_array()) return required;
  for (const auto& one : *listed) {
    if (text_at(one, "mode") == "url" && is_url(text_at(one, "url"))) required.push_back(one);
  }
  return required;
}

std::string listed_urls(const std::vector<json>& required) {
  std::string text;
  for (std::size_t i = 0; i < required.size() && i < kUrlsMax; ++i) {
    text += (i ? ", " : "") + text_at(required[i], "url");
    if (const auto message = text_at(required[i], "message"); !message.empty())
      text += fmt::format(" ({})", cut(message, kUrlMessageBytesMax, ""));
  }
  if (required.size() > kUrlsMax) text += fmt::format(" and {} more", required.size() - kUrlsMax);
  return text;
}

}  // namespace lares::mcp
