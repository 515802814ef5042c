#include "tools/outline/syntax.h"

#include <tree_sitter/api.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "tools/outline/languages.h"
#include "tools/outline/node.h"
#include "tools/outline/signature.h"
#include "tools/outline/syntax_tree.h"

namespace lares::tools {
namespace {

constexpr std::size_t kDefinitionsMax = 5000;  // of one file
constexpr std::size_t kScopesMax = 8;          // the innermost ones count
constexpr std::size_t kNameBytesMax = 200;     // longer ones are not asked for

// What a node that is no definition means for one.
enum class Role : std::uint8_t {
  none,
  prefix,   // a sibling before it that belongs to it
  comment,  // may stand between
  wrapper,  // a parent that it begins with
  scope,    // encloses it and is not listed
};

Role role_of(std::string_view type) {
  if (type == "decorator" || type == "attribute_item") return Role::prefix;
  if (type == "comment" || type == "line_comment" || type == "block_comment") return Role::comment;
  if (type == "decorated_definition" || type == "export_statement" ||
      type == "ambient_declaration" || type == "template_declaration" ||
      type == "linkage_specification" || type == "expression_statement")
    return Role::wrapper;
  if (type == "namespace_definition") return Role::scope;
  return Role::none;
}

class Outliner {
 public:
  Outliner(const Language& language, std::string_view source, SourceOutline& out)
      : source_(source), out_(out) {
    const TSLanguage* grammar = language.grammar();
    rules_.resize(ts_language_symbol_count(grammar));
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      roles_.push_back(role_of(ts_language_symbol_name(grammar, static_cast<TSSymbol>(i))));
    }
    for (const Rule& rule : language.rules) {
      const auto symbol = ts_language_symbol_for_name(
          grammar, rule.node.data(), static_cast<std::uint32_t>(rule.node.size()), true);
      if (symbol < rules_.size()) rules_[symbol] = &rule;
    }
  }

  // With a cursor, not by recursion: an expression nested 50,000 deep parses, and would overflow
  // the stack.
  void walk(TSNode root) {
    TSTreeCursor cursor = ts_tree_cursor_new(root);
    int level = 0;
    for (bool more = true; more && out_.definitions.size() < kDefinitionsMax;) {
      visit(ts_tree_cursor_current_node(&cursor), level);
      if (ts_tree_cursor_goto_first_child(&cursor)) {
        ++level;
        continue;
      }
      leave(level);
      while (!ts_tree_cursor_goto_next_sibling(&cursor)) {
        more = ts_tree_cursor_goto_parent(&cursor);
        if (!more) break;
        leave(--level);
      }
    }
    ts_tree_cursor_delete(&cursor);
  }

 private:
  struct Enclosing {
    int level;
    bool function, leaf;
  };
  struct Scope {
    int level;
    std::string name;
  };
  struct Place {     // of the node last visited on its level
    int start = 0;   // the line where it starts, with what belongs to it
    int prefix = 0;  // the line where the prefixes before the next one start, 0: none
    bool wrapper = false;
  };

  void leave(int level) {
    while (!enclosing_.empty() && enclosing_.back().level >= level) enclosing_.pop_back();
    while (!scopes_.empty() && scopes_.back().level >= level) scopes_.pop_back();
  }

  void place(TSNode node, Role role, int level) {
    places_.resize(static_cast<std::size_t>(level) + 1);  // forgets the levels below
    Place& here = places_.back();
    here.start = static_cast<int>(ts_node_start_point(node).row) + 1;
    if (here.prefix > 0) here.start = std::min(here.start, here.prefix);
    if (level > 0 && places_[level - 1].wrapper)
      here.start = std::min(here.start, places_[level - 1].start);
    here.wrapper = role == Role::wrapper;
    if (role == Role::prefix)
      here.prefix = here.start;
    else if (role != Role::comment)
      here.prefix = 0;
  }

  void visit(TSNode node, int level) {
    if (ts_node_is_error(node) || ts_node_is_missing(node)) note_error(node);
    const auto symbol = ts_node_symbol(node);
    const Rule* rule = symbol < rules_.size() ? rules_[symbol] : nullptr;
    const Role role = symbol < roles_.size() ? roles_[symbol] : Role::none;
    place(node, role, level);
    if (role == Role::scope) {
      auto name = identifier_of(node, source_).name;
      if (name.size() <= kNameBytesMax) scopes_.push_back({level, std::move(name)});
    }
    if (!rule || (!enclosing_.empty() && enclosing_.back().leaf)) return;
    const bool in_function = std::ranges::any_of(enclosing_, &Enclosing::function);
    if (in_function && !rule->local) return;
    if (const auto found = find_signature(*rule, node, enclosing_.size(), source_))
      add(*rule, node, *found, level);
  }

