#include "tools/shell/commands.h"

#include <fnmatch.h>
#include <tree_sitter/api.h>

#include <algorithm>
#include <array>
#include <memory>

#include <fmt/format.h>

#include "tools/outline/languages.h"
#include "tools/outline/node.h"
#include "tools/shell/words.h"

namespace lares::tools {
namespace {

constexpr std::size_t kScriptBytesMax = 256 << 10;
constexpr int kNestingMax = 4;                      // sh -c 'sh -c ...'
constexpr std::size_t kReadingsMax = 64;            // of one command
constexpr std::size_t kReadBytesMax = 4 << 20;      // of texts that are run, one within the other
constexpr std::size_t kReadingBytesMax = 16 << 20;  // of all readings
constexpr std::size_t kReadLeast = 64;              // that a text counts for
constexpr int kParentsMax = 64;  // looked at to see where a shell's input comes from
// What runs a command that stands somewhere behind it.
constexpr std::string_view kCarriers[] = {
    "npx",     "npm",         "yarn",    "pnpm",    "bun",      "bunx",     "poetry",
    "uv",      "pipenv",      "bundle",  "conda",   "nix",      "hatch",    "pdm",
    "rye",     "direnv",      "dotenv",  "chronic", "faketime", "fakeroot", "unshare",
    "nsenter", "systemd-run", "setarch", "prlimit", "runuser",  "coproc"};
constexpr std::string_view kShells[] = {"sh", "bash", "dash", "zsh", "ksh", "ash"};

template <class... T>
bool one_of(std::string_view word, const T&... words) {
  return ((word == words) || ...);
}

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// What a program that only runs another takes before that: options with a value of their own, and
// plain values.
struct Runner {
  std::string_view name, valued;  // the options' letters
  int n_values = 0;
  bool assignments = false;
  bool adds_words = false;  // that its text does not have
};
constexpr std::array<Runner, 22> kRunners{{{"sudo", "ugCDhpRrTt"},
                                           {"doas", "uC"},
                                           {"env", "uC", 0, true},
                                           {"command", ""},
                                           {"builtin", ""},
                                           {"exec", "a"},
                                           {"nohup", ""},
                                           {"setsid", ""},
                                           {"time", "fo"},
                                           {"nice", "n"},
                                           {"ionice", "cnp"},
                                           {"stdbuf", "ioe"},
                                           {"timeout", "ks", 1},
                                           {"xargs", "EIILPadns", 0, false, true},
                                           {"chroot", "", 1},
                                           {"strace", "eopsu"},
                                           {"flock", "wE", 1},
                                           {"unbuffer", ""},
                                           {"chrt", "", 1},
                                           {"taskset", "", 1},
                                           {"parallel", "jN", 0, false, true},
                                           {"watch", "n"}}};

// What a name that is made when it runs must not be.
bool could_run_git(const std::string& shape) {
  const std::string pattern = pattern_of(shape);
  const auto matches = [&](std::string_view name) {
    return ::fnmatch(pattern.c_str(), std::string(name).c_str(), 0) == 0;
  };
  return matches("git") || matches("eval") || matches("source") ||
         std::ranges::any_of(kShells, matches) ||
         std::ranges::any_of(kRunners, [&](const Runner& runner) { return matches(runner.name); });
}

bool is_assignment(std::string_view word) {
  const auto at = word.find('=');
  return at != std::string_view::npos && at > 0 && word[0] != '-';
}

// The place of the command that `words` run in the end; `adds_words` is set where it is run with
// more than they say.
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
      if (word.size() > 1 && word[0] == '-')
        next += word.size() == 2 && runner->valued.find(word[1]) != std::string_view::npos ? 2 : 1;
      else if (runner->assignments && is_assignment(word))
        ++next;
      else if (values-- > 0)
        ++next;
      else
        break;
    }
    if (next >= words.size()) return i;  // it runs nothing: `env`, `time` alone
    i = next;
  }
}

class Reader {
 public:
  explicit Reader(ShellScript& out) : out_(out) {}

