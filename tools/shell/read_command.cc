// One command of a script: its words, and the readings they have.
#include <fnmatch.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "tools/outline/node.h"
#include "tools/shell/programs.h"
#include "tools/shell/runners.h"
#include "tools/shell/script_tree.h"
#include "tools/shell/shell_reader.h"

namespace lares::tools {
namespace {

constexpr std::size_t kReadingsMax = 64;  // of one command
constexpr std::size_t kCarriedMax = 8;    // places where a command may begin behind another

// A word without its quotes; `certain` is cleared where it depends on the run.
std::string word(TSNode node, std::string_view script, bool& certain) {
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
std::vector<TSNode> parts_of(TSNode command) {
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

// Every reading goes on with each of `more`; with too many of them it is not known how.
void with(std::vector<std::vector<std::string>>& readings, const std::vector<std::string>& more) {
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

// As a script has a word that is only text; its marks stay.
std::string quoted(const std::string& word) {
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

}  // namespace

bool could_run_git(const std::string& shape) {
  const std::string pattern = pattern_of(shape);
  const auto matches = [&](std::string_view name) {
    return ::fnmatch(pattern.c_str(), std::string(name).c_str(), 0) == 0;
  };
  return matches("git") || matches("eval") || matches("source") || any_runner(matches);
}

void ShellReader::command(TSNode node, std::string_view script, int depth) {
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
  if (!certain[0]) out_.understood = false;
  out_.commands.push_back({words, all, fmt::format("{}", fmt::join(words, " ")), {}});
  const std::size_t at = out_.commands.size() - 1;
  if (is_launcher(base_name(words[0]))) launched(words, all);
  for (auto& reading : shapes) read_command(std::move(reading), at, node, script, depth);
}

void ShellReader::launched(const std::vector<std::string>& words, bool certain) {
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

void ShellReader::read_command(std::vector<std::string> shapes, std::size_t at, TSNode node,
                               std::string_view script, int depth) {
  std::vector<std::string> words;
  for (const std::string& shape : shapes) reading_bytes_ += shape.size() + 1;
  for (const std::string& shape : shapes)
    for (std::size_t from = 0; from <= shape.size();) {
      const auto end = std::min(shape.find(kBreak, from), shape.size());
      // An empty variable before the command is nothing
      if (end > from || !words.empty()) words.push_back(shape.substr(from, end - from));
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
  if (is_evaluator(name))
    for (const auto& word : words) read_later(evaluated_later(word, effort_), word, depth);
  aliased(words, adds_words, at, depth);
  inner(words, adds_words, at, node, script, depth);
}

void ShellReader::before_command(const std::vector<std::string>& words, std::size_t first,
                                 bool adds_words, std::size_t at, int depth) {
  if (std::string text = env_script(words); !text.empty()) {
    out_.understood = false;
    run_text(std::move(text), adds_words, at, depth);
  }
  for (std::size_t i = 1; i < first; ++i)
    if (const auto equals = words[i].find('='); equals != std::string::npos)
      set(words[i].substr(0, equals), words[i].substr(equals + 1), depth);
}

void ShellReader::set(const std::string& name, const std::string& value, int depth) {
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
  } else if (is_run_variable(name) && value.find("git") != std::string::npos) {
    read(script_of(value), depth + 1);
  }
}

void ShellReader::aliased(const std::vector<std::string>& words, bool adds_words, std::size_t at,
                          int depth) {
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

void ShellReader::carried(const ShellReading& reading, bool adds_words, std::size_t at, TSNode node,
                          std::string_view script, int depth) {
  const std::vector<std::string>& words = reading.words;
  const std::string_view name = base_name(words[0]);
  const bool surely = is_carrier(name) || is_launcher(name) || words_.is_function(words[0]) ||
                      name == std::string_view(&kPlain, 1) || name == std::string_view(&kSetup, 1);
  if (!surely && (is_talker(name) || is_shell(name))) return;
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

}  // namespace lares::tools
