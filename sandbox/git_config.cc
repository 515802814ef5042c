#include "sandbox/git_config.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace lares::sandbox {
namespace {

// Names of settings whose value is a program, in whatever section: filter.*.clean, diff.*.textconv,
// gpg.*.program.
constexpr std::array<std::string_view, 35> kPrograms = {"hookspath",
                                                        "fsmonitor",
                                                        "sshcommand",
                                                        "editor",
                                                        "pager",
                                                        "askpass",
                                                        "gitproxy",
                                                        "alternaterefscommand",
                                                        "clean",
                                                        "smudge",
                                                        "process",
                                                        "external",
                                                        "command",
                                                        "textconv",
                                                        "driver",
                                                        "cmd",
                                                        "helper",
                                                        "program",
                                                        "defaultkeycommand",
                                                        "uploadpack",
                                                        "receivepack",
                                                        "vcs",
                                                        "packobjectshook",
                                                        "difffilter",
                                                        "templatedir",
                                                        "tunnel",
                                                        "browser",
                                                        "sendmailcmd",
                                                        "tocmd",
                                                        "cccmd",
                                                        "headercmd",
                                                        "smtpserver",
                                                        "httpd",
                                                        "recentobjectshook",
                                                        "authorsprog"};
// Sections of which every setting does.
constexpr std::array<std::string_view, 3> kSections = {"pager", "guitool", "man"};
// Where `path` is a program's.
constexpr std::array<std::string_view, 4> kPathSections = {"mergetool", "difftool", "browser",
                                                           "lfs"};
// Commands of git that an alias may stand for: no option of theirs runs what the worktree holds but
// by what kInAliases are in.
constexpr std::array<std::string_view, 20> kAliased = {
    "add",  "blame",    "branch",   "checkout", "cherry-pick", "commit",  "describe",
    "diff", "log",      "ls-files", "merge",    "reset",       "restore", "rev-parse",
    "show", "shortlog", "stash",    "status",   "switch",      "tag"};
// A path, or what a shell reads; an option that writes a file, or its beginning.
constexpr std::string_view kInAliases = "/\\!`$;|&<>\n";
constexpr std::string_view kWritesFile = "--ou";
// What is looked up in PATH, or is no program at all.
constexpr std::array<std::string_view, 19> kHarmless = {
    "",    "true", "false", "yes", "no",  "on",   "off",   "0",      "1",    ":",
    "cat", "less", "more",  "vi",  "vim", "nano", "emacs", "always", "never"};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string_view trimmed(std::string_view text) {
  const auto from = text.find_first_not_of(" \t\r\v\f");
  return from == text.npos ? std::string_view()
                           : text.substr(from, text.find_last_not_of(" \t\r\v\f") - from + 1);
}

char escaped(char c) { return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'b' ? '\b' : c; }

// As git takes it: quotes away, a comment cut, what is escaped as what it stands for.
std::string value_of(std::string_view text) {
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size())
      out += escaped(text[++i]);
    else if (text[i] == '"')
      quoted = !quoted;
    else if (!quoted && (text[i] == '#' || text[i] == ';'))
      break;
    else
      out += text[i];
  }
  return std::string(trimmed(out));
}

// A helper by its name alone is one of git's own or in the user's PATH. `store` writes passwords
// into the file that it is told, which may be one of the worktree.
bool names_helper(std::string_view value) {
  constexpr std::string_view kOthers = "-_= .";
  if (value.starts_with("store ")) return false;
  return std::ranges::all_of(value, [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || kOthers.find(c) != kOthers.npos;
  });
}

bool has(const auto& all, std::string_view one) { return std::ranges::find(all, one) != all.end(); }

// git's own options before the command may lead to any configuration, and those of `grep`, `rebase`
// and the like to any program: an alias is harmless where it is a plain command.
bool alias_runs(std::string_view value) {
  const auto end = std::min(value.find_first_of(" \t"), value.size());
  return !has(kAliased, value.substr(0, end)) || value.find_first_of(kInAliases) != value.npos ||
         value.find(kWritesFile) != value.npos;
}

