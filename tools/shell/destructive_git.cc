#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "tools/shell/commands.h"
#include "tools/shell/git_files.h"
#include "tools/shell/programs.h"
#include "tools/shell/runners.h"
#include "tools/shell/words.h"

namespace lares::tools {
namespace {

constexpr std::size_t kExtensionMax = 6;  // with its dot: what looks like a file's name
// What runs text that is given to it as an argument, in ways that are not looked into.
constexpr std::string_view kInterpreters[] = {
    "python",   "perl",    "ruby",      "node",    "nodejs", "deno",      "ts-node", "php",
    "lua",      "awk",     "gawk",      "mawk",    "nawk",   "tclsh",     "expect",  "pwsh",
    "Rscript",  "su",      "ssh",       "runuser", "vim",    "vi",        "nvim",    "ex",
    "emacs",    "ed",      "gdb",       "lldb",    "tar",    "man",       "less",    "rsync",
    "script",   "busybox", "tmux",      "screen",  "entr",   "nix-shell", "make",    "hyperfine",
    "parallel", "crontab", "osascript", "pypy3"};
// In a text that an interpreter runs, beside git as a string of its own.
constexpr std::string_view kLosing[] = {"clean",  "--hard",  "checkout", "restore", "stash",
                                        "rebase", "--force", "worktree", "reflog"};

using Words = std::vector<std::string>;

bool has_letter(std::string_view word, char letter) {
  return word.size() > 1 && word[0] == '-' && word[1] != '-' &&
         word.find(letter) != std::string_view::npos;
}
// As git takes it: a long option may be cut short.
bool has(const Words& args, std::string_view option, char letter = 0) {
  return std::ranges::any_of(args, [&](const std::string& a) {
    const std::string_view name = std::string_view(a).substr(0, a.find('='));
    return name == option ||
           (name.size() > 2 && name.starts_with("--") && option.starts_with(name)) ||
           (letter && has_letter(a, letter));
  });
}
// What a subcommand's options take a value for: letters, and names with blanks between.
struct Valued {
  std::string_view letters, names;
};
// Its options alone: without their values, and without what stands behind `--`.
Words options_of(const Words& args, Valued valued) {
  Words out;
  for (std::size_t i = 0; i < args.size() && args[i] != "--"; ++i) {
    const std::string& a = args[i];
    if (a.size() < 2 || a[0] != '-') continue;
    if (a[1] != '-') {
      const auto letter = a.find_first_of(valued.letters, 1);
      out.push_back(a.substr(0, letter));  // what stands behind it is its value
      if (letter + 1 == a.size()) ++i;
      continue;
    }
    out.push_back(a);
    const std::string cut = " " + a;  // a long option may be cut short
    if (a.find('=') == std::string::npos && valued.names.find(cut) != std::string_view::npos) ++i;
  }
  return out;
}
// For options that make a command harmless: only as they are written out, and not where one takes
// them back.
bool has_exactly(const Words& args, std::string_view option, char letter = 0,
                 Valued valued = Valued()) {
  bool found = false;
  for (const std::string& a : options_of(args, valued)) {
    if (a.starts_with("--no-") && a.size() > 5 && option.substr(2).starts_with(a.substr(5)))
      return false;
    found = found || a == option || (letter && has_letter(a, letter));
  }
  return found;
}
Words positional(const Words& args) {
  Words out;
  for (const auto& a : args)
    if (a.empty() || a[0] != '-') out.push_back(a);
  return out;
}
// Rather a file than a branch.
bool looks_like_files(std::string_view word) {
  const auto dot = word.rfind('.');
  return word == "." || word.starts_with("./") || word.starts_with("../") ||
         word.starts_with(":") || word.ends_with('/') || word.find('*') != std::string_view::npos ||
         (dot != std::string_view::npos && dot > 0 &&
          word.find('/', dot) == std::string_view::npos && word.size() - dot <= kExtensionMax);
}

constexpr Valued kClean{"e", " --exclude"},
    kRestore{"s", " --source --conflict --pathspec-from-file"},
    kRemove{"", " --pathspec-from-file"}, kCheckout{"bB", " --orphan --conflict"};

constexpr const char* kUncommitted = "throws away uncommitted changes";
constexpr const char* kUntracked = "deletes files that git does not know";
constexpr const char* kHistory = "rewrites or deletes history";
constexpr const char* kRemote = "rewrites or deletes what others have fetched";

const char* checkout_loses(const Words& args,
                           const std::function<bool(const std::string&)>& is_path) {
  if (has(args, "--force", 'f') || std::ranges::find(args, "--") != args.end() ||
      has(args, "--pathspec-from-file") || has(args, "--ours") || has(args, "--theirs"))
    return kUncommitted;
  if (has(args, "", 'B')) return kHistory;
  const Words names = positional(args);
  const bool makes = has_exactly(args, "--orphan", 0, kCheckout) || has(args, "", 'b') ||
                     has_exactly(args, "--track", 't', kCheckout) ||
                     has_exactly(args, "--detach", 0, kCheckout);
  const auto is_files = [&](const std::string& name) {
    return looks_like_files(name) || (is_path && is_path(name));
  };
  if (!makes && (names.size() > 1 || std::ranges::any_of(names, is_files))) return kUncommitted;
  return nullptr;
}

const char* push_loses(const Words& args) {
  if (has(args, "--force", 'f') || has(args, "--force-with-lease") || has(args, "--mirror") ||
      has(args, "--delete", 'd') || has(args, "--prune"))
    return kRemote;
  const Words names = positional(args);
  return std::ranges::any_of(names,
                             [](const auto& n) {
                               return n.starts_with('+') || (n.size() > 1 && n.starts_with(':'));
                             })
             ? kRemote
             : nullptr;
}

// By force a refspec overwrites what it leads to; that these are the remote's own branches as they
// were last seen is what everybody's configuration says.
const char* fetch_loses(const Words& args) {
  const bool force = has(args, "--force", 'f');
  if (has_exactly(args, "--prune-tags", 'P') || (force && has(args, "--tags", 't')))
    return kHistory;
  Words names = positional(args);
  if (!names.empty()) names.erase(names.begin());  // the repository
  const bool overwrites = std::ranges::any_of(names, [&](std::string_view name) {
    const bool forced = force || name.starts_with('+');
    const auto colon = name.find(':');
    return forced && colon != name.npos && colon + 1 < name.size() &&
           !name.substr(colon + 1).starts_with("refs/remotes/");
  });
  return overwrites ? kHistory : nullptr;
}

// Which patch that is, nobody sees: of `git diff` it takes back all that is not committed.
const char* apply_loses(const Words& args) {
  const bool only_looks =
      has_exactly(args, "--check") || has_exactly(args, "--cached") ||
      ((has(args, "--stat") || has(args, "--numstat") || has(args, "--summary")) &&
       !has(args, "--apply"));
  return has(args, "--reverse", 'R') && !only_looks ? kUncommitted : nullptr;
}

// What `git SUB ARGS` loses; null: nothing.
const char* loses(std::string_view sub, const Words& args,
                  const std::function<bool(const std::string&)>& is_path) {
  const auto first = args.empty() ? std::string_view() : std::string_view(args[0]);
  if (sub == "reset")
    return has(args, "--hard") || has(args, "--merge") || has(args, "--keep") ? kUncommitted
                                                                              : nullptr;
  if (sub == "checkout") return checkout_loses(args, is_path);
  if (sub == "restore")
    return has_exactly(args, "--staged", 'S', kRestore) && !has(args, "--worktree", 'W')
               ? nullptr
               : kUncommitted;
  if (sub == "switch")
    return has(args, "--discard-changes", 'f') || has(args, "--force") ? kUncommitted
           : has(args, "--force-create", 'C')                          ? kHistory
                                                                       : nullptr;
  if (sub == "clean") return has_exactly(args, "--dry-run", 'n', kClean) ? nullptr : kUntracked;
  if (sub == "stash") return one_of(first, "drop", "clear") ? kUncommitted : nullptr;
  if (sub == "rm")
    return has_exactly(args, "--cached", 0, kRemove) ||
                   has_exactly(args, "--dry-run", 'n', kRemove) || !has(args, "--force", 'f')
               ? nullptr
               : kUncommitted;
  if (sub == "branch")
    return has(args, "--force", 'f') || has(args, "--delete", 'd') || has(args, "", 'D') ||
                   has(args, "", 'M') || has(args, "", 'C')
               ? kHistory
               : nullptr;
  if (sub == "tag")
    return has(args, "--delete", 'd') || has(args, "--force", 'f') ? kHistory : nullptr;
  if (sub == "push") return push_loses(args);
  if (sub == "fetch" || sub == "pull") return fetch_loses(args);
  if (sub == "apply" && apply_loses(args)) return apply_loses(args);
  if (one_of(sub, "rebase", "filter-branch", "filter-repo", "replace", "prune", "fast-import",
             "read-tree", "checkout-index"))
    return kHistory;
  if (sub == "reflog") return one_of(first, "expire", "delete") ? kHistory : nullptr;
  if (sub == "gc") return has(args, "--prune") ? kHistory : nullptr;
  if (sub == "update-ref") return kHistory;
  if (sub == "worktree") return one_of(first, "remove", "prune") ? kUncommitted : nullptr;
  if (sub == "submodule")
    return one_of(first, "deinit", "update") && has(args, "--force", 'f') ? kUncommitted : nullptr;
  if (sub == "apply" || sub == "am" || sub == "merge" || sub == "cherry-pick" || sub == "revert")
    return has(args, "--abort") || has(args, "--skip") ? kUncommitted : nullptr;
  return nullptr;
}

// Whatever their arguments.
constexpr std::string_view kHarmless[] = {
    "status",     "diff",       "log",          "show",        "blame",        "add",
    "commit",     "ls-files",   "rev-parse",    "grep",        "fetch",        "describe",
    "shortlog",   "archive",    "clone",        "ls-remote",   "ls-tree",      "rev-list",
    "cat-file",   "merge-base", "for-each-ref", "show-ref",    "format-patch", "diff-tree",
    "diff-index", "diff-files", "check-ignore", "hash-object", "name-rev",     "count-objects",
    "init",       "version",    "help"};

std::optional<std::string> git_loses(const ShellReading& reading, const std::string& text,
                                     const std::function<bool(const std::string&)>& is_path) {
  const Words& words = reading.words;
  std::size_t i = 1;
  const auto unknown = [&] {
    return fmt::format("{}: what it does is known only when it runs", text);
  };
  for (std::size_t c = 1; c + 1 < words.size(); ++c)
    if (words[c] == "-c" &&
        (words[c + 1].starts_with("alias.") || words[c + 1].starts_with("Alias.")))
      return unknown();
  while (i < words.size() && !words[i].empty() && words[i][0] == '-')
    i += one_of(words[i], "-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env",
                "--attr-source", "--super-prefix")
             ? 2
             : 1;
  if (i >= words.size())
    return reading.certain ? std::nullopt : std::optional<std::string>(unknown());
  if (words[i] == "config" &&
      std::any_of(words.begin() + static_cast<std::ptrdiff_t>(i), words.end() - 1,
                  [](const auto& w) { return w.starts_with("alias."); }))
    return unknown();
  if (const char* const lost = loses(
          words[i], {words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end()}, is_path))
    return fmt::format("{} {}", text, lost);
  // A word that may be any is a refspec with force as well.
  const bool any_refspec =
      words[i] == "fetch" &&
      std::ranges::any_of(
          positional({words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end()}),
          [first = true](const std::string& word) mutable {
            return !std::exchange(first, false) && is_marked(word.substr(0, 1));
          });
  const bool harmless = !any_refspec &&
                        std::ranges::find(kHarmless, words[i]) != std::end(kHarmless);
  if (reading.certain || harmless) return std::nullopt;
  return unknown();
}

// Whether it runs a script of such a name, by a shell or by its path.
bool runs_file(const ShellCommand& command, const std::set<std::string_view>& names) {
  const auto named = [&](const std::string& word) { return names.contains(base_name(word)); };
  const std::string_view name = base_name(command.words[0]);
  if (is_shell(name) || one_of(name, "source", "."))
    return std::any_of(command.words.begin() + 1, command.words.end(), named);
  return command.words[0].find('/') != std::string::npos && named(command.words[0]);
}

// Of a program that is named by what the script was given: `$x clean -fdx`. Fewer than of git
// itself, for `$DOCKER rm -f a` is no git.
bool reads_like_git(const Words& words, const std::function<bool(const std::string&)>& is_path) {
  std::size_t i = 1;
  while (i < words.size() && words[i].starts_with('-')) i += one_of(words[i], "-C", "-c") ? 2 : 1;
  if (i >= words.size()) return false;
  const std::string_view sub = words[i];
  const Words args(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
  if (sub == "clean") return has(args, "--force", 'f') && loses(sub, args, is_path);
  if (sub == "checkout")
    return has(args, "--force", 'f') ||
           std::ranges::any_of(args, [](const auto& a) { return one_of(a, "--", ".", "./"); });
  return one_of(sub, "reset", "stash", "branch", "push", "rebase", "worktree", "update-ref",
                "reflog", "filter-branch") &&
         loses(sub, args, is_path);
}

bool interprets(std::string_view name) {
  // python3.11
  if (name.starts_with("python")) name = name.substr(0, name.find_last_not_of("0123456789.") + 1);
  return std::ranges::find(kInterpreters, name) != std::end(kInterpreters);
}
// `os.system("git x")`, `run(["git", "clean"])`.
bool runs_git(std::string_view text) {
  constexpr auto npos = std::string_view::npos;
  return text.find("git ") != npos ||
         ((text.find("git\"") != npos || text.find("git'") != npos) &&
          std::ranges::any_of(kLosing, [&](auto word) { return text.find(word) != npos; }));
}
// `1e git x`, `s/a/git x/e`.
bool sed_runs_git(std::string_view text) {
  const auto at = text.find("e git ");
  const auto flags = text.substr(text.rfind('/') + 1);
  return (at != std::string_view::npos &&
          (at == 0 || !std::isalpha(static_cast<unsigned char>(text[at - 1])))) ||
         (text.find("git ") != std::string_view::npos && flags.size() < text.size() &&
          flags.find_first_not_of("egpmIMi0123456789") == std::string_view::npos &&
          flags.find('e') != std::string_view::npos);
}

bool any_reading(const ShellScript& script, bool (*is_it)(const ShellReading&)) {
  return std::ranges::any_of(script.commands, [&](const ShellCommand& command) {
    return std::ranges::any_of(command.readings, is_it);
  });
}

// `git diff | patch -R`: which patch that is, nobody sees here either.
bool is_reverse_patch(const ShellReading& reading) {
  const Words args(reading.words.begin() + 1, reading.words.end());
  return base_name(reading.words[0]) == "patch" && has(args, "--reverse", 'R') &&
         !has(args, "--dry-run");
}

std::optional<std::string> reading_loses(const ShellReading& reading, const std::string& text,
                                         const std::function<bool(const std::string&)>& is_path,
                                         GitBy by) {
  const Words& words = reading.words;
  const std::string_view name = base_name(words[0]);
  const auto unknown = [&](const char* because) { return fmt::format("{}: {}", text, because); };
  if (name == "git") return git_loses(reading, text, is_path);
  if (name.starts_with("git-") && !is_marked(name))
    if (const char* const lost = loses(name.substr(4), {words.begin() + 1, words.end()}, is_path))
      return fmt::format("{} {}", text, lost);
  if (one_of(name, "cp", "ln", "mv", "install", "hash") &&
      std::any_of(words.begin() + 1, words.end(),
                  [](const std::string& w) { return w.ends_with("/bin/git"); }))
    return unknown("what git does under another name is not seen");
  if (reading.hidden && (by == GitBy::any_way || !is_marked(name)))
    return unknown("which program that is, is known only when it runs");
  if (is_marked(name) && reads_like_git(words, is_path))
    return unknown("if that is git, it loses work");
  if ((interprets(name) && std::ranges::any_of(words, runs_git)) ||
      (one_of(name, "sed", "gsed") && std::ranges::any_of(words, sed_runs_git)))
    return unknown("it names git, and what it does is known only when it runs");
  if (loses_git_files(reading)) return fmt::format("{} {}", text, kHistory);
  return std::nullopt;
}

}  // namespace

std::optional<std::string> destructive_git(const ShellScript& script,
                                           const std::function<bool(const std::string&)>& is_path,
                                           GitBy by) {
  for (const ShellCommand& command : script.commands)
    for (const ShellReading& reading : command.readings)
      if (by == GitBy::name && base_name(reading.words[0]) != "git")
        continue;
      else if (auto lost = reading_loses(reading, command.text, is_path, by))
        return lost;
  if (by == GitBy::name) return std::nullopt;
  for (const std::string& file : script.written)
    if (holds_history(file)) return fmt::format("> {} {}", file, kHistory);
  if (any_reading(script, finds_git_dirs) && any_reading(script, removes_what_is_given))
    return fmt::format("it finds directories called .git, and removes what it has found: that {}",
                       kHistory);
  if (script.names_git && any_reading(script, is_reverse_patch))
    return fmt::format("patch -R of what git prints {}", kUncommitted);
  if (!script.made.empty())
    return fmt::format("{}: what it runs is made only when it runs", script.made);
  if (script.given_up)
    return "it is nested too deeply or takes too long to read, and may run git; a shorter script "
           "is "
           "read";
  if (script.hides_git) return "it may run git, and not all of it can be read";
  // What it writes and then runs cannot be looked into before.
  if (!script.names_git) return std::nullopt;
  std::set<std::string_view> written;
  for (const std::string& file : script.written) written.insert(base_name(file));
  for (const ShellCommand& command : script.commands)
    if (runs_file(command, written))
      return fmt::format("{}: the script names git, and writes first what this runs", command.text);
  return std::nullopt;
}

}  // namespace lares::tools