  void add(const Rule& rule, TSNode node, const Signature& found, int level) {
    Definition definition{};
    definition.line = static_cast<int>(line_of(found.start));
    definition.depth = static_cast<int>(enclosing_.size());
    definition.text = signature_text(rule, node, found, source_);
    auto identifier = identifier_of(node, source_);
    if (identifier.name.size() > kNameBytesMax) identifier.name.clear();
    definition.scope.assign(1, '.');
    for (auto i = scopes_.size() - std::min(scopes_.size(), kScopesMax); i < scopes_.size(); ++i)
      definition.scope += scopes_[i].name + ".";
    for (const auto& scope : identifier.scopes) {
      if (scope.size() <= kNameBytesMax) definition.scope += scope + ".";
    }
    definition.name = std::move(identifier.name);
    const TSPoint end = ts_node_end_point(node);
    definition.start_line = places_.back().start;
    definition.end_line = std::max(definition.start_line,
                                   static_cast<int>(end.row) + (end.column > 0 ? 1 : 0));
    definition.has_body = has_body(rule, node, definition.text);
    enclosing_.push_back({level, found.function, found.leaf});
    scopes_.push_back({level, definition.name});
    out_.definitions.push_back(std::move(definition));
  }

  // Definitions come in the order of the text, so counting line ends goes on from the last one.
  std::uint32_t line_of(std::uint32_t byte) {
    if (byte < counted_to_) counted_to_ = 0, line_ = 1;
    line_ += static_cast<std::uint32_t>(
        std::count(source_.begin() + counted_to_, source_.begin() + byte, '\n'));
    counted_to_ = byte;
    return line_;
  }

  void note_error(TSNode node) {
    ++out_.n_errors;
    const auto line = static_cast<int>(ts_node_start_point(node).row) + 1;
    auto& lines = out_.error_lines;
    if (lines.size() < kErrorLinesMax && (lines.empty() || lines.back() != line))
      lines.push_back(line);
  }

  std::string_view source_;
  SourceOutline& out_;
  std::vector<const Rule*> rules_;  // by symbol
  std::vector<Role> roles_;         // by symbol
  std::vector<Enclosing> enclosing_;
  std::vector<Scope> scopes_;  // those and the namespaces
  std::vector<Place> places_;  // by level
  std::uint32_t counted_to_ = 0, line_ = 1;
};

SourceOutline outline_as(const Language& language, const ParseBudget& budget) {
  SourceOutline out;
  out.language = language.name;
  const SyntaxTree tree = parse_syntax(language, budget);
  if (!tree) {
    out.complete = false;
    return out;
  }
  Outliner(language, budget.source, out).walk(ts_tree_root_node(tree.get()));
  return out;
}

}  // namespace

bool can_outline(std::string_view path) { return language_for(extension_of(path)) != nullptr; }

std::string outline_languages() {
  std::string names;
  for (const Language& language : all_languages()) {
    if (!names.empty()) names += ", ";
    names += language.name;
  }
  return names;
}

SourceOutline outline_source(std::string_view path, std::string_view source,
                             std::chrono::steady_clock::time_point deadline,
                             const std::atomic<bool>& cancelled) {
  const auto extension = extension_of(path);
  const Language* language = language_for(extension);
  if (!language) return {};
  const ParseBudget budget{source, deadline, cancelled};
  SourceOutline out = outline_as(*language, budget);
  // `class A { public: void f(); };` is no error in C: a function A that returns a `class`. So the
  // words count as well.
  const bool looks_cpp = extension == "h" && has_cpp_words(source);
  if (extension == "h" && (looks_cpp || out.n_errors > 0)) {
    SourceOutline as_cpp = outline_as(cpp_language(), budget);
    if (as_cpp.complete && as_cpp.n_errors < out.n_errors + (looks_cpp ? 1 : 0)) return as_cpp;
  }
  return out;
}

}  // namespace lares::tools
