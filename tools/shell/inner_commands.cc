// What a command is given to run: by a shell, eval, find, git, or when something happens.
#include <algorithm>

#include <fmt/format.h>

#include "tools/shell/programs.h"
#include "tools/shell/runners.h"
#include "tools/shell/shell_reader.h"

namespace lares::tools {
void ShellReader::inner(const std::vector<std::string>& words, bool adds_words, std::size_t at,
                        TSNode node, std::string_view script, int depth) {
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

void ShellReader::git_runs(const std::vector<std::string>& words, bool adds_words, std::size_t at,
                           TSNode node, std::string_view script, int depth) {
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
  const bool runs = std::ranges::any_of(words, [](const std::string& w) {
    return std::ranges::find(kRunning, w) != std::end(kRunning);
  });
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

void ShellReader::callback(const std::vector<std::string>& words, bool adds_words, std::size_t at,
                           int depth) {
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

void ShellReader::found(const std::vector<std::string>& words, std::size_t at, TSNode node,
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
    if (std::ranges::none_of(out_.commands, [&](const ShellCommand& c) { return c.text == text; }))
      out_.commands.push_back({run, false, text, {{run, false, hidden}}});
    inner(run, true, at, node, script, depth);
  }
}

void ShellReader::made(std::size_t at) {
  out_.understood = false;
  if (out_.made.empty()) out_.made = out_.commands[at].text;
}

void ShellReader::run_text(std::string text, bool adds_words, std::size_t at, int depth) {
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

void ShellReader::run_file(const std::string& file, std::size_t at) {
  out_.understood = false;
  if (file == std::string(1, kMade) || one_of(file, "/dev/stdin", "/dev/fd/0")) made(at);
}

}  // namespace lares::tools
