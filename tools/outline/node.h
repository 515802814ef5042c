// Questions about one node of a syntax tree, whatever its language.
#pragma once

#include <tree_sitter/api.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lares::tools {

std::string_view type_of(TSNode node);             // "" of a null node
TSNode field(TSNode node, std::string_view name);  // null: it has none
bool has_field(TSNode node, std::string_view name);

// The node and all below it, each before what is in it. With a cursor, not by recursion: nesting
// may be as deep as the text is long.
template <class Visit>
void for_each_node(TSNode root, Visit visit) {
  TSTreeCursor cursor = ts_tree_cursor_new(root);
  for (bool more = true; more;) {
    visit(ts_tree_cursor_current_node(&cursor));
    if (ts_tree_cursor_goto_first_child(&cursor)) continue;
    while (more && !ts_tree_cursor_goto_next_sibling(&cursor))
      more = ts_tree_cursor_goto_parent(&cursor);
  }
  ts_tree_cursor_delete(&cursor);
}

// The same, with the nodes around each, the outermost first: ts_node_parent() looks for its answer
// from the root on.
template <class Visit>
void for_each_node_in(TSNode root, Visit visit) {
  TSTreeCursor cursor = ts_tree_cursor_new(root);
  std::vector<TSNode> around;
  for (bool more = true; more;) {
    const TSNode node = ts_tree_cursor_current_node(&cursor);
    visit(node, std::as_const(around));
    if (ts_tree_cursor_goto_first_child(&cursor)) {
      around.push_back(node);
      continue;
    }
    while (more && !ts_tree_cursor_goto_next_sibling(&cursor)) {
      more = ts_tree_cursor_goto_parent(&cursor);
      if (more) around.pop_back();
    }
  }
  ts_tree_cursor_delete(&cursor);
}

// Where the signature proper begins: after decorators and annotations, which often stand on lines
// of their own.
TSNode first_part(TSNode node);

// The function that a C declarator declares, through pointers and references; a pointer to a
// function is a variable.
bool declares_function(TSNode declarator);

// The right-hand side of `const f = ...`, `exports.f = ...`, `f: ...`, `f = ...` in a class.
TSNode value_of(TSNode node);

// The parts of `a.b`, `a::b`, `a#b`; none of them is empty.
std::vector<std::string> name_parts(std::string_view name);

struct Identifier {
  std::string name;                 // "" when there is none
  std::vector<std::string> scopes;  // what qualifies it: of `int A::f()`, A
};

// What a definition defines: a declarator's identifier, the last one of a left-hand side, the type
// of a Rust impl. A Go method's receiver qualifies it.
Identifier identifier_of(TSNode node, std::string_view source);

}  // namespace lares::tools
