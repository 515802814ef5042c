// What the commands of `str_replace_editor` answer with, and what they keep to themselves.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "tools/text.h"
#include "tools/tool.h"
#include "tools/workspace/rules.h"

namespace lares::tools {

inline constexpr std::size_t kEchoBytesMax = 2000;  // of an argument in an error

inline Outcome failed(std::string text) { return {std::move(text), false, {}}; }

inline std::optional<std::string> string_of(const nlohmann::json& args, const char* key) {
  const auto it = args.find(key);
  if (it == args.end() || !it->is_string()) return std::nullopt;
  return it->get_ref<const std::string&>();
}

inline std::string echo(const std::string& text) {
  if (text.size() <= kEchoBytesMax) return text;
  return text.substr(0, utf8_floor(text, kEchoBytesMax)) + "...";
}

// What view does not show, no answer to an edit shows either.
inline bool is_kept(const std::string& path, std::string_view text) {
  return is_secret_text(path, text);
}

}  // namespace lares::tools
