#include "daemon/cli/interactive/completions.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "daemon/cli/interactive/slash.h"
#include "daemon/protocol/policies.h"
#include "daemon/shown/git.h"
#include "daemon/shown/text.h"
#include "daemon/skills/skills.h"

namespace lares::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kIndexBytesMax = 8u << 20;
constexpr int kBranchesMax = 1000;          // the newest
constexpr std::size_t kNameBytesLeast = 2;  // of what is looked for everywhere

// Where a word ends, and a name that has one of them stands in quotes.
constexpr std::string_view kEndsWord = " \t\n\"'`(,";

// How names are compared: letter by letter, or small ones and capitals of ASCII alike.
enum class Case { exact, folded };

char folded(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same(char a, char b, Case by) { return by == Case::exact ? a == b : folded(a) == folded(b); }

bool begins_with(std::string_view name, std::string_view part, Case by) {
  return name.size() >= part.size() && std::equal(part.begin(), part.end(), name.begin(),
                                                  [by](char a, char b) { return same(a, b, by); });
}

bool has(std::string_view name, std::string_view part, Case by) {
  return std::search(name.begin(), name.end(), part.begin(), part.end(),
                     [by](char a, char b) { return same(a, b, by); }) != name.end();
}

// No escape hides a quote, so a name that has one stands for itself, and can have no blanks.
bool can_be_typed(const std::string& name) {
  return printable(name) == name && name.find('\n') == std::string::npos &&
         (name.find('"') == std::string::npos || name.find_first_of(" '`(,") == std::string::npos);
}

// "src/ma" gives "src/main.cc" and "src/make/".
std::vector<std::string> names_at(const std::string& root, const std::string& path, Case by) {
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
    if (!begins_with(entry, name, by) || (entry[0] == '.' && name.empty()) || entry == ".git" ||
        !can_be_typed(entry))
      continue;
    std::error_code unknown;
    out.push_back(directory + entry + (at->is_directory(unknown) ? "/" : ""));
  }
  std::ranges::sort(out);
  return out;
}

// Of what git lists, the files whose own name begins so, and those whose path has it anywhere.
struct Named {
  std::vector<std::string> begin, have;

  void look_in(const std::string& root, const std::vector<std::string>& listed,
               const std::string& part, Case by) {
    const auto files = run_git(root, listed, kIndexBytesMax);
    if (!files || files->status != 0) return;
    std::string_view rest = files->out;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\0'), rest.size());
      const std::string path(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (!has(path, part, by) || !can_be_typed(path)) continue;
      const bool begins = begins_with(std::string_view(path).substr(path.rfind('/') + 1), part, by);
      (begins ? begin : have).push_back(path);
    }
  }
};

std::vector<std::string> names_anywhere(const std::string& root, const std::string& part, Case by) {
  Named named;
  if (part.size() < kNameBytesLeast) return {};
  named.look_in(root, {"ls-files", "-z", "--cached"}, part, by);
  named.look_in(root, {"ls-files", "-z", "--others", "--exclude-standard"}, part, by);
  return named.begin.empty() ? named.have : named.begin;
}

std::string common_beginning(const std::vector<std::string>& all) {
  std::string common = all.front();
  for (const auto& one : all) {
    const auto end = std::mismatch(common.begin(), common.end(), one.begin(), one.end()).first;
    common.resize(static_cast<std::size_t>(end - common.begin()));
  }
  // A character may be cut
  while (!common.empty() && printable(common) != common) common.pop_back();
  return common;
}

// The word before the cursor, as it is typed and as it is meant.
struct Typed {
  std::string_view whole;  // @"a na
  std::string name;        // a na
  bool marked = false, quoted = false;
};

Typed typed_name(std::string_view before) {
  const std::string_view line = before.substr(before.rfind('\n') + 1);
  Typed out;
  const bool open = std::ranges::count(line, '"') % 2 == 1;
  if (open) {
    std::size_t begin = before.rfind('"');
    out.name = before.substr(begin + 1);
    out.quoted = true;
    out.marked = begin > 0 && before[begin - 1] == '@';
    out.whole = before.substr(begin - (out.marked ? 1 : 0));
    return out;
  }
  const std::size_t end = before.find_last_of(kEndsWord);
  out.whole = before.substr(end == std::string_view::npos ? 0 : end + 1);
  out.marked = out.whole.starts_with('@');
  out.name = out.whole.substr(out.marked ? 1 : 0);
  return out;
}

