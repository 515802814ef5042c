#include "tools/shell/commands.h"

#include <fnmatch.h>
#include <tree_sitter/api.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "tools/outline/languages.h"
#include "tools/outline/node.h"
#include "tools/shell/effort.h"
#include "tools/shell/runners.h"
#include "tools/shell/substitutions.h"
#include "tools/shell/words.h"

namespace lares::tools {
namespace {

constexpr std::size_t kScriptBytesMax = 128 << 10;
constexpr int kNestingMax = 4;                      // sh -c 'sh -c ...'
constexpr std::size_t kReadingsMax = 64;            // of one command
constexpr std::size_t kReadBytesMax = 4 << 20;      // of texts that are run, one within the other
constexpr std::size_t kReadingBytesMax = 16 << 20;  // of all readings
constexpr int kOpenMax = 1000;  // brackets that are not closed yet: people do not write that
constexpr std::size_t kReadLeast = 512;    // that a text counts for
constexpr std::size_t kPieceBytes = 1024;  // that are given to the parser at a time
constexpr std::size_t kNodeCosts = 8;      // as much as so many bytes
constexpr std::size_t kCopiedAtOnce = 16, kErrorsEvery = 2048;  // bytes
constexpr std::size_t kStepsOfParser = 100;                     // between two calls of its callback
constexpr std::size_t kParentsMax = 64;  // looked at to see where a shell's input comes from
// What runs a command that stands somewhere behind it, and has subcommands or scripts of its own.
constexpr std::string_view kCarriers[] = {
    "npx",    "npm", "yarn",  "pnpm", "bun",   "bunx", "poetry", "uv",     "pipenv",
    "bundle", "nix", "conda", "pdm",  "hatch", "rye",  "direnv", "dotenv", "docker"};
// What does little else; where the command begins depends on its options.
constexpr std::string_view kLaunchers[] = {"perf",         "systemd-run",
                                           "setarch",      "prlimit",
                                           "runuser",      "faketime",
                                           "linux32",      "linux64",
                                           "ltrace",       "rr",
                                           "valgrind",     "firejail",
                                           "bwrap",        "proot",
                                           "torsocks",     "proxychains",
                                           "cgexec",       "dbus-run-session",
                                           "xvfb-run",     "rlwrap",
                                           "uclampset",    "i386",
                                           "x86_64",       "eatmydata",
                                           "proxychains4", "start-stop-daemon"};
// What runs none of the words it is given, however they read.
constexpr std::string_view kTalkers[] = {
    "git",    "echo",     "printf", "grep",  "egrep",   "fgrep",   "rg",     "ag",      "ack",
    "man",    "info",     "tldr",   "help",  "which",   "whereis", "type",   "apropos", "whatis",
    "apt",    "apt-get",  "dnf",    "yum",   "apk",     "brew",    "pacman", "zypper",  "snap",
    "pip",    "pip3",     "pipx",   "cargo", "gem",     "go",      "dpkg",   "rpm",     "hub",
    "gh",     "ls",       "cat",    "cd",    "mkdir",   "touch",   "rm",     "cp",      "mv",
    "ln",     "sed",      "head",   "tail",  "wc",      "sort",    "diff",   "tr",      "cut",
    "tee",    "basename", "file",   "stat",  "test",    "set",     "read",   "unset",   "alias",
    ":",      "true",     "false",  "exit",  "return",  "make",    "gmake",  "ninja",   "ctest",
    "tar",    "zip",      "rsync",  "scp",   "curl",    "wget",    "jq",     "chmod",   "du",
    "export", "local",    "pushd",  "hash",  "command", "code",    "vim",    "less"};
// What a shell or git runs in the course of another command.
constexpr std::string_view kRunVariables[] = {
    "PROMPT_COMMAND",    "EDITOR",           "VISUAL",      "PAGER",   "GIT_EDITOR",
    "GIT_PAGER",         "MANPAGER",         "LESSOPEN",    "GIT_SSH", "GIT_SEQUENCE_EDITOR",
    "GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND",  "GIT_ASKPASS", "FCEDIT",  "SSH_ASKPASS",
    "BROWSER",           "GIT_PROXY_COMMAND"};
// Builtins that take their arguments for names of variables, or for arithmetic.
constexpr std::string_view kEvaluators[] = {"test",      "let",     "printf",  "read", "mapfile",
                                            "readarray", "getopts", "unset",   "wait", "declare",
                                            "typeset",   "local",   "compgen", "["};
constexpr std::size_t kCarriedMax = 8;  // places where a command may begin behind another

template <class... T>
bool one_of(std::string_view word, const T&... words) {
  return ((word == words) || ...);
}

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

// What a name that is made when it runs must not be.
bool could_run_git(const std::string& shape) {
  const std::string pattern = pattern_of(shape);
  const auto matches = [&](std::string_view name) {
    return ::fnmatch(pattern.c_str(), std::string(name).c_str(), 0) == 0;
  };
  return matches("git") || matches("eval") || matches("source") || any_runner(matches);
}

bool is_too_deep(std::string_view script) {
  int open = 0;
  for (const char c : script) {
    if (c == '(' || c == '{' || c == '[') ++open;
    if ((c == ')' || c == '}' || c == ']') && open > 0) --open;
    if (open > kOpenMax) return true;
  }
  return false;
}

using Tree = std::unique_ptr<TSTree, void (*)(TSTree*)>;

// Where brackets do not match, the parser looks ahead to the end of the script again and again, and
// copies what it could not make sense of. The first is counted as it happens, of the other its
// callback says a part; the rest is put at the most that it may be. Null, or not all of it: it took
// too much.
Tree parse(std::string_view script, Effort& effort) {
  struct Given {
    std::string_view script;
    Effort& effort;
  } given{script, effort};
  const auto read = [](void* payload, std::uint32_t at, TSPoint, std::uint32_t* n_read) {
    const Given& all = *static_cast<Given*>(payload);
    const bool ends = at >= all.script.size() || all.effort.over();
    const std::string_view piece = ends ? std::string_view() : all.script.substr(at, kPieceBytes);
    all.effort.spend(piece.size());
    *n_read = static_cast<std::uint32_t>(piece.size());
    return ends ? "" : piece.data();
  };
  const auto gives_up = [](TSParseState* state) {
    Effort& spent = static_cast<Given*>(state->payload)->effort;
    spent.spend(kStepsOfParser *
                (state->has_error ? 1 + state->current_byte_offset / kCopiedAtOnce : 1));
    return spent.over();
  };
  const std::unique_ptr<TSParser, void (*)(TSParser*)> parser(ts_parser_new(), ts_parser_delete);
  ts_parser_set_language(parser.get(), language_for("sh")->grammar());
  Tree tree(
      ts_parser_parse_with_options(
          parser.get(), nullptr, {&given, read, TSInputEncodingUTF8, nullptr}, {&given, gives_up}),
      ts_tree_delete);
  if (tree && ts_node_has_error(ts_tree_root_node(tree.get())))
    effort.spend(script.size() / kErrorsEvery * script.size());
  return tree;
}

class Reader {
 public:
  explicit Reader(ShellScript& out) : out_(out) {}

