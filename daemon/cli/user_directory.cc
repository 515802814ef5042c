#include "daemon/cli/user_directory.h"

#include <fmt/format.h>

#include <filesystem>
#include <string_view>
#include <system_error>

namespace lares::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEndsName = " \t\r\n\"'`(),;";
constexpr std::string_view kBehindName = ".:!?]}";  // `@f.py:12`, "see @f.py."
constexpr int kCutsMax = 8;                         // of one word, to find the name in it
constexpr std::size_t kNamesMax = 1000;             // in one prompt

// `name`, as somebody in `directory` means it, from the root; empty: there is none, or it is
// outside.
std::string from_root(const std::string& root, const std::string& directory,
                      const std::string& name) {
  if (name.find_first_not_of("./") == std::string::npos || name.starts_with('/')) return "";
  const std::string path = (fs::path(directory) / name).lexically_normal().string();
  std::error_code ec;
  const bool outside = path == ".." || path.starts_with("../");
  return !outside && fs::exists(fs::path(root) / path, ec) ? path : "";
}

// The name at the beginning of `rest`, which stands behind an @: its length there, and it from the
// root.
struct Name {
  std::size_t length = 0;
  std::string path;
  bool quoted = false;
};

Name name_at(std::string_view rest, const std::string& root, const std::string& directory) {
  if (rest.starts_with('"')) {
    const std::size_t end = rest.find_first_of("\"\n", 1);
    if (end == std::string_view::npos || rest[end] == '\n') return {};
    return {end + 1, from_root(root, directory, std::string(rest.substr(1, end - 1))), true};
  }
  std::string name(rest.substr(0, rest.find_first_of(kEndsName)));
  for (int i = 0; i < kCutsMax && !name.empty(); ++i) {
    if (std::string path = from_root(root, directory, name); !path.empty())
      return {name.size(), std::move(path), false};
    const bool ends = kBehindName.find(name.back()) != std::string_view::npos;
    const std::size_t cut = ends ? name.size() - 1 : name.rfind(':');
    name.resize(cut == std::string::npos ? 0 : cut);
  }
  return {};
}

}  // namespace

std::string names_from(std::string_view prompt, const std::string& root,
                       const std::string& directory) {
  if (directory.empty()) return std::string(prompt);
  std::string out;
  std::size_t n_names = 0;
  for (std::size_t at = prompt.find('@'); at != std::string_view::npos && n_names < kNamesMax;
       at = prompt.find('@')) {
    const bool begins = at == 0 ? out.empty() || kEndsName.find(out.back()) != kEndsName.npos
                                : kEndsName.find(prompt[at - 1]) != kEndsName.npos;
    out += prompt.substr(0, at + 1);
    prompt.remove_prefix(at + 1);
    if (!begins) continue;  // somebody@example.org
    ++n_names;
    const Name name = name_at(prompt, root, directory);
    if (name.path.empty()) continue;
    out += name.quoted ? fmt::format("\"{}\"", name.path) : name.path;
    prompt.remove_prefix(name.length);
  }
  return out + std::string(prompt);
}

std::string directory_below(const std::string& root) {
  std::error_code ec;
  const fs::path here = fs::canonical(".", ec);
  if (ec) return "";
  const fs::path top = fs::canonical(root, ec);
  if (ec) return "";
  const std::string below = here.lexically_relative(top).string();
  return below == "." || below == ".." || below.starts_with("../") ? "" : below;
}

std::string told_from(const std::string& prompt, const std::string& directory) {
  if (directory.empty() || prompt.starts_with('/')) return prompt;
  const std::string stands = fmt::format("(I am in {}/.)", directory);
  return prompt.find(stands) != std::string::npos ? prompt
                                                  : fmt::format("{}\n\n{}", prompt, stands);
}

}  // namespace lares::cli