Completions names_for(const Typed& typed, const std::string& root, const std::string& directory) {
  Completions out{.word = std::string(typed.whole), .candidates = {}, .becomes = {}, .shown = {}};
  bool at = true;  // they begin as the word does
  Case by = Case::exact;
  for (const Case each : {Case::exact, Case::folded}) {
    by = each;
    at = true;
    if (!directory.empty()) out.candidates = names_at(root + "/" + directory, typed.name, by);
    if (out.candidates.empty()) out.candidates = names_at(root, typed.name, by);
    if (!out.candidates.empty()) break;
    at = false;
    out.candidates = names_anywhere(root, typed.name, by);
    if (!out.candidates.empty()) break;
  }
  out.becomes = out.word;
  if (out.candidates.empty()) return out;
  const bool one = out.candidates.size() == 1;
  const std::string common = common_beginning(out.candidates);
  const bool goes_on = at ? begins_with(common, typed.name, by)
                          : common.starts_with(typed.name) && common.size() > typed.name.size();
  if (!one && !goes_on) return out;
  const bool quoted = typed.quoted ||
                      std::ranges::any_of(out.candidates, [](const std::string& candidate) {
                        return candidate.find_first_of(kEndsWord) != std::string::npos &&
                               candidate.find('"') == std::string::npos;
                      });
  out.becomes = fmt::format("{}{}{}{}", typed.marked ? "@" : "", quoted ? "\"" : "", common,
                            quoted && one && !common.ends_with('/') ? "\"" : "");
  return out;
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

// "main..fe" gives the branches that begin with "fe".
Completions branches_for(std::string_view range, const std::string& root) {
  const std::size_t dots = range.rfind("..");
  std::string_view word = dots == std::string_view::npos ? range : range.substr(dots + 2);
  word.remove_prefix(word.starts_with('.') ? 1 : 0);  // "main...fe"
  std::vector<std::string> names;
  const auto listed = run_git(
      root,
      {"for-each-ref", "--format=%(refname:short)", "--sort=-committerdate",
       fmt::format("--count={}", kBranchesMax), "refs/heads", "refs/remotes"},
      kIndexBytesMax);
  std::string_view rest = listed && listed->status == 0 ? listed->out : std::string_view();
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string name(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (can_be_typed(name)) names.push_back(name);
  }
  return completed(word, names, {});
}

std::optional<Completions> argument_completions(std::string_view before, const std::string& root) {
  for (const std::string_view command : {"policy", "go"})
    if (const auto word = argument_of(command, before)) {
      std::vector<std::string> names, shown;
      for (const daemon::protocol::Policy& p : daemon::protocol::kPolicies) {
        if (command == "go" && p.changes_nothing) continue;
        names.emplace_back(p.id);
        shown.push_back(fmt::format("{:<10} {}", p.id, p.what));
      }
      return completed(*word, names, shown);
    }
  if (const auto range = argument_of("review", before)) return branches_for(*range, root);
  return std::nullopt;
}

}  // namespace

Completions completed(std::string_view word, const std::vector<std::string>& candidates,
                      const std::vector<std::string>& shown) {
  Completions out{
      .word = std::string(word), .candidates = {}, .becomes = std::string(word), .shown = {}};
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (!candidates[i].starts_with(word)) continue;
    out.candidates.push_back(candidates[i]);
    if (!shown.empty()) out.shown.push_back(shown[i]);
  }
  if (!out.candidates.empty()) out.becomes = common_beginning(out.candidates);
  return out;
}

std::optional<std::string_view> argument_of(std::string_view command, std::string_view before) {
  if (!before.starts_with('/') || before.find(' ') != command.size() + 1 ||
      before.substr(1, command.size()) != command)
    return std::nullopt;
  const std::string_view rest = before.substr(command.size() + 1);
  const std::string_view word = rest.substr(std::min(rest.find_first_not_of(' '), rest.size()));
  if (word.find_first_of(" \t\n") != std::string_view::npos) return std::nullopt;
  return word;
}

Completions completions_of(std::string_view before, const std::string& root,
                           const std::string& directory) {
  if (auto argument = argument_completions(before, root)) return *argument;
  Completions out{.word = std::string(before),
                  .candidates = slash_completions(before),
                  .becomes = {},
                  .shown = {}};
  add_skills(before, root, out.candidates);
  if (!out.candidates.empty()) {
    out.becomes = common_beginning(out.candidates);
    return out;
  }
  const Typed typed = typed_name(before);
  if (typed.name.empty() && !typed.marked) return out;
  out = names_for(typed, root, directory);
  if (!out.candidates.empty() || !typed.quoted) return out;
  // A quote of the text itself
  const std::size_t blank = before.find_last_of(kEndsWord);
  const std::string_view word = before.substr(blank + 1);
  if (word.empty()) return out;
  const bool marked = word.starts_with('@');
  return names_for(
      {.whole = word, .name = std::string(word.substr(marked ? 1 : 0)), .marked = marked}, root,
      directory);
}

}  // namespace lares::cli