  void read_all_of(std::string_view script) {
    read(script, 0);
    out_.effort = effort_.spent();
    if (effort_.over()) give_up();
  }

 private:
  void give_up() {
    out_.understood = false;
    out_.hides_git = out_.given_up = true;  // whatever it is, it is not for people
  }

  void read(std::string_view script, int depth) {
    if (effort_.over()) return;
    read_bytes_ += script.size() + kReadLeast;
    if (read_bytes_ > kReadBytesMax || reading_bytes_ > kReadingBytesMax || depth > kNestingMax ||
        is_too_deep(script))
      return give_up();
    if (script.size() > kScriptBytesMax || is_marked(script) ||
        script.find(kBreak) != std::string_view::npos) {
      hide(script);
      return;
    }
    const Tree tree = parse(script, effort_);
    if (!tree) {
      hide(script);
      return;
    }
    const TSNode root = ts_tree_root_node(tree.get());
    if (ts_node_has_error(root)) hide(script);
    if (script.find("git") != std::string_view::npos) out_.names_git = true;
    words_.gather(root, script);
    walk(root, script, depth);
    const Unseen unseen = unseen_in(root, script, effort_);
    read_all(unseen, script, depth);
    if (!unseen.joined.empty()) read(unseen.joined, depth);  // beside the lines as they are
  }