  void read(std::string_view script, int depth) {
    read_bytes_ += script.size() + kReadLeast;
    if (read_bytes_ > kReadBytesMax || reading_bytes_ > kReadingBytesMax || depth > kNestingMax) {
      out_.understood = false, out_.hides_git = true;  // whatever it is, it is not for people
      return;
    }
    if (script.size() > kScriptBytesMax || is_marked(script) ||
        script.find(kBreak) != std::string_view::npos) {
      hide(script);
      return;
    }
    const Language* const bash = language_for("sh");
    const std::unique_ptr<TSParser, void (*)(TSParser*)> parser(ts_parser_new(), ts_parser_delete);
    ts_parser_set_language(parser.get(), bash->grammar());
    const std::unique_ptr<TSTree, void (*)(TSTree*)> tree(
        ts_parser_parse_string(parser.get(), nullptr, script.data(),
                               static_cast<std::uint32_t>(script.size())),
        ts_tree_delete);
    if (!tree) {
      hide(script);
      return;
    }
    const TSNode root = ts_tree_root_node(tree.get());
    if (ts_node_has_error(root)) hide(script);
    if (script.find("git") != std::string_view::npos) out_.names_git = true;
    words_.gather(root, script);
    walk(root, script, depth);
  }

 private:
  void walk(TSNode root, std::string_view script, int depth) {
    for_each_node(root, [&](TSNode node) {
      const std::string_view type = type_of(node);
      if (type == "command") command(node, script, depth);
      if (type == "variable_assignment" || type == "declaration_command") out_.does_more = true;
      if (type == "file_redirect" && writes(node, script)) {
        out_.does_more = true;
        if (const TSNode to = field(node, "destination"); !ts_node_is_null(to))
          out_.written.push_back(words_.shapes(to, script)[0]);
      }
    });
  }

