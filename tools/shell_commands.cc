#include "tools/shell_commands.h"

#include <tree_sitter/api.h>

#include <algorithm>
#include <array>
#include <memory>

#include <fmt/format.h>

#include "tools/outline_languages.h"
#include "tools/outline_node.h"

namespace lares::tools {
namespace {

constexpr std::size_t kScriptBytesMax = 256 << 10;
constexpr std::size_t kExtensionMax = 6;  // with its dot: what looks like a file's name
constexpr int kNestingMax = 4;  // sh -c 'sh -c ...'

template <class... T>
bool one_of(std::string_view word, const T&... words) {
  return ((word == words) || ...);
}

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// What a program that only runs another takes before that: options with a value of their own, and plain values.
struct Runner {
  std::string_view name, valued;  // the options' letters
  int n_values = 0;
  bool assignments = false;
  bool adds_words = false;  // that its text does not have
};
constexpr std::array<Runner, 22> kRunners{{{"sudo", "ugCDhpRrTt"}, {"doas", "uC"}, {"env", "uC", 0, true}, {"command", ""}, {"builtin", ""},
                                           {"exec", "a"}, {"nohup", ""}, {"setsid", ""}, {"time", "fo"}, {"nice", "n"}, {"ionice", "cnp"},
                                           {"stdbuf", "ioe"}, {"timeout", "ks", 1}, {"xargs", "EIILPadns", 0, false, true}, {"chroot", "", 1}, {"strace", "eopsu"},
                                           {"flock", "wE", 1}, {"unbuffer", ""}, {"chrt", "", 1}, {"taskset", "", 1}, {"parallel", "jN", 0, false, true},
                                           {"watch", "n"}}};
// What runs text that is given to it as an argument, in ways that are not looked into.
constexpr std::string_view kInterpreters[] = {"python", "python2", "python3", "perl", "ruby", "node", "php", "lua", "awk", "gawk", "su", "script", "ssh", "expect", "make"};

bool is_assignment(std::string_view word) {
  const auto at = word.find('=');
  return at != std::string_view::npos && at > 0 && word[0] != '-';
}

// The place of the command that `words` run in the end; `adds_words` is set where it is run with more than they say.
std::size_t skip_runners(const std::vector<std::string>& words, bool& adds_words) {
  std::size_t i = 0;
  for (;;) {
    if (i >= words.size()) return 0;
    const auto runner = std::ranges::find(kRunners, base_name(words[i]), &Runner::name);
    if (runner == kRunners.end()) return i;
    adds_words = adds_words || runner->adds_words;
    std::size_t next = i + 1;
    for (int values = runner->n_values; next < words.size();) {
      const std::string& word = words[next];
      if (word == "--") {
        ++next;
        break;
      }
      if (word.size() > 1 && word[0] == '-') next += word.size() == 2 && runner->valued.find(word[1]) != std::string_view::npos ? 2 : 1;
      else if (runner->assignments && is_assignment(word)) ++next;
      else if (values-- > 0) ++next;
      else break;
    }
    if (next >= words.size()) return i;  // it runs nothing: `env`, `time` alone
    i = next;
  }
}

class Reader {
 public:
  explicit Reader(ShellScript& out) : out_(out) {}

  void read(std::string_view script, int depth) {
    if (script.size() > kScriptBytesMax || depth > kNestingMax) {
      out_.understood = false;
      return;
    }
    const Language* const bash = language_for("sh");
    const std::unique_ptr<TSParser, void (*)(TSParser*)> parser(ts_parser_new(), ts_parser_delete);
    ts_parser_set_language(parser.get(), bash->grammar());
    const std::unique_ptr<TSTree, void (*)(TSTree*)> tree(ts_parser_parse_string(parser.get(), nullptr, script.data(), static_cast<std::uint32_t>(script.size())),
                                                          ts_tree_delete);
    if (!tree) {
      out_.understood = false;
      return;
    }
    const TSNode root = ts_tree_root_node(tree.get());
    if (ts_node_has_error(root)) out_.understood = false;
    if (script.find("git") != std::string_view::npos) out_.names_git = true;
    walk(root, script, depth);
  }