  void walk(TSNode root, std::string_view script, int depth) {
    const auto* const outer = around_;
    bool hidden = false;  // that it has too many commands is said once
    for_each_node_in(root, [&](TSNode node, const std::vector<TSNode>& around) {
      if (effort_.over()) return;
      effort_.spend(1);
      around_ = &around;
      const std::string_view type = type_of(node);
      if (type == "command" && out_.commands.size() == kShellCommandsMax) {
        if (!std::exchange(hidden, true)) hide(script);
      } else if (type == "command") {
        command(node, script, depth);
      }
      if (type == "variable_assignment" || type == "declaration_command") out_.does_more = true;
      if (type == "variable_assignment") variable(node, script, depth);
      if (type == "expansion" && text_of(node, script).ends_with("@P}"))
        prompt(node, script, depth);
      if (one_of(type, "variable_assignment", "array", "for_statement", "herestring_redirect",
                 "binary_expression", "unary_expression", "test_command", "declaration_command",
                 "unset_command"))
        values(node, script, depth);
      if (type == "file_redirect" && writes(node, script)) {
        out_.does_more = true;
        if (const TSNode to = field(node, "destination"); !ts_node_is_null(to))
          out_.written.push_back(words_.shapes(to, script)[0]);
      }
    });
    around_ = outer;
  }

  // What runs of `text` though the tree does not show it.
  void read_all(const Unseen& unseen, std::string_view text, int depth) {
    if (unseen.lost) hide(text);
    for (const std::string& script : unseen.scripts) {
      if (is_marked(script)) out_.understood = false;
      read(script_of(script), depth + 1);
    }
  }
  void read_later(const Unseen& unseen, std::string_view text, int depth) {
    if (!unseen.scripts.empty()) out_.understood = false;
    read_all(unseen, text, depth);
  }

  // Text that may come to stand where names and numbers are evaluated.
  void values(TSNode node, std::string_view script, int depth) {
    for (std::uint32_t i = 0; i < ts_node_named_child_count(node); ++i) {
      const TSNode child = ts_node_named_child(node, i);
      const std::string_view type = type_of(child), text = text_of(child, script);
      if (!one_of(type, "raw_string", "string", "word", "concatenation", "ansi_c_string",
                  "translated_string", "command_name") ||
          (text.find('[') == std::string_view::npos && text.find("$'") == std::string_view::npos))
        continue;
      for (const auto& shape : words_.shapes(child, script))
        read_later(evaluated_later(shape, effort_), shape, depth);
    }
  }

  void variable(TSNode node, std::string_view script, int depth) {
    const std::string name(text_of(field(node, "name"), script));
    const TSNode value = field(node, "value");
    if (ts_node_is_null(value) || type_of(value) == "array") return;
    if (name.starts_with("PS") || name.starts_with("BASH_") || name == "ENV" ||
        is_one_of(name, kRunVariables))
      for (const auto& shape : words_.shapes(value, script)) set(name, shape, depth);
  }

  // ${x@P}
  void prompt(TSNode node, std::string_view script, int depth) {
    for (const auto& shape : words_.prompts(node, script)) {
      read_later(expanded_later(shape, effort_), shape, depth);
      if (shape.find(kMade) == std::string::npos) continue;
      out_.understood = false;
      if (out_.made.empty()) out_.made = std::string(text_of(node, script));
    }
  }

  // Not all of it can be read; then its text alone says whether it may lose something.
  void hide(std::string_view script) {
    static constexpr std::string_view kWords[] = {"git",      " clean ",    "--hard",
                                                  " stash ",  " checkout ", " restore ",
                                                  " rebase ", "--force",    ",clean,"};
    out_.understood = false;
    effort_.spend(script.size());
    out_.hides_git = out_.hides_git || std::ranges::any_of(kWords, [&](std::string_view w) {
                       return script.find(w) != std::string_view::npos;
                     });
  }

  static std::string_view text_of(TSNode node, std::string_view script) {
    return script.substr(ts_node_start_byte(node),
                         ts_node_end_byte(node) - ts_node_start_byte(node));
  }

  static bool writes(TSNode redirect, std::string_view script) {
    const std::string_view text = text_of(redirect, script);
    const auto at = text.find_first_of("<>");
    if (at == std::string_view::npos ||
        (text[at] == '<' && text.find('>') == std::string_view::npos))
      return false;
    std::string_view to = text.substr(text.find_last_of(">&|") + 1);
    while (!to.empty() && to.front() == ' ') to.remove_prefix(1);
    return to != "/dev/null" && to != "-" &&
           to.find_first_not_of("0123456789") != std::string_view::npos;
  }

