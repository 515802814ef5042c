#include "tools/shell/commands.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tools/outline/node.h"
#include "tools/shell/programs.h"
#include "tools/shell/script_tree.h"
#include "tools/shell/shell_reader.h"

namespace lares::tools {
namespace {

constexpr std::size_t kScriptBytesMax = 128 << 10;
constexpr int kNestingMax = 4;                  // sh -c 'sh -c ...'
constexpr std::size_t kReadBytesMax = 4 << 20;  // of texts that are run, one within the other
constexpr std::size_t kReadLeast = 512;         // that a text counts for

bool writes(TSNode redirect, std::string_view script) {
  const std::string_view text = text_of(redirect, script);
  const auto at = text.find_first_of("<>");
  if (at == std::string_view::npos || text[at] == '<') return false;
  std::string_view to = text.substr(text.find_last_of(">&|") + 1);
  while (!to.empty() && to.front() == ' ') to.remove_prefix(1);
  return to != "/dev/null" && to != "-" &&
         to.find_first_not_of("0123456789") != std::string_view::npos;
}

}  // namespace

void ShellReader::read_all_of(std::string_view script) {
  read(script, 0);
  out_.effort = effort_.spent();
  if (effort_.over()) give_up();
}

void ShellReader::give_up() {
  out_.understood = false;
  out_.hides_git = out_.given_up = true;  // whatever it is, it is not for people
}

void ShellReader::read(std::string_view script, int depth) {
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
  const ScriptTree tree = parse_script(script, effort_);
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

void ShellReader::walk(TSNode root, std::string_view script, int depth) {
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
    if (type == "expansion" && text_of(node, script).ends_with("@P}")) prompt(node, script, depth);
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

void ShellReader::read_all(const Unseen& unseen, std::string_view text, int depth) {
  if (unseen.lost) hide(text);
  for (const std::string& script : unseen.scripts) read(script_of(script), depth + 1);
}

void ShellReader::read_later(const Unseen& unseen, std::string_view text, int depth) {
  if (!unseen.scripts.empty()) out_.understood = false;
  read_all(unseen, text, depth);
}

void ShellReader::values(TSNode node, std::string_view script, int depth) {
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

void ShellReader::variable(TSNode node, std::string_view script, int depth) {
  const std::string name(text_of(field(node, "name"), script));
  const TSNode value = field(node, "value");
  if (ts_node_is_null(value) || type_of(value) == "array") return;
  if (name.starts_with("PS") || name.starts_with("BASH_") || name == "ENV" || is_run_variable(name))
    for (const auto& shape : words_.shapes(value, script)) set(name, shape, depth);
}

void ShellReader::prompt(TSNode node, std::string_view script, int depth) {
  for (const auto& shape : words_.prompts(node, script)) {
    read_later(expanded_later(shape, effort_), shape, depth);
    if (shape.find(kMade) == std::string::npos) continue;
    out_.understood = false;
    if (out_.made.empty()) out_.made = std::string(text_of(node, script));
  }
}

void ShellReader::hide(std::string_view script) {
  static constexpr std::string_view kWords[] = {"git",      " clean ",    "--hard",
                                                " stash ",  " checkout ", " restore ",
                                                " rebase ", "--force",    ",clean,"};
  out_.understood = false;
  effort_.spend(script.size());
  out_.hides_git = out_.hides_git || std::ranges::any_of(kWords, [&](std::string_view w) {
                     return script.find(w) != std::string_view::npos;
                   });
}

ShellScript shell_commands(std::string_view script) {
  ShellScript out;
  ShellReader(out).read_all_of(script);
  return out;
}

}  // namespace lares::tools