 private:
  // Every command below `node`, by hand rather than by recursion: a script may nest as deep as it likes.
  void walk(TSNode root, std::string_view script, int depth) {
    TSTreeCursor cursor = ts_tree_cursor_new(root);
    for (bool more = true; more;) {
      const TSNode node = ts_tree_cursor_current_node(&cursor);
      const std::string_view type = type_of(node);
      if (type == "command") command(node, script, depth);
      if (type == "variable_assignment" || type == "declaration_command") out_.does_more = true;
      if (type == "file_redirect" && writes(node, script)) out_.does_more = true;
      if (ts_tree_cursor_goto_first_child(&cursor)) continue;
      while (!ts_tree_cursor_goto_next_sibling(&cursor))
        if (!ts_tree_cursor_goto_parent(&cursor)) {
          more = false;
          break;
        }
    }
    ts_tree_cursor_delete(&cursor);
  }

  static std::string_view text_of(TSNode node, std::string_view script) {
    return script.substr(ts_node_start_byte(node), ts_node_end_byte(node) - ts_node_start_byte(node));
  }

  static bool writes(TSNode redirect, std::string_view script) {
    const std::string_view text = text_of(redirect, script);
    const auto at = text.find_first_of("<>");
    if (at == std::string_view::npos || (text[at] == '<' && text.find('>') == std::string_view::npos)) return false;
    std::string_view to = text.substr(text.find_last_of(">&|") + 1);
    while (!to.empty() && to.front() == ' ') to.remove_prefix(1);
    return to != "/dev/null" && to != "-" && to.find_first_not_of("0123456789") != std::string_view::npos;
  }

  // A word without its quotes; `certain` is cleared where it depends on the run.
  static std::string word(TSNode node, std::string_view script, bool& certain) {
    const std::string_view type = type_of(node), text = text_of(node, script);
    if (type == "raw_string") return std::string(text.size() >= 2 ? text.substr(1, text.size() - 2) : text);
    if (type == "word" || type == "number" || type == "string_content" || type == "command_name") {
      if (type == "command_name" && ts_node_named_child_count(node) > 0) return word(ts_node_named_child(node, 0), script, certain);
      std::string out;
      for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) {
          if (text[++i] != '\n') out += text[i];
          continue;
        }
        if (type == "word" && std::string_view("*?[~{").find(text[i]) != std::string_view::npos) certain = false;
        out += text[i];
      }
      return out;
    }
    if (type == "string" || type == "concatenation") {
      std::string out;
      for (std::uint32_t i = 0; i < ts_node_named_child_count(node); ++i) out += word(ts_node_named_child(node, i), script, certain);
      return out;
    }
    certain = false;  // an expansion, a substitution, $'...'
    return std::string(text);
  }

  void command(TSNode node, std::string_view script, int depth) {
    if (out_.commands.size() == kShellCommandsMax) {
      out_.understood = false;
      return;
    }
    std::vector<std::string> words;
    std::vector<bool> certain;
    for (std::uint32_t i = 0; i < ts_node_child_count(node); ++i) {
      const char* const name = ts_node_field_name_for_child(node, i);
      if (!name || !one_of(std::string_view(name), "name", "argument")) continue;
      bool sure = true;
      words.push_back(word(ts_node_child(node, i), script, sure));
      certain.push_back(sure);
    }
    for (std::size_t i = 0; i + 1 < words.size(); ++i)
      if (base_name(words[i]) == "env" && (words[i + 1].starts_with("-S") || words[i + 1].starts_with("--s"))) out_.understood = false;  // its value is a script
    bool adds_words = false;
    const std::size_t first = skip_runners(words, adds_words);
    if (first > 0) out_.does_more = true;
    words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(first));
    certain.erase(certain.begin(), certain.begin() + static_cast<std::ptrdiff_t>(first));
    if (words.empty()) return;
    const bool all = !adds_words && std::ranges::all_of(certain, [](bool c) { return c; });
    out_.commands.push_back({words, all, fmt::format("{}", fmt::join(words, " "))});
    inner(words, certain, depth);
  }

  // Shells that are given a script, and what is read or made to be one.
  void inner(const std::vector<std::string>& words, const std::vector<bool>& certain, int depth) {
    const std::string_view name = base_name(words[0]);
    if (!certain[0] || one_of(name, "source", ".")) out_.understood = false;
    if (name == "find") return found(words);
    std::size_t script = 0;
    if (name == "eval") {
      script = 1;
    } else if (one_of(name, "sh", "bash", "dash", "zsh", "ksh", "ash")) {
      for (std::size_t i = 1; i + 1 < words.size() && script == 0; ++i)
        if (words[i].size() > 1 && words[i][0] == '-' && words[i][1] != '-' && words[i].find('c') != std::string::npos) script = i + 1;
      while (script != 0 && script + 1 < words.size() && one_of(words[script], "--", "-e", "-x", "-u")) ++script;
      if (script == 0) out_.understood = false;  // what it runs comes from a file, or from what is written to it
    }
    if (script == 0 || script >= words.size()) return;
    std::string text = words[script];
    bool sure = certain[script];
    for (std::size_t i = script + 1; name == "eval" && i < words.size(); ++i) text += " " + words[i], sure = sure && certain[i];
    if (sure) read(text, depth + 1);
    else out_.understood = false;
  }

  // find -exec git ... \;
  void found(const std::vector<std::string>& words) {
    for (std::size_t i = 1; i < words.size(); ++i) {
      if (words[i] == "-delete") out_.does_more = true;
      if (!one_of(words[i], "-exec", "-execdir", "-ok", "-okdir")) continue;
      out_.does_more = true;
      ShellCommand run;
      for (++i; i < words.size() && !one_of(words[i], ";", "+"); ++i) run.words.push_back(words[i]);
      if (run.words.empty()) continue;
      run.certain = false;
      run.text = fmt::format("{}", fmt::join(run.words, " "));
      if (out_.commands.size() < kShellCommandsMax) out_.commands.push_back(std::move(run));
    }
  }

  ShellScript& out_;
};

