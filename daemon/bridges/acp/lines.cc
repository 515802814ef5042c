#include "daemon/bridges/acp/lines.h"

namespace lares::cli::acp {
namespace {

// Behind a string that begins at `at`; npos: it does not end.
std::size_t behind_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\')
      ++at;
    else if (text[at] == '"')
      return at + 1;
  }
  return std::string_view::npos;
}

}  // namespace

Json id_of_cut(std::string_view text) {
  int depth = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
    if (c != '"') {
      ++at;
      continue;
    }
    const std::size_t behind = behind_string(text, at);
    if (behind == std::string_view::npos) return nullptr;
    const bool id = depth == 1 && text.substr(at, behind - at) == "\"id\"";
    at = text.find_first_not_of(" \t\r", behind);
    if (at == std::string_view::npos) return nullptr;
    if (!id || text[at] != ':') continue;
    const std::size_t begin = text.find_first_not_of(" \t\r", at + 1);
    if (begin == std::string_view::npos) return nullptr;
    const std::size_t end = text[begin] == '"' ? behind_string(text, begin)
                                               : text.find_first_of(",} \t\r", begin);
    if (end == std::string_view::npos) return nullptr;
    Json value = Json::parse(text.substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
    return value.is_string() || value.is_number() ? value : Json();
  }
  return nullptr;
}

}  // namespace lares::cli::acp