  // A word without its quotes; `certain` is cleared where it depends on the run.
  static std::string word(TSNode node, std::string_view script, bool& certain) {
    const std::string_view type = type_of(node), text = text_of(node, script);
    if (type == "raw_string")
      return std::string(text.size() >= 2 ? text.substr(1, text.size() - 2) : text);
    if (type == "word" || type == "number" || type == "string_content" || type == "command_name") {
      if (type == "command_name" && ts_node_named_child_count(node) > 0)
        return word(ts_node_named_child(node, 0), script, certain);
      std::string out;
      for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) {
          if (text[++i] != '\n') out += text[i];
          continue;
        }
        if (type == "word" && std::string_view("*?[~{").find(text[i]) != std::string_view::npos)
          certain = false;
        out += text[i];
      }
      return out;
    }
    if (type == "string" || type == "concatenation") {
      std::string out;
      for (std::uint32_t i = 0; i < ts_node_named_child_count(node); ++i)
        out += word(ts_node_named_child(node, i), script, certain);
      return out;
    }
    certain = false;  // an expansion, a substitution, $'...'
    return std::string(text);
  }

  // The name and the arguments of a command.
  static std::vector<TSNode> parts_of(TSNode command) {
    std::vector<TSNode> out;
    TSTreeCursor cursor = ts_tree_cursor_new(command);
    for (bool more = ts_tree_cursor_goto_first_child(&cursor); more;
         more = ts_tree_cursor_goto_next_sibling(&cursor))
      if (const char* const name = ts_tree_cursor_current_field_name(&cursor);
          name && one_of(std::string_view(name), "name", "argument"))
        out.push_back(ts_tree_cursor_current_node(&cursor));
    ts_tree_cursor_delete(&cursor);
    return out;
  }