bool runs(std::string_view section, std::string_view sub, std::string_view key,
          std::string_view value) {
  // Files and directories, which may have any name.
  if (section == "include" || section == "includeif" || section == "hook") return true;
  if (key == "hookspath" || key == "templatedir") return !value.empty() && value != "/dev/null";
  if (section == "protocol") return (sub.empty() || lower(sub) == "ext") && value != "never";
  if (section == "alias") return alias_runs(value);
  if (section == "submodule" && key == "update") return value.starts_with('!');
  if (value.starts_with("ext::")) return true;
  if (section == "trailer" && (key == "command" || key == "cmd")) return true;
  if (key == "path" && has(kPathSections, section)) return true;
  if (has(kHarmless, lower(value))) return false;
  if (key == "helper" && section == "credential") return !names_helper(value);
  if (section == "url")
    return key == "insteadof" || key == "pushinsteadof";  // of another's address
  return has(kSections, section) || has(kPrograms, key) || key.ends_with("-command");
}

// Where a backslash at a line's end leads on into the next line.
enum class Joined { as_git_does, always, never };

// The end of the line that `text` begins with, when a comment is no line to go on from.
std::size_t end_of_setting(std::string_view text) {
  bool quoted = false, comment = false;
  std::size_t end = 0;
  for (; end < text.size() && text[end] != '\n'; ++end) {
    if (comment) continue;
    if (text[end] == '"') quoted = !quoted;
    comment = !quoted && (text[end] == '#' || text[end] == ';');
    if (text[end] == '\\') end += text.substr(end + 1).starts_with("\r\n") ? 2 : 1;
  }
  return std::min(end, text.size());
}

std::string next_line(std::string_view& text, Joined joined) {
  std::string out;
  auto left = joined == Joined::as_git_does ? end_of_setting(text) : text.size();
  while (!text.empty()) {
    const auto end = std::min({text.find('\n'), text.size(), left});
    auto line = text.substr(0, end);
    const bool last = end == left;
    text.remove_prefix(std::min(end + 1, text.size()));
    left -= std::min(end + 1, left);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (last || joined == Joined::never || !line.ends_with('\\')) return out.append(line);
    out.append(line.substr(0, line.size() - 1));
  }
  return out;
}

// Takes "[section "sub"]" off the line's front.
bool take_section(std::string_view& line, std::string& section, std::string& sub) {
  std::size_t i = 1;
  bool quoted = false;
  for (; i < line.size() && (quoted || line[i] != ']'); ++i) {
    if (line[i] == '\\')
      ++i;
    else if (line[i] == '"')
      quoted = !quoted;
  }
  if (i >= line.size()) return false;
  const auto head = line.substr(1, i - 1);
  // "[section.sub]" is the old form
  const auto end = std::min(head.find_first_of(" \t\".", 0), head.size());
  section = lower(head.substr(0, end));
  sub = std::string(trimmed(head.substr(end)));
  std::erase_if(sub, [](char c) { return c == '"' || c == '.'; });
  line = trimmed(line.substr(i + 1));
  return true;
}

void judge(std::string_view text, Joined joined, ConfigVerdict& out) {
  std::string section, sub;
  while (!text.empty()) {
    const std::string whole = next_line(text, joined);
    std::string_view line = trimmed(whole);
    while (line.starts_with('['))
      if (!take_section(line, section, sub)) break;
    if (line.empty() || line[0] == '#' || line[0] == ';' || line[0] == '[') continue;
    const auto equals = line.find('=');
    const auto name = trimmed(line.substr(0, equals));
    const auto key = lower(name);
    const auto value = equals == line.npos ? "true" : value_of(line.substr(equals + 1));
    if (section == "core" && key == "worktree") out.worktrees.push_back(value);
    if (section == "core" && key == "hookspath") out.hooks.push_back(value);
    if ((section == "include" || section == "includeif") && key == "path")
      out.includes.push_back(value);
    if (!out.runs.empty() || !runs(section, sub, key, value)) continue;
    out.runs = section + ".";
    if (!sub.empty()) out.runs += "*.";
    out.runs += name;
  }
}

}  // namespace

ConfigVerdict judge_config(std::string_view text) {
  ConfigVerdict out;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  // What any reading finds counts: other versions of git, and other programs, may join otherwise.
  for (const auto joined : {Joined::as_git_does, Joined::always, Joined::never})
    judge(text, joined, out);
  return out;
}

}  // namespace lares::sandbox
