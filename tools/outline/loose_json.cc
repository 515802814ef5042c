#include "tools/outline/loose_json.h"

#include <algorithm>
#include <array>

namespace lares::tools {
namespace {

constexpr std::array<std::string_view, 5> kNames = {
    "babel.config.json", ".babelrc.json", "deno.json", "devcontainer.json", ".devcontainer.json"};
constexpr std::array<std::string_view, 2> kDirectories = {".vscode", ".devcontainer"};

// Past the string or comment that begins at `at`, or `at` itself where there is none.
std::size_t past_string(std::string_view text, std::size_t at) {
  if (text[at] != '"') return at;
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\')
      ++i;
    else if (text[i] == '"' || text[i] == '\n')
      return i + 1;
  }
  return text.size();
}
std::size_t past_comment(std::string_view text, std::size_t at) {
  const std::string_view rest = text.substr(at);
  const std::string_view end = rest.starts_with("//") ? "\n" : rest.starts_with("/*") ? "*/" : "";
  if (end.empty()) return at;
  const std::size_t found = text.find(end, at + 2);
  return found == std::string_view::npos ? text.size() : found + end.size();
}

}  // namespace

bool takes_trailing_commas(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  const std::string_view name = slash == path.npos ? path : path.substr(slash + 1);
  if (!name.ends_with(".json")) return false;
  if (name.starts_with("tsconfig") || name.starts_with("jsconfig")) return true;
  if (std::ranges::find(kNames, name) != kNames.end()) return true;
  if (slash == path.npos) return false;
  std::string_view directory = path.substr(0, slash);
  directory = directory.substr(directory.rfind('/') + 1);  // all of it where there is none
  return std::ranges::find(kDirectories, directory) != kDirectories.end();
}

std::string without_trailing_commas(std::string_view text) {
  std::string out(text);
  std::size_t comma = std::string_view::npos;  // the last sign, if it is one behind a member
  char before = 0;                             // the last sign: no blank, nor in a comment
  for (std::size_t i = 0; i < text.size();) {
    if (const std::size_t past = past_comment(text, i); past != i) {
      i = past;
      continue;
    }
    const char c = text[i];
    const std::size_t past = past_string(text, i);
    i = std::max(past, i + 1);
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    if ((c == '}' || c == ']') && comma != std::string_view::npos) out[comma] = ' ';
    const bool member = before != 0 && std::string_view("{[,:").find(before) == std::string::npos;
    comma = c == ',' && member ? i - 1 : std::string_view::npos;
    before = c;
  }
  return out;
}

}  // namespace lares::tools
