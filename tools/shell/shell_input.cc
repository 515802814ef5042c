// A shell that reads its script: from a here document, a file, or what another prints.
#include <cstdint>

#include "tools/outline/node.h"
#include "tools/shell/programs.h"
#include "tools/shell/script_tree.h"
#include "tools/shell/shell_reader.h"

namespace lares::tools {
namespace {

constexpr std::size_t kParentsMax = 64;  // looked at to see where a shell's input comes from
constexpr std::size_t kNodeCosts = 8;    // as much as so many bytes

}  // namespace

void ShellReader::input(TSNode command, std::string_view script, std::size_t at, int depth) {
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

TSNode ShellReader::input_of(TSNode node, std::string_view script) {
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

void ShellReader::input_from(TSNode redirect, std::string_view script, std::size_t at, int depth) {
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

void ShellReader::document(TSNode redirect, std::string_view script, int depth) {
  for (std::uint32_t i = 0; i < ts_node_named_child_count(redirect); ++i)
    if (const TSNode body = ts_node_named_child(redirect, i); type_of(body) == "heredoc_body")
      read(text_of(body, script), depth + 1);
}

}  // namespace lares::tools