// ---- git

using Words = std::vector<std::string>;

bool has_letter(std::string_view word, char letter) {
  return word.size() > 1 && word[0] == '-' && word[1] != '-' && word.find(letter) != std::string_view::npos;
}
// As git takes it: a long option may be cut short.
bool has(const Words& args, std::string_view option, char letter = 0) {
  return std::ranges::any_of(args, [&](const std::string& a) {
    const std::string_view name = std::string_view(a).substr(0, a.find('='));
    return name == option || (name.size() > 2 && name.starts_with("--") && option.starts_with(name)) || (letter && has_letter(a, letter));
  });
}
// For options that make a command harmless: only as they are written out.
bool has_exactly(const Words& args, std::string_view option, char letter = 0) {
  return std::ranges::any_of(args, [&](const std::string& a) { return a == option || (letter && has_letter(std::string_view(a).substr(0, a.find('e', 1)), letter)); });
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
  return word == "." || word.starts_with("./") || word.starts_with("../") || word.starts_with(":") || word.ends_with('/') || word.find('*') != std::string_view::npos ||
         (dot != std::string_view::npos && dot > 0 && word.find('/', dot) == std::string_view::npos && word.size() - dot <= kExtensionMax);
}

constexpr const char* kUncommitted = "throws away uncommitted changes";
constexpr const char* kUntracked = "deletes files that git does not know";
constexpr const char* kHistory = "rewrites or deletes history";
constexpr const char* kRemote = "rewrites or deletes what others have fetched";

const char* checkout_loses(const Words& args, const std::function<bool(const std::string&)>& is_path) {
  if (has(args, "--force", 'f') || std::ranges::find(args, "--") != args.end() || has(args, "--pathspec-from-file") || has(args, "--ours") || has(args, "--theirs")) return kUncommitted;
  if (has(args, "", 'B')) return kHistory;
  const Words names = positional(args);
  const bool makes = has_exactly(args, "--orphan", 'b') || has_exactly(args, "--track", 't') || has_exactly(args, "--detach");
  const auto is_files = [&](const std::string& name) { return looks_like_files(name) || (is_path && is_path(name)); };
  if (!makes && (names.size() > 1 || std::ranges::any_of(names, is_files))) return kUncommitted;
  return nullptr;
}

const char* push_loses(const Words& args) {
  if (has(args, "--force", 'f') || has(args, "--force-with-lease") || has(args, "--mirror") || has(args, "--delete", 'd') || has(args, "--prune")) return kRemote;
  const Words names = positional(args);
  return std::ranges::any_of(names, [](const auto& n) { return n.starts_with('+') || (n.size() > 1 && n.starts_with(':')); }) ? kRemote : nullptr;
}