  // Not all of it can be read; then its text alone says whether it may lose something.
  void hide(std::string_view script) {
    static constexpr std::string_view kWords[] = {"git",      " clean ",    "--hard",
                                                  " stash ",  " checkout ", " restore ",
                                                  " rebase ", "--force",    ",clean,"};
    out_.understood = false;
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

  void command(TSNode node, std::string_view script, int depth) {
    if (out_.commands.size() == kShellCommandsMax) {
      hide(script);
      return;
    }
    if (reading_bytes_ > kReadingBytesMax) {
      out_.understood = false, out_.hides_git = true;
      return;
    }
    std::vector<std::string> words;
    std::vector<bool> certain;
    std::vector<std::vector<std::string>> shapes{{}};  // every reading's words
    for (std::uint32_t i = 0; i < ts_node_child_count(node); ++i) {
      const char* const name = ts_node_field_name_for_child(node, i);
      if (!name || !one_of(std::string_view(name), "name", "argument")) continue;
      bool sure = true;
      words.push_back(word(ts_node_child(node, i), script, sure));
      certain.push_back(sure);
      with(shapes, words_.shapes(ts_node_child(node, i), script));
    }
    for (std::size_t i = 0; i + 1 < words.size(); ++i)
      if (base_name(words[i]) == "env" &&
          (words[i + 1].starts_with("-S") || words[i + 1].starts_with("--s")))
        hide(script);  // its value is a script
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
    for (auto& reading : shapes) read_command(std::move(reading), at, node, script, depth);
  }

  // Every reading goes on with each of `more`; with too many of them it is not known how.
  static void with(std::vector<std::vector<std::string>>& readings,
                   const std::vector<std::string>& more) {
    if (readings.size() * more.size() > kReadingsMax) {
      for (auto& words : readings) words.emplace_back(1, kMade);
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
    words.erase(words.begin(),
                words.begin() + static_cast<std::ptrdiff_t>(skip_runners(words, adds_words)));
    if (words.empty()) return;
    ShellReading reading{words, !adds_words && std::ranges::none_of(words, is_marked), false};
    const std::string name(base_name(words[0]));
    reading.hidden = is_marked(name) && name != std::string(1, kPlain) &&
                     name != std::string(1, kSetup) && could_run_git(name);
    const bool runner = std::ranges::find(kRunners, name, &Runner::name) != kRunners.end();
    if (adds_words && (words[0].find("{}") != std::string::npos || words[0] == "%" ||
                       (runner && !one_of(name, "xargs", "parallel"))))
      reading.hidden = true;  // xargs -I {} {}; xargs env
    if (std::ranges::find(kCarriers, name) != std::end(kCarriers) || words_.is_function(words[0]) ||
        name == std::string(1, kPlain) || name == std::string(1, kSetup)) {  // what it is given may
                                                                             // be what it runs
      const auto git = std::find_if(words.begin() + 1, words.end(),
                                    [](const std::string& w) { return base_name(w) == "git"; });
      if (git != words.end())
        out_.commands[at].readings.push_back({{git, words.end()}, reading.certain, false});
    }
    out_.commands[at].readings.push_back(reading);
    inner(words, adds_words, at, node, script, depth);
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
    if (words.size() == 1 && name.find(' ') != std::string_view::npos)
      return run_text(words[0], adds_words, at, depth);  // watch 'x y'
    if (name == "git") {
      for (std::size_t i = 1; i + 2 < words.size(); ++i)
        if ((words[i] == "submodule" && words[i + 1] == "foreach") ||
            (words[i] == "bisect" && words[i + 1] == "run")) {
          const auto from = words.begin() + static_cast<std::ptrdiff_t>(i) +
                            (words[i + 2] == "--recursive" ? 3 : 2);
          return run_text(fmt::format("{}", fmt::join(from, words.end(), " ")), adds_words, at,
                          depth);
        }
    }
    if (one_of(name, "source", ".") && words.size() > 1) return run_file(words[1], at);
    if (std::ranges::find(kShells, name) == std::end(kShells)) return;
    std::size_t text = 0, file = 0;
    bool only_looks = false;
    for (std::size_t i = 1; i < words.size() && text == 0 && file == 0; ++i) {
      const std::string& w = words[i];
      const bool option = w.size() > 1 && (w[0] == '-' || w[0] == '+');
      only_looks = only_looks || (option && w[1] != '-' && w.find('n') != std::string::npos) ||
                   one_of(w, "--version", "--help");
      if (option && w[1] != '-' && w.find('c') != std::string::npos)
        text = i + 1;
      else if (!option && w != "-")
        file = i;
      else if (one_of(w, "-o", "+o", "-O", "+O", "--rcfile", "--init-file"))
        ++i;
      else if (w == "-s")
        break;
    }
    while (text != 0 && text + 1 < words.size() && one_of(words[text], "--", "-e", "-x", "-u"))
      ++text;
    if (text == 0)
      out_.understood = false;  // what it runs comes from a file, or from what is written to it
    if (only_looks) return;
    if (text != 0 && text < words.size()) return run_text(words[text], adds_words, at, depth);
    if (adds_words) return made(at);
    if (file != 0) return run_file(words[file], at);
    if (text == 0) input(node, script, at, depth);
  }

  void made(std::size_t at) {
    out_.understood = false;
    if (out_.made.empty()) out_.made = out_.commands[at].text;
  }

  void run_text(std::string text, bool adds_words, std::size_t at, int depth) {
    if (is_marked(text)) out_.understood = false;
    if (text.find_first_not_of("\1\2\3\4 ") == std::string::npos) return made(at);
    if (!adds_words) return read(script_of(text), depth + 1);
    out_.understood = false;
    for (const std::string_view there : {"{}", "%"})
      for (auto i = text.find(there); i != std::string::npos; i = text.find(there, i + 1))
        text.replace(i, there.size(), 1, kMade);
    const ShellWords kept = words_;
    words_.arguments_are_made();
    read(script_of(text), depth + 1);
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
    TSNode node = command;
    for (int i = 0; i < kParentsMax && !ts_node_is_null(node); ++i) {
      for (std::uint32_t k = 0; k < ts_node_named_child_count(node); ++k) {
        const TSNode child = ts_node_named_child(node, k);
        const std::string_view type = type_of(child);
        if (type == "herestring_redirect" && ts_node_named_child_count(child) > 0) {
          for (const auto& text : words_.shapes(ts_node_named_child(child, 0), script))
            run_text(text, false, at, depth);
          return;
        }
        if (type == "heredoc_redirect") return document(child, script, depth);
        if (type == "file_redirect" && text_of(child, script).starts_with('<')) {
          const std::string file = words_.shapes(field(child, "destination"), script)[0];
          out_.commands[at].readings.back().words.push_back(file);  // as if it were given its name
          return run_file(file, at);
        }
      }
      const TSNode parent = ts_node_parent(node);
      if (ts_node_is_null(parent)) return;
      const std::string_view type = type_of(parent);
      if (type == "heredoc_redirect" ||
          (type == "pipeline" && !ts_node_eq(ts_node_named_child(parent, 0), node)))
        return made(at);
      if (type == "command_substitution" || type == "function_definition") return;
      node = parent;
    }
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
  ShellWords words_;
  std::size_t read_bytes_ = 0, reading_bytes_ = 0;
};

}  // namespace

ShellScript shell_commands(std::string_view script) {
  ShellScript out;
  Reader(out).read(script, 0);
  return out;
}

}  // namespace lares::tools
