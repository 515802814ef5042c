#include "daemon/dialects/strict_tools.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "daemon/utf8.h"

namespace lares::daemon {
namespace {

constexpr std::array<std::string_view, 4> kUnsupported = {"minLength", "maxLength", "minItems",
                                                          "maxItems"};

// Depth is the body's, which has a bound. `property`: the keys of `schema` are names, not keywords.
std::optional<WireError> wrong_schema(const WireJson& schema, const std::string& at,
                                      bool property = false) {
  if (schema.is_array()) {
    for (std::size_t i = 0; i < schema.size(); ++i) {
      if (auto wrong = wrong_schema(schema[i], fmt::format("{}[{}]", at, i))) return wrong;
    }
  }
  if (!schema.is_object()) return std::nullopt;
  if (!property) {
    for (const std::string_view keyword : kUnsupported) {
      if (schema.contains(keyword))
        return invalid(
            fmt::format("{}.{}", at, keyword),
            fmt::format("read {}.{}: strict tools cannot use it; leave it out", at, keyword));
    }
    if (const WireJson* const properties = field_of(schema, "properties");
        properties && properties->is_object()) {
      const WireJson* const closed = field_of(schema, "additionalProperties");
      if (!closed || *closed != false)
        return invalid(
            at + ".additionalProperties",
            fmt::format("read {}.additionalProperties: it must be false in a strict tool", at));
      std::set<std::string_view> required;
      if (const WireJson* const names = field_of(schema, "required"); names && names->is_array()) {
        for (const WireJson& name : *names) {
          if (name.is_string()) required.insert(name.get_ref<const std::string&>());
        }
      }
      for (const auto& [name, value] : properties->items()) {
        if (required.contains(name)) continue;
        return invalid(
            at + ".required",
            fmt::format(
                "read {}.required: a strict tool requires all its properties; '{}' is missing", at,
                name));
      }
    }
  }
  for (const auto& [name, value] : schema.items()) {
    if (!property && (name == "enum" || name == "const" || name == "default" || name == "required"))
      continue;
    const bool names = !property && (name == "properties" || name == "$defs" || name == "$def" ||
                                     name == "definitions");
    if (auto wrong = wrong_schema(value, fmt::format("{}.{}", at, name), names)) return wrong;
  }
  return std::nullopt;
}

bool strict(const WireJson& tool) {
  const WireJson* const value = field_of(tool.at("function"), "strict");
  return value && *value == true;
}

// One line, of names that a client chose.
std::string one_line(std::string_view text) {
  constexpr std::size_t kBytesMax = 300;
  std::string line(utf8_prefix(text, kBytesMax));
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
  if (line.size() < text.size()) line += "...";
  return line;
}

WireError not_enforced(const engine::SchemaError& error, const std::string& at) {
  const std::string path = at + one_line(error.path);
  return invalid(path, fmt::format("read {}: {}", path, one_line(error.message)));
}

}  // namespace

tl::expected<engine::JsonSchemaRef, WireError> enforced_schema(const WireJson& schema,
                                                               const std::string& at) {
  auto compiled = engine::compile_schema(schema);
  if (!compiled) return tl::unexpected(not_enforced(compiled.error(), at));
  return std::move(*compiled);
}

tl::expected<engine::JsonSchemaRef, WireError> enforced_parameters(const WireJson& schema,
                                                                   const std::string& at) {
  auto compiled = engine::compile_parameters(schema);
  if (!compiled) return tl::unexpected(not_enforced(compiled.error(), at));
  return std::move(*compiled);
}

std::optional<WireError> wrong_strict_tools(const WireJson& tools) {
  if (std::none_of(tools.begin(), tools.end(), strict)) return std::nullopt;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const std::string at = fmt::format("tools[{}].function", i);
    if (!strict(tools[i]))
      return invalid(
          at + ".strict",
          fmt::format("read {}.strict: it must be true, for other tools are strict", at));
    const WireJson* const parameters = field_of(tools[i]["function"], "parameters");
    if (!parameters) continue;
    if (auto wrong = wrong_schema(*parameters, at + ".parameters")) return wrong;
  }
  return std::nullopt;
}

}  // namespace lares::daemon
