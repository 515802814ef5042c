#include "tools/outline_syntax.h"

#include <tree_sitter/api.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <optional>

#include "tools/outline_languages.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::size_t kSignatureBytesMax = 160;
constexpr std::size_t kDefinitionsMax = 5000;  // of one file
constexpr std::size_t kKeyDepthMax = 2;

struct FreeParser {
  void operator()(TSParser* p) const { ts_parser_delete(p); }
};
struct FreeTree {
  void operator()(TSTree* t) const { ts_tree_delete(t); }
};
using Tree = std::unique_ptr<TSTree, FreeTree>;

struct Budget {
  std::string_view source;
  std::chrono::steady_clock::time_point deadline;
  const std::atomic<bool>& cancelled;
};

Tree parse(const Language& language, Budget budget) {
  std::unique_ptr<TSParser, FreeParser> parser(ts_parser_new());
  if (!ts_parser_set_language(parser.get(), language.grammar())) return nullptr;
  const TSInput input{&budget,
                      [](void* payload, std::uint32_t at, TSPoint, std::uint32_t* n) {
                        const std::string_view source = static_cast<Budget*>(payload)->source;
                        const auto rest = source.substr(std::min<std::size_t>(at, source.size()));
                        *n = static_cast<std::uint32_t>(rest.size());
                        return rest.data();
                      },
                      TSInputEncodingUTF8, nullptr};
  const TSParseOptions options{&budget, [](TSParseState* state) {
                                 const auto& b = *static_cast<Budget*>(state->payload);
                                 return b.cancelled.load(std::memory_order_relaxed) ||
                                        std::chrono::steady_clock::now() > b.deadline;
                               }};
  return Tree(ts_parser_parse_with_options(parser.get(), nullptr, input, options));
}

std::string_view type_of(TSNode node) { return ts_node_is_null(node) ? "" : ts_node_type(node); }

TSNode field(TSNode node, std::string_view name) {
  return ts_node_child_by_field_name(node, name.data(), static_cast<std::uint32_t>(name.size()));
}

bool has_field(TSNode node, std::string_view name) { return !ts_node_is_null(field(node, name)); }

// Runs of blanks become one space; bounded, valid UTF-8, without the punctuation that led to the
// body.
std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isspace(static_cast<unsigned char>(c))) {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else {
      out += c;
    }
    if (out.size() > 4 * kSignatureBytesMax) break;
  }
  out = to_utf8(out);
  while (!out.empty() && std::string_view(" ;:{=").find(out.back()) != std::string_view::npos)
    out.pop_back();
  if (out.ends_with("=>")) out.resize(out.find_last_not_of(" ", out.size() - 3) + 1);
  if (out.size() > kSignatureBytesMax)
    out.resize(utf8_floor(out, kSignatureBytesMax - 3)), out += "...";
  return out;
}

bool is_annotation(std::string_view type) {
  return type == "decorator" || type == "annotation" || type == "marker_annotation" ||
         type == "attribute_declaration";
}

// Where the signature proper begins: after decorators and annotations, which often stand on lines
// of their own.
TSNode first_part(TSNode node) {
  std::uint32_t i = 0;
  const std::uint32_t n = ts_node_child_count(node);
  for (; i < n; ++i) {
    const TSNode child = ts_node_child(node, i);
    if (is_annotation(type_of(child))) continue;
    if (type_of(child) != "modifiers") break;
    for (std::uint32_t j = 0; j < ts_node_child_count(child); ++j) {
      const TSNode modifier = ts_node_child(child, j);
      if (!is_annotation(type_of(modifier))) return modifier;
    }
  }
  return i == 0 || i == n ? node : ts_node_child(node, i);
}

// The function that a C declarator declares, through pointers and references; a pointer to a
// function is a variable.
bool declares_function(TSNode declarator) {
  for (int depth = 0; depth < 8 && !ts_node_is_null(declarator); ++depth) {
    const auto type = type_of(declarator);
    if (type == "function_declarator")
      return type_of(field(declarator, "declarator")) != "parenthesized_declarator";
    if (type != "pointer_declarator" && type != "reference_declarator") return false;
    const TSNode inner = field(declarator, "declarator");
    declarator = ts_node_is_null(inner) ? ts_node_named_child(declarator, 0) : inner;
  }
  return false;
}

// The right-hand side of `const f = ...`, `exports.f = ...`, `f: ...`, `f = ...` in a class.
TSNode value_of(TSNode node) {
  const auto type = type_of(node);
  if (type == "assignment_expression") return field(node, "right");
  if (type == "lexical_declaration" || type == "variable_declaration")
    node = ts_node_named_child(node, 0);
  return ts_node_is_null(node) ? node : field(node, "value");
}

struct Found {
  std::uint32_t start, end;  // bytes of the signature
  bool function = false, leaf = false;
};