// What `git SUB ARGS` loses; null: nothing.
const char* loses(std::string_view sub, const Words& args, const std::function<bool(const std::string&)>& is_path) {
  const auto first = args.empty() ? std::string_view() : std::string_view(args[0]);
  if (sub == "reset") return has(args, "--hard") || has(args, "--merge") || has(args, "--keep") ? kUncommitted : nullptr;
  if (sub == "checkout") return checkout_loses(args, is_path);
  if (sub == "restore") return has_exactly(args, "--staged", 'S') && !has(args, "--worktree", 'W') ? nullptr : kUncommitted;
  if (sub == "switch") return has(args, "--discard-changes", 'f') || has(args, "--force") ? kUncommitted : has(args, "--force-create", 'C') ? kHistory : nullptr;
  if (sub == "clean") return has_exactly(args, "--dry-run", 'n') ? nullptr : kUntracked;
  if (sub == "stash") return one_of(first, "drop", "clear") ? kUncommitted : nullptr;
  if (sub == "rm") return has_exactly(args, "--cached") || has_exactly(args, "--dry-run", 'n') || !has(args, "--force", 'f') ? nullptr : kUncommitted;
  if (sub == "branch") return has(args, "--force", 'f') || has(args, "--delete", 'd') || has(args, "", 'D') || has(args, "", 'M') || has(args, "", 'C') ? kHistory : nullptr;
  if (sub == "tag") return has(args, "--delete", 'd') || has(args, "--force", 'f') ? kHistory : nullptr;
  if (sub == "push") return push_loses(args);
  if (one_of(sub, "rebase", "filter-branch", "filter-repo", "replace", "prune", "fast-import", "read-tree", "checkout-index")) return kHistory;
  if (sub == "reflog") return one_of(first, "expire", "delete") ? kHistory : nullptr;
  if (sub == "gc") return has(args, "--prune") ? kHistory : nullptr;
  if (sub == "update-ref") return kHistory;
  if (sub == "worktree") return one_of(first, "remove", "prune") ? kUncommitted : nullptr;
  if (sub == "submodule") return one_of(first, "deinit", "update") && has(args, "--force", 'f') ? kUncommitted : nullptr;
  if (sub == "apply" || sub == "am" || sub == "merge" || sub == "cherry-pick" || sub == "revert") return has(args, "--abort") || has(args, "--skip") ? kUncommitted : nullptr;
  return nullptr;
}

std::optional<std::string> git_loses(const ShellCommand& command, const std::function<bool(const std::string&)>& is_path) {
  const Words& words = command.words;
  std::size_t i = 1;
  const auto unknown = [&] { return fmt::format("{}: what it does is known only when it runs", command.text); };
  for (std::size_t c = 1; c + 1 < words.size(); ++c)
    if (words[c] == "-c" && (words[c + 1].starts_with("alias.") || words[c + 1].starts_with("Alias."))) return unknown();
  while (i < words.size() && !words[i].empty() && words[i][0] == '-') i += one_of(words[i], "-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path") ? 2 : 1;
  if (i >= words.size()) return std::nullopt;
  if (const char* const lost = loses(words[i], {words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end()}, is_path))
    return fmt::format("{} {}", command.text, lost);
  const bool harmless = one_of(words[i], "status", "diff", "log", "show", "blame", "add", "commit", "ls-files", "rev-parse", "grep", "fetch", "describe", "shortlog");
  if (command.certain || harmless) return std::nullopt;
  return unknown();
}

}  // namespace

ShellScript shell_commands(std::string_view script) {
  ShellScript out;
  Reader(out).read(script, 0);
  return out;
}

std::optional<std::string> destructive_git(const ShellScript& script, const std::function<bool(const std::string&)>& is_path) {
  for (const ShellCommand& command : script.commands) {
    const std::string_view name = base_name(command.words[0]);
    if (name == "git")
      if (auto lost = git_loses(command, is_path)) return lost;
    const bool interprets = std::ranges::find(kInterpreters, name) != std::end(kInterpreters);
    if (interprets && command.text.find("git ") != std::string::npos) return fmt::format("{}: it names git, and what it does is known only when it runs", command.text);
    const auto is_git_dir = [](std::string_view word) {
      while (word.size() > 1 && word.ends_with('/')) word.remove_suffix(1);
      return base_name(word) == ".git" || word.find(".git/") != std::string_view::npos || (base_name(word).starts_with(".git") && word.find_first_of("*?[") != std::string_view::npos);
    };
    if (one_of(name, "rm", "rmdir", "shred", "unlink", "mv") && std::any_of(command.words.begin() + 1, command.words.end(), is_git_dir))
      return fmt::format("{} {}", command.text, kHistory);
  }
  if (!script.understood && script.names_git) return "it names git, and what it runs is known only when it runs";
  return std::nullopt;
}

}  // namespace lares::tools
