#include "daemon/cli/interactive/completions.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "daemon/cli/interactive/slash.h"
#include "daemon/shown/git.h"
#include "daemon/shown/text.h"
#include "daemon/skills/skills.h"

namespace lares::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kIndexBytesMax = 8u << 20;
constexpr std::size_t kNameBytesLeast = 2;  // of what is looked for everywhere

bool can_be_typed(const std::string& name) {
  return printable(name) == name && name.find('\n') == std::string::npos;
}

// "src/ma" gives "src/main.cc" and "src/make/".
std::vector<std::string> names_at(const std::string& root, const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "" : path.substr(0, slash + 1),
                    name = path.substr(directory.size());
  std::vector<std::string> out;
  std::error_code ec;
  const fs::path from = directory.starts_with('/') ? fs::path(directory)
                                                   : fs::path(root) / directory;
  std::size_t n = 0;
  for (fs::directory_iterator at(from, ec), end; !ec && at != end && ++n <= kNamesMax;
       at.increment(ec)) {
    const std::string entry = at->path().filename().string();
    if (!entry.starts_with(name) || (entry[0] == '.' && name.empty()) || entry == ".git" ||
        !can_be_typed(entry))
      continue;
    std::error_code unknown;
    out.push_back(directory + entry + (at->is_directory(unknown) ? "/" : ""));
  }
  std::ranges::sort(out);
  return out;
}

// Tracked files whose own name begins so, or else whose path has it anywhere.
std::vector<std::string> names_anywhere(const std::string& root, const std::string& part) {
  std::vector<std::string> named, other;
  if (part.size() < kNameBytesLeast) return named;
  const auto index = run_git(root, {"ls-files", "-z", "--cached"}, kIndexBytesMax);
  if (!index || index->status != 0) return named;
  std::string_view rest = index->out;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\0'), rest.size());
    const std::string path(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!can_be_typed(path)) continue;
    if (path.compare(path.rfind('/') + 1, part.size(), part) == 0)
      named.push_back(path);
    else if (path.find(part) != std::string::npos)
      other.push_back(path);
  }
  return named.empty() ? other : named;
}

// "/de" gives "/deploy "; what is a command already is not a skill here.
void add_skills(std::string_view beginning, const std::string& root,
                std::vector<std::string>& candidates) {
  if (!beginning.starts_with('/') || beginning.find_first_of(" \t\n") != std::string_view::npos)
    return;
  for (const auto& skill : daemon::find_skills(root, daemon::skills_home()).all) {
    const std::string full = fmt::format("/{} ", skill.name);
    const auto line = parse_slash(full);
    if (skill.for_people && full.starts_with(beginning) && !(line && line->command))
      candidates.push_back(full);
  }
}

}  // namespace

Completions completions_of(std::string_view before, const std::string& root) {
  Completions out{.word = std::string(before), .candidates = slash_completions(before)};
  add_skills(before, root, out.candidates);
  if (!out.candidates.empty()) return out;
  const std::size_t blank = before.find_last_of(" \t\n\"'`(,");
  std::string_view word = before.substr(blank == std::string_view::npos ? 0 : blank + 1);
  const bool marked = word.starts_with('@');
  if (marked) word.remove_prefix(1);
  out.word = word;
  if (word.empty() && !marked) return out;
  out.candidates = names_at(root, out.word);
  if (out.candidates.empty()) out.candidates = names_anywhere(root, out.word);
  return out;
}

}  // namespace lares::cli