class Outliner {
 public:
  Outliner(const Language& language, std::string_view source, SourceOutline& out)
      : source_(source), out_(out) {
    const TSLanguage* grammar = language.grammar();
    rules_.resize(ts_language_symbol_count(grammar));
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

  void leave(int level) {
    while (!enclosing_.empty() && enclosing_.back().level >= level) enclosing_.pop_back();
  }

  void visit(TSNode node, int level) {
    if (ts_node_is_error(node) || ts_node_is_missing(node)) note_error(node);
    const auto symbol = ts_node_symbol(node);
    const Rule* rule = symbol < rules_.size() ? rules_[symbol] : nullptr;
    if (!rule || (!enclosing_.empty() && enclosing_.back().leaf)) return;
    const bool in_function = std::ranges::any_of(enclosing_, &Enclosing::function);
    if (in_function && !rule->local) return;
    const auto found = signature(*rule, node);
    if (!found) return;
    const auto text = one_line(source_.substr(found->start, found->end - found->start));
    const auto line = static_cast<int>(line_of(found->start));
    out_.definitions.push_back(
        {line, static_cast<int>(enclosing_.size()), std::string(rule->lead) + text});
    if (rule->shape == Shape::alias) elide_bodies(out_.definitions.back().text, node);
    enclosing_.push_back({level, found->function, found->leaf});
  }

  std::optional<Found> signature(const Rule& rule, TSNode node) const {
    const TSNode body = field(node, "body");
    Found found{ts_node_start_byte(first_part(node)), ts_node_end_byte(node)};
    switch (rule.shape) {
      case Shape::body:
        if (ts_node_is_null(body) || !(has_field(node, "name") || has_field(node, "type")))
          return std::nullopt;
        found.end = ts_node_start_byte(body);
        break;
      case Shape::function:
      case Shape::declaration:
        if (!ts_node_is_null(body)) found.end = ts_node_start_byte(body);
        found.end = std::min(found.end, start_of_initializers(node, found.end));
        found.function = rule.shape == Shape::function;
        break;
      case Shape::prototype:
        if (!declares_function(field(node, "declarator"))) return std::nullopt;
        found.leaf = true;
        break;
      case Shape::value: {
        const TSNode value = value_of(node);
        const auto type = type_of(value);
        if (type != "arrow_function" && type != "function_expression" &&
            type != "generator_function" && type != "class") {
          return std::nullopt;
        }
        found.end = ts_node_start_byte(field(value, "body"));
        found.function = type != "class";
        break;
      }
      case Shape::alias:
        found.leaf = true;
        break;
      case Shape::brace:
        found.end = until('{', found);
        break;
      case Shape::line:
        if (has_field(node, "parameters"))
          found.end = ts_node_end_byte(field(node, "parameters"));
        else
          found.end = until('\n', found);
        found.leaf = true;
        break;
      case Shape::key: {
        const TSNode key = field(node, "key");
        if (ts_node_is_null(key) || enclosing_.size() >= kKeyDepthMax) return std::nullopt;
        found.end = ts_node_end_byte(key);
        break;
      }
    }
    if (found.end <= found.start) return std::nullopt;
    return found;
  }

  // A C++ constructor's `: a_(a), b_(b)` is no part of its signature.
  static std::uint32_t start_of_initializers(TSNode node, std::uint32_t otherwise) {
    for (std::uint32_t i = 0; i < ts_node_named_child_count(node); ++i) {
      const TSNode child = ts_node_named_child(node, i);
      if (type_of(child) == "field_initializer_list") return ts_node_start_byte(child);
    }
    return otherwise;
  }

  std::uint32_t until(char c, const Found& found) const {
    const auto at = source_.substr(found.start, found.end - found.start).find(c);
    return at == std::string_view::npos ? found.end : found.start + static_cast<std::uint32_t>(at);
  }

  void elide_bodies(std::string& text, TSNode node) const {
    const auto whole =
        source_.substr(ts_node_start_byte(node), ts_node_end_byte(node) - ts_node_start_byte(node));
    const auto open = whole.find('{'), close = whole.rfind('}');
    if (open == std::string_view::npos || close == std::string_view::npos || close < open) return;
    text = one_line(std::string(whole.substr(0, open)) + "{...}" +
                    std::string(whole.substr(close + 1)));
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
  std::vector<Enclosing> enclosing_;
  std::uint32_t counted_to_ = 0, line_ = 1;
};

std::string_view extension_of(std::string_view path) {
  const auto name = path.substr(path.rfind('/') + 1);
  const auto dot = name.rfind('.');
  return dot == std::string_view::npos || dot == 0 ? std::string_view() : name.substr(dot + 1);
}

// Whether a line begins with what only C++ says.
bool has_cpp_words(std::string_view source) {
  for (auto line : split_lines(source)) {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    for (const std::string_view word :
         {"class ", "namespace ", "template", "public:", "private:", "using "}) {
      if (line.starts_with(word)) return true;
    }
  }
  return false;
}

SourceOutline outline_as(const Language& language, const Budget& budget) {
  SourceOutline out;
  out.language = language.name;
  const Tree tree = parse(language, budget);
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
  const Budget budget{source, deadline, cancelled};
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