  void command(TSNode node, std::string_view script, int depth) {
    if (reading_bytes_ > kReadingBytesMax) return give_up();
    std::vector<std::string> words;
    std::vector<bool> certain;
    std::vector<std::vector<std::string>> shapes{{}};  // every reading's words
    for (const TSNode part : parts_of(node)) {
      bool sure = true;
      words.push_back(word(part, script, sure));
      certain.push_back(sure);
      reading_bytes_ += words.back().size();
      with(shapes, words_.shapes(part, script));
    }
    bool adds_words = false;
    const std::size_t first = skip_runners(words, adds_words);
    if (first > 0) out_.does_more = true;
    words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(first));
    certain.erase(certain.begin(), certain.begin() + static_cast<std::ptrdiff_t>(first));
    if (words.empty()) return;
    const bool all = !adds_words && std::ranges::all_of(certain, [](bool c) { return c; });
    if (!certain[0] || one_of(base_name(words[0]), "source", ".")) out_.understood = false;
    out_.commands.push_back({words, all, fmt::format("{}", fmt::join(words, " ")), {}});
    const std::size_t at = out_.commands.size() - 1;
    if (is_one_of(base_name(words[0]), kLaunchers)) launched(words, all);
    for (auto& reading : shapes) read_command(std::move(reading), at, node, script, depth);
  }

  // Wherever its command begins: each of these is held against the rules.
  void launched(const std::vector<std::string>& words, bool certain) {
    out_.does_more = true;
    std::size_t n = 0;
    for (std::size_t i = 1; i < words.size() && n < kCarriedMax; ++i) {
      if (words[i].starts_with('-') || out_.commands.size() == kShellCommandsMax) continue;
      const std::vector<std::string> rest(words.begin() + static_cast<std::ptrdiff_t>(i),
                                          words.end());
      out_.commands.push_back({rest, certain, fmt::format("{}", fmt::join(rest, " ")), {}});
      ++n;
    }
  }

  // Every reading goes on with each of `more`; with too many of them it is not known how.
  static void with(std::vector<std::vector<std::string>>& readings,
                   const std::vector<std::string>& more) {
    if (readings.size() * more.size() > kReadingsMax) {
      for (auto& words : readings) words.emplace_back(1, kMade);
      return;
    }
    if (more.size() == 1) {
      for (auto& words : readings) words.push_back(more[0]);
      return;
    }
    std::vector<std::vector<std::string>> out;
    for (const auto& words : readings)
      for (const auto& word : more) out.push_back(words), out.back().push_back(word);
    readings = std::move(out);
  }

  // `at`: its place among the commands, which move.
  void read_command(std::vector<std::string> shapes, std::size_t at, TSNode node,
                    std::string_view script, int depth) {
    std::vector<std::string> words;
    for (const std::string& shape : shapes) reading_bytes_ += shape.size() + 1;
    for (const std::string& shape : shapes)
      for (std::size_t from = 0; from <= shape.size();) {
        const auto end = std::min(shape.find(kBreak, from), shape.size());
        if (end > from || !words.empty())
          words.push_back(shape.substr(from, end - from));  // an empty variable before the command
                                                            // is nothing
        from = end + 1;
      }
    bool adds_words = false;
    const std::size_t first = skip_runners(words, adds_words);
    before_command(words, first, adds_words, at, depth);
    words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(first));
    if (words.empty()) return;
    ShellReading reading{words, !adds_words && std::ranges::none_of(words, is_marked), false};
    const std::string name(base_name(words[0]));
    reading.hidden = is_marked(name) && name != std::string(1, kPlain) &&
                     name != std::string(1, kSetup) && could_run_git(name);
    const std::string program = words[0].substr(0, words[0].find(' '));
    if (adds_words && (program.find("{}") != std::string::npos || words[0] == "%" ||
                       (is_runner(name) && !one_of(name, "xargs", "parallel"))))
      reading.hidden = true;  // xargs -I {} {}; xargs env
    carried(reading, adds_words, at, node, script, depth);
    out_.commands[at].readings.push_back(reading);
    if (is_one_of(name, kEvaluators))
      for (const auto& word : words) read_later(evaluated_later(word, effort_), word, depth);
    aliased(words, adds_words, at, depth);
    inner(words, adds_words, at, node, script, depth);
  }

  // What stands before a command and is run too: `env -S 'x y'`, `env PS4='$(x)' bash -x`.
  void before_command(const std::vector<std::string>& words, std::size_t first, bool adds_words,
                      std::size_t at, int depth) {
    if (std::string text = env_script(words); !text.empty()) {
      out_.understood = false;
      run_text(std::move(text), adds_words, at, depth);
    }
    for (std::size_t i = 1; i < first; ++i)
      if (const auto equals = words[i].find('='); equals != std::string::npos)
        set(words[i].substr(0, equals), words[i].substr(equals + 1), depth);
  }

  // A variable that says what runs later.
  void set(const std::string& name, const std::string& value, int depth) {
    if (one_of(name, "PS0", "PS1", "PS2", "PS4")) {
      read_later(expanded_later(value, effort_), value, depth);
    } else if (one_of(name, "BASH_ENV", "ENV")) {
      out_.understood = false;
      if (out_.commands.size() < kShellCommandsMax && !is_marked(value))
        out_.commands.push_back({{"source", value},
                                 true,
                                 fmt::format("source {}", value),
                                 {{{"source", value}, true, false}}});
      else if (value.find(kMade) != std::string::npos && out_.made.empty())
        out_.made = name;
    } else if (name.starts_with("BASH_FUNC_") && value.starts_with("()")) {
      read(fmt::format("f{}", script_of(value)), depth + 1);
    } else if (is_one_of(name, kRunVariables) && value.find("git") != std::string::npos) {
      read(script_of(value), depth + 1);
    }
  }

  // alias g=git; g clean. Only from the next line on, where a shell has aliases at all.
  void aliased(const std::vector<std::string>& words, bool adds_words, std::size_t at, int depth) {
    if (words[0] == "alias") {
      for (std::size_t i = 1; i < words.size(); ++i)
        if (const auto equals = words[i].find('='); equals != std::string::npos)
          aliases_[words[i].substr(0, equals)] = words[i].substr(equals + 1);
      return;
    }
    const auto found = aliases_.find(words[0]);
    if (found == aliases_.end()) return;
    std::string text = found->second;
    for (std::size_t i = 1; i < words.size(); ++i) text += fmt::format(" {}", quoted(words[i]));
    const auto kept = std::exchange(aliases_, {});  // `alias ls='ls -l'` ends
    run_text(std::move(text), adds_words, at, depth);
    aliases_ = kept;
  }

  // As a script has a word that is only text; its marks stay.
  static std::string quoted(const std::string& word) {
    if (word.find_first_of(" \t\n'\"\\$`;&|<>()*?[]{}~#!") == std::string::npos && !word.empty())
      return word;
    std::string out = "'";
    for (const char c : word) {
      if (c == '\'' || is_marked(std::string_view(&c, 1)) || c == kBreak)
        out += fmt::format("'{}{}'", c == '\'' ? "\\" : "", c);
      else
        out += c;
    }
    return out + "'";
  }

  // What a program is given may be what it runs.
  void carried(const ShellReading& reading, bool adds_words, std::size_t at, TSNode node,
               std::string_view script, int depth) {
    const std::vector<std::string>& words = reading.words;
    const std::string_view name = base_name(words[0]);
    const bool surely = is_one_of(name, kCarriers) || is_one_of(name, kLaunchers) ||
                        words_.is_function(words[0]) || name == std::string_view(&kPlain, 1) ||
                        name == std::string_view(&kSetup, 1);
    if (!surely && (is_one_of(name, kTalkers) || is_shell(name))) return;
    std::size_t n = 0;
    for (std::size_t i = 1; i < words.size() && n < kCarriedMax; ++i) {
      const std::string_view base = base_name(words[i]);
      const bool runs = surely && i + 1 < words.size() && (is_shell(base) || is_runner(base));
      if (base != "git" && !runs) continue;
      ++n;
      std::vector<std::string> run(words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
      if (base == "git") {
        out_.commands[at].readings.push_back({run, !surely || reading.certain, false});
        continue;
      }
      bool adds = adds_words;
      const std::size_t first = skip_runners(run, adds);
      run.erase(run.begin(), run.begin() + static_cast<std::ptrdiff_t>(first));
      out_.commands[at].readings.push_back({run, !adds && reading.certain, false});
      inner(run, adds, at, node, script, depth);
    }
  }

  // Shells that are given a script, and what is read or made to be one.
  void inner(const std::vector<std::string>& words, bool adds_words, std::size_t at, TSNode node,
             std::string_view script, int depth) {
    const std::string_view name = base_name(words[0]);
    if (name == "find") return found(words, at, node, script, depth);
    if (name == "eval") {
      if (words.size() < 2) return;
      const std::string text = fmt::format("{}", fmt::join(words.begin() + 1, words.end(), " "));
      if (text != std::string(1, kSetup)) return run_text(text, adds_words, at, depth);
      out_.understood = false;
      return;
    }
    if (name == "trap" && words.size() > 2 && words[1] != "-")
      return run_text(words[1] == "--" ? words[2] : words[1], adds_words, at, depth);
    if ((words.size() == 1 || adds_words) && name.find(' ') != std::string_view::npos)
      return run_text(words[0], adds_words, at, depth);  // watch 'x y'
    if (one_of(name, "at", "batch")) return input(node, script, at, depth);
    if (adds_words && name == ":::")  // parallel ::: 'x y'
      for (std::size_t i = 1; i < words.size(); ++i) run_text(words[i], false, at, depth);
    if (one_of(name, "npm", "npx"))
      for (std::size_t i = 1; i + 1 < words.size(); ++i)
        if (one_of(words[i], "-c", "--call")) return run_text(words[i + 1], adds_words, at, depth);
    if (name == "git") return git_runs(words, adds_words, at, node, script, depth);
    if (one_of(name, "mapfile", "readarray", "compgen", "complete"))
      return callback(words, adds_words, at, depth);
    if (one_of(name, "source", ".") && words.size() > 1) return run_file(words[1], at);
    if (!is_shell(name)) return;
    const ShellCall call = shell_call(words);
    if (!call.text || call.startup != 0)
      out_.understood = false;  // what it runs comes from a file, or from what is written to it
    if (call.only_looks) return;
    if (call.startup != 0) {
      out_.commands[at].readings.push_back({{"source", words[call.startup]}, true, false});
      run_file(words[call.startup], at);
    }
    if (call.text) {
      effort_.spend(words_.n_bytes());
      const ShellWords kept = words_;
      if (call.arguments != 0)
        words_.arguments_are(
            {words.begin() + static_cast<std::ptrdiff_t>(call.arguments), words.end()});
      run_text(*call.text, adds_words, at, depth);
      words_ = kept;
      return;
    }
    if (adds_words) return made(at);
    if (call.file != 0) return run_file(words[call.file], at);
    input(node, script, at, depth);
  }

  // git submodule foreach, git bisect run; git -c core.pager='x y'.
  void git_runs(const std::vector<std::string>& words, bool adds_words, std::size_t at, TSNode node,
                std::string_view script, int depth) {
    for (std::size_t i = 2; i + 1 < words.size(); ++i) {
      const auto has = [&](std::string_view sub) {
        return std::find(words.begin() + 1, words.begin() + static_cast<std::ptrdiff_t>(i), sub) !=
               words.begin() + static_cast<std::ptrdiff_t>(i);
      };
      if (!(words[i] == "foreach" && has("submodule")) && !(words[i] == "run" && has("bisect")))
        continue;
      std::vector<std::string> run(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      while (!run.empty() && one_of(run[0], "--recursive", "--quiet", "-q", "--"))
        run.erase(run.begin());
      if (run.empty()) return;
      run_text(fmt::format("{}", fmt::join(run, " ")), adds_words, at, depth);
      if (run.size() == 1) return;
      bool adds = adds_words;  // or as words
      run.erase(run.begin(), run.begin() + static_cast<std::ptrdiff_t>(skip_runners(run, adds)));
      out_.commands[at].readings.push_back(
          {run, !adds && std::ranges::none_of(run, is_marked), false});
      return inner(run, adds, at, node, script, depth);
    }
    // A setting, or --extcmd='x y'. Where a word may be a message it is none.
    static constexpr std::string_view kRunning[] = {
        "config", "difftool", "mergetool", "fetch",      "pull",      "push",
        "clone",  "archive",  "ls-remote", "send-email", "submodule", "instaweb"};
    const bool runs = std::ranges::any_of(
        words, [](const std::string& w) { return is_one_of(w, kRunning); });
    for (std::size_t i = 1; i < words.size(); ++i) {
      const std::string& word = words[i];
      const auto equals = word.find('=');
      if (!runs && (words[i - 1] != "-c" || equals == std::string::npos)) continue;
      const std::string_view value =
          std::string_view(word).substr(equals == std::string::npos ? 0 : equals + 1);
      if (value.find("git ") != std::string_view::npos)
        run_text(std::string(value.substr(value.starts_with('!') ? 1 : 0)), adds_words, at, depth);
    }
  }

  // mapfile -C 'x y', compgen -C 'x y', and -W, which is expanded.
  void callback(const std::vector<std::string>& words, bool adds_words, std::size_t at, int depth) {
    const bool completes = words[0].starts_with("comp");
    for (std::size_t i = 1; i < words.size(); ++i) {
      const std::string& word = words[i];
      const auto letter = word.size() > 1 && word[0] == '-'
                              ? word.find_first_of(completes ? "oAGWFCXPS" : "dnOsuCc", 1)
                              : std::string::npos;
      if (letter == std::string::npos || (word[letter] != 'C' && word[letter] != 'W')) continue;
      const std::string value = letter + 1 < word.size() ? word.substr(letter + 1)
                                : i + 1 < words.size()   ? words[i + 1]
                                                         : "";
      out_.understood = false;
      if (word[letter] == 'W')
        read_later(expanded_later(value, effort_), value, depth);
      else if (!value.empty())
        run_text(value, adds_words, at, depth);
    }
  }

  void made(std::size_t at) {
    out_.understood = false;
    if (out_.made.empty()) out_.made = out_.commands[at].text;
  }

  void run_text(std::string text, bool adds_words, std::size_t at, int depth) {
    if (is_marked(text)) out_.understood = false;
    if (text.empty()) return;
    if (text.find_first_not_of("\1\2\3\4 ") == std::string::npos) return made(at);
    if (!adds_words) return read(script_of(text), depth + 1);
    out_.understood = false;
    std::string filled;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool braces = text.compare(i, 2, "{}") == 0;
      filled += braces || text[i] == '%' ? kMade : text[i];
      i += braces;
    }
    effort_.spend(words_.n_bytes());
    const ShellWords kept = words_;
    words_.arguments_are_made();
    read(script_of(filled), depth + 1);
    words_ = kept;
  }

  // A script in a file: who judges the command looks into it, but not when this script writes it
  // first.
  void run_file(const std::string& file, std::size_t at) {
    out_.understood = false;
    if (file == std::string(1, kMade) || one_of(file, "/dev/stdin", "/dev/fd/0")) made(at);
  }

  // A shell that reads its script: from a here document, a file, or what another prints.
  void input(TSNode command, std::string_view script, std::size_t at, int depth) {
    const std::vector<TSNode> around = *around_;
    TSNode node = command;
    for (std::size_t i = 0; i < kParentsMax && !effort_.over(); ++i) {
      if (const TSNode from = input_of(node, script); !ts_node_is_null(from))
        return input_from(from, script, at, depth);
      if (i == around.size()) return;
      const TSNode parent = around[around.size() - 1 - i];
      const std::string_view type = type_of(parent);
      if (type == "heredoc_redirect" ||
          (type == "pipeline" && !ts_node_eq(ts_node_named_child(parent, 0), node)))
        return made(at);
      if (type == "command_substitution" || type == "function_definition") return;
      node = parent;
    }
  }

  // The redirection that says where; null: none does.
  TSNode input_of(TSNode node, std::string_view script) {
    TSNode found = {};
    TSTreeCursor cursor = ts_tree_cursor_new(node);
    for (bool more = ts_tree_cursor_goto_first_child(&cursor); more && ts_node_is_null(found);
         more = ts_tree_cursor_goto_next_sibling(&cursor)) {
      effort_.spend(kNodeCosts);
      const TSNode child = ts_tree_cursor_current_node(&cursor);
      const std::string_view type = type_of(child);
      if (type == "heredoc_redirect" ||
          (type == "herestring_redirect" && ts_node_named_child_count(child) > 0) ||
          (type == "file_redirect" && text_of(child, script).starts_with('<')))
        found = child;
    }
    ts_tree_cursor_delete(&cursor);
    return found;
  }

  void input_from(TSNode redirect, std::string_view script, std::size_t at, int depth) {
    const std::string_view type = type_of(redirect);
    if (type == "heredoc_redirect") return document(redirect, script, depth);
    if (type == "herestring_redirect") {
      for (const auto& text : words_.shapes(ts_node_named_child(redirect, 0), script))
        run_text(text, false, at, depth);
      return;
    }
    const std::string file = words_.shapes(field(redirect, "destination"), script)[0];
    out_.commands[at].readings.back().words.push_back(file);  // as if it were given its name
    run_file(file, at);
  }

  void document(TSNode redirect, std::string_view script, int depth) {
    for (std::uint32_t i = 0; i < ts_node_named_child_count(redirect); ++i)
      if (const TSNode body = ts_node_named_child(redirect, i); type_of(body) == "heredoc_body")
        read(text_of(body, script), depth + 1);
  }

  // find -exec git ... \;
  void found(const std::vector<std::string>& words, std::size_t at, TSNode node,
             std::string_view script, int depth) {
    for (std::size_t i = 1; i < words.size(); ++i) {
      if (words[i] == "-delete") out_.does_more = true;
      if (!one_of(words[i], "-exec", "-execdir", "-ok", "-okdir")) continue;
      out_.does_more = true;
      std::vector<std::string> run;
      for (++i; i < words.size() && !one_of(words[i], ";", "+"); ++i) run.push_back(words[i]);
      bool adds_words = false;
      run.erase(run.begin(),
                run.begin() + static_cast<std::ptrdiff_t>(skip_runners(run, adds_words)));
      if (run.empty() || out_.commands.size() == kShellCommandsMax) continue;
      const std::string text = fmt::format("{}", fmt::join(run, " "));
      if (run[0] == "{}") run[0] = kPlain;
      const bool hidden = run[0] != std::string(1, kPlain) && is_marked(base_name(run[0])) &&
                          could_run_git(std::string(base_name(run[0])));
      if (std::ranges::none_of(out_.commands,
                               [&](const ShellCommand& c) { return c.text == text; }))
        out_.commands.push_back({run, false, text, {{run, false, hidden}}});
      inner(run, true, at, node, script, depth);
    }
  }

  ShellScript& out_;
  Effort effort_;
  ShellWords words_{effort_};
  const std::vector<TSNode>* around_ = nullptr;  // the node that is walked over
  std::map<std::string, std::string> aliases_;
  std::size_t read_bytes_ = 0, reading_bytes_ = 0;
};

}  // namespace

ShellScript shell_commands(std::string_view script) {
  ShellScript out;
  Reader(out).read_all_of(script);
  return out;
}

}  // namespace lares::tools
