#include "mcp/param_headers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "tools/base64.h"

namespace lares::mcp {
namespace {

using nlohmann::json;

constexpr std::string_view kMark = "x-mcp-header";
constexpr std::string_view kEncoded = "=?base64?", kEncodedEnd = "?=";
constexpr std::size_t kParamHeadersMax = 64;

// Whose values are schemas by name, one schema or a list of them, and plain data in which a mark
// means nothing.
constexpr std::array<std::string_view, 6> kMaps{"properties",  "patternProperties", "$defs",
                                                "definitions", "dependentSchemas",  "dependencies"};
constexpr std::array<std::string_view, 5> kData{"default", "const", "enum", "examples", "required"};

bool is_one(std::string_view word, std::span<const std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

bool is_token(std::string_view text) {
  const auto good = [](unsigned char c) {
    return std::isalnum(c) || std::strchr("!#$%&'*+-.^_`|~", c);
  };
  return !text.empty() && std::ranges::all_of(text, good);
}

struct Search {
  std::vector<ParamHeader> found;
  std::set<std::string> names;  // in lower case
  std::vector<std::string> path;
  std::string wrong;

  bool mark(const json& value, const json& schema, bool reachable) {
    const std::string where = path.empty() ? "itself"
                                           : fmt::format("of \"{}\"", fmt::join(path, "."));
    if (!value.is_string() || !is_token(value.get_ref<const std::string&>()))
      return wrong = fmt::format("{} has an x-mcp-header that is no header name", where), false;
    const std::string name = value.get<std::string>();
    const auto type = schema.find("type");
    if (type == schema.end() || (*type != "string" && *type != "integer" && *type != "boolean"))
      return wrong = fmt::format(
                 "{} has an x-mcp-header on something other than a string, an integer or a boolean",
                 where),
             false;
    if (!reachable || path.empty())
      return wrong = fmt::format("{} has an x-mcp-header that no fixed path of properties leads to",
                                 where),
             false;
    std::string key = name;
    for (char& c : key) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (!names.insert(key).second)
      return wrong = fmt::format("has the x-mcp-header {} twice", name), false;
    if (found.size() == kParamHeadersMax)
      return wrong = fmt::format("has more than {} x-mcp-headers", kParamHeadersMax), false;
    found.push_back({path, name});
    return true;
  }

  // Its depth is bounded by kNestingMax: the message that brought it was.
  bool walk(const json& schema, bool reachable) {
    if (schema.is_array())
      return std::ranges::all_of(schema, [&](const json& part) { return walk(part, false); });
    if (!schema.is_object()) return true;
    if (const auto own = schema.find(kMark); own != schema.end() && !mark(*own, schema, reachable))
      return false;
    for (const auto& [key, value] : schema.items()) {
      if (key == kMark || is_one(key, kData)) continue;
      if (!is_one(key, kMaps)) {
        if (!walk(value, false)) return false;
        continue;
      }
      for (const auto& [name, part] : value.items()) {
        path.push_back(name);
        const bool good = walk(part, reachable && key == "properties");
        path.pop_back();
        if (!good) return false;
      }
    }
    return true;
  }
};

const json* at_path(const json& arguments, const std::vector<std::string>& path) {
  const json* at = &arguments;
  for (const auto& step : path) {
    if (!at->is_object()) return nullptr;
    const auto next = at->find(step);
    if (next == at->end()) return nullptr;
    at = &*next;
  }
  return at;
}

}  // namespace

tl::expected<std::vector<ParamHeader>, std::string> find_param_headers(const json& schema) {
  Search search;
  if (!search.walk(schema, true)) return tl::unexpected(search.wrong);
  return std::move(search.found);
}

std::vector<std::pair<std::string, std::string>> param_headers(
    const std::vector<ParamHeader>& marks, const json& arguments) {
  std::vector<std::pair<std::string, std::string>> headers;
  for (const auto& mark : marks) {
    const json* value = at_path(arguments, mark.path);
    if (!value || value->is_null() || value->is_structured()) continue;
    // 5.0 counts as an integer in JSON Schema
    const bool whole = value->is_number_float() && *value == value->get<std::int64_t>();
    const std::string text = value->is_string() ? value->get<std::string>()
                             : whole            ? std::to_string(value->get<std::int64_t>())
                                                : value->dump();
    headers.emplace_back("Mcp-Param-" + mark.name, header_value(text));
  }
  return headers;
}

std::string header_value(std::string_view text) {
  const auto plain = [](unsigned char c) { return c >= 0x20 && c < 0x7f; };
  const bool padded = text.starts_with(' ') || text.ends_with(' ');
  if (!padded && !text.starts_with(kEncoded) && std::ranges::all_of(text, plain))
    return std::string(text);
  return fmt::format("{}{}{}", kEncoded, tools::to_base64(text), kEncodedEnd);
}

}  // namespace lares::mcp
