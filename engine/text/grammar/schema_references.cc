#include "engine/schema_references.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lares::engine {
namespace {

constexpr std::size_t kListed = 16;  // members, which a list gives as quickly as an index

// One reference token of a JSON pointer.
std::string unescaped(std::string_view token) {
  std::string out;
  for (std::size_t i = 0; i < token.size(); ++i) {
    const bool escape = token[i] == '~' && i + 1 < token.size() &&
                        (token[i + 1] == '0' || token[i + 1] == '1');
    out += !escape ? token[i] : token[++i] == '0' ? '~' : '/';
  }
  return out;
}

// What is no code of a byte stays as it is.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    const char* const code = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(code, code + 2, byte, 16).ptr == code + 2) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::optional<std::size_t> index_of(const std::string& token) {
  std::size_t index = 0;
  const auto [end, wrong] = std::from_chars(token.data(), token.data() + token.size(), index);
  if (wrong != std::errc() || end != token.data() + token.size()) return std::nullopt;
  return index;
}

}  // namespace

SchemaReferences::Found SchemaReferences::find(std::string_view reference) {
  if (!reference.starts_with('#')) return {};
  reference.remove_prefix(1);
  Found found = at(reference);
  if (!found.schema && reference.find('%') != std::string_view::npos)
    found = at(percent_decoded(reference));
  return found;
}

SchemaReferences::Found SchemaReferences::at(std::string_view pointer) {
  Found found{&whole_, ""};
  while (!pointer.empty()) {
    if (pointer[0] != '/') return {};
    const std::size_t end = std::min(pointer.find('/', 1), pointer.size());
    const std::string token = unescaped(pointer.substr(1, end - 1));
    pointer.remove_prefix(end);
    if (found.schema->is_object()) {
      found.schema = member(*found.schema, token);
      if (!found.schema) return {};
      found.path += "." + token;
    } else {
      const auto index = index_of(token);
      if (!found.schema->is_array() || !index || *index >= found.schema->size()) return {};
      found.schema = &(*found.schema)[*index];
      found.path += fmt::format("[{}]", *index);
    }
  }
  return found;
}

const SchemaReferences::Json* SchemaReferences::member(const Json& object,
                                                       const std::string& name) {
  if (object.size() <= kListed) {
    const auto at = object.find(name);
    return at == object.end() ? nullptr : &*at;
  }
  const auto [known, fresh] = members_.try_emplace(&object);
  if (fresh) {
    for (const auto& [key, value] : object.get_ref<const Json::object_t&>())
      known->second.emplace(key, &value);
  }
  const auto at = known->second.find(name);
  return at == known->second.end() ? nullptr : at->second;
}

}  // namespace lares::engine
