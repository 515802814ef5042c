#include "daemon/turn/foreseen_edit.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <nlohmann/json.hpp>

namespace lares::daemon {
std::string text_at(const nlohmann::json& arguments, const char* key) {
  const auto at = arguments.find(key);
  return at != arguments.end() && at->is_string() ? at->get<std::string>() : "";
}

namespace {

std::optional<std::string> replaced(std::string text, const std::string& old_str,
                                    const std::string& new_str) {
  const std::size_t at = text.find(old_str);
  if (at == std::string::npos || old_str.empty()) return std::nullopt;
  return text.replace(at, old_str.size(), new_str);
}

// As the tool does it: whole lines, but behind a last line that has no end.
std::string inserted(std::string text, std::int64_t line, std::string more) {
  std::size_t at = 0;
  for (; line > 0 && at < text.size(); --line)
    at = std::min(text.find('\n', at), text.size() - 1) + 1;
  const bool behind_unended_line = at > 0 && at == text.size() && text.back() != '\n';
  if (behind_unended_line && more.ends_with('\n')) more.pop_back();
  if (behind_unended_line)
    more.insert(more.begin(), '\n');
  else if (!more.ends_with('\n'))
    more += '\n';
  return text.insert(at, more);
}

}  // namespace

std::optional<ForeseenEdit> foresee(const Tools& tools, const std::string& name,
                                    const nlohmann::json& arguments) {
  const tools::Tool* const tool = name == kEditTool ? find_tool(tools, name) : nullptr;
  if (!tool || !arguments.is_object()) return std::nullopt;
  const std::string command = text_at(arguments, "command"), path = text_at(arguments, "path");
  if (command == "create") return ForeseenEdit{path, std::nullopt, text_at(arguments, "file_text")};
  const auto line = arguments.find("insert_line");
  const bool inserts = command == "insert" && line != arguments.end() && line->is_number_integer();
  if (!inserts && command != "str_replace") return std::nullopt;
  // From the file's text, as it is now
  auto found = tool->choices("old_str", {{"command", "str_replace"}, {"path", path}});
  if (!found || found->substring_of.empty()) return std::nullopt;
  std::string& before = found->substring_of;
  const std::string new_str = text_at(arguments, "new_str");
  auto after = inserts ? inserted(before, line->get<std::int64_t>(), new_str)
                       : replaced(before, text_at(arguments, "old_str"), new_str);
  if (!after) return std::nullopt;
  return ForeseenEdit{path, std::move(before), std::move(*after)};
}

}  // namespace lares::daemon
