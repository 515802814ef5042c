#include "tools/outline/node.h"

#include <algorithm>

namespace lares::tools {
namespace {

bool is_annotation(std::string_view type) {
  return type == "decorator" || type == "annotation" || type == "marker_annotation" ||
         type == "attribute_declaration";
}

std::string_view text_of(TSNode node, std::string_view source) {
  if (ts_node_is_null(node)) return "";
  const auto start = std::min<std::size_t>(ts_node_start_byte(node), source.size());
  return source.substr(start, ts_node_end_byte(node) - start);
}

// The child that holds the name, perhaps with more around it: a declarator, a left-hand side.
TSNode named_part(TSNode node) {
  const auto type = type_of(node);
  if (type == "lexical_declaration" || type == "variable_declaration")
    return field(ts_node_named_child(node, 0), "name");
  if (type == "impl_item") return field(node, "type");
  if (type == "pair") return field(node, "key");
  for (const std::string_view name : {"name", "property", "declarator", "left"}) {
    if (has_field(node, name)) return field(node, name);
  }
  return {};
}

// The next node on the way from a declarator, a type or a qualified name to its identifier; null at
// its end.
TSNode inner(TSNode node) {
  const auto type = type_of(node);
  if (type == "operator_cast") return {};
  if (type == "member_expression" || type == "nested_identifier") return field(node, "property");
  if (type == "qualified_identifier" || type == "scoped_type_identifier" ||
      type == "template_type" || type == "template_function" || type == "template_method")
    return field(node, "name");
  if (has_field(node, "declarator")) return field(node, "declarator");
  if (has_field(node, "type")) return field(node, "type");
  if (type == "reference_declarator" || type == "parenthesized_declarator" ||
      type == "attributed_declarator" || type == "pointer_type" || type == "parameter_list")
    return ts_node_named_child(node, 0);
  return {};
}

constexpr int kInnerMax = 16;

// The last identifier; what qualifies it goes to `scopes` where that is asked for.
std::string_view identifier(TSNode at, std::string_view source, std::vector<std::string>* scopes) {
  for (int depth = 0; depth < kInnerMax; ++depth) {
    const TSNode next = inner(at);
    if (ts_node_is_null(next)) break;
    if (scopes) {
      TSNode scope = has_field(at, "scope") ? field(at, "scope") : field(at, "object");
      for (int k = 0; k < kInnerMax && !ts_node_is_null(scope); ++k) {  // A.prototype.f: both
        scopes->emplace_back(identifier(scope, source, nullptr));
        scope = field(scope, "object");
      }
    }
    at = next;
  }
  auto text = text_of(at, source);
  if (type_of(at) == "operator_cast") text = text.substr(0, text.find('('));
  return text;
}

}  // namespace

std::string_view type_of(TSNode node) { return ts_node_is_null(node) ? "" : ts_node_type(node); }

TSNode field(TSNode node, std::string_view name) {
  if (ts_node_is_null(node)) return node;
  return ts_node_child_by_field_name(node, name.data(), static_cast<std::uint32_t>(name.size()));
}

bool has_field(TSNode node, std::string_view name) { return !ts_node_is_null(field(node, name)); }

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

TSNode value_of(TSNode node) {
  const auto type = type_of(node);
  if (type == "assignment_expression") return field(node, "right");
  if (type == "lexical_declaration" || type == "variable_declaration")
    node = ts_node_named_child(node, 0);
  return ts_node_is_null(node) ? node : field(node, "value");
}

std::vector<std::string> name_parts(std::string_view name) {
  std::vector<std::string> parts;
  while (!name.empty()) {
    const auto end = name.find_first_of(".:#");
    if (end != 0) parts.emplace_back(name.substr(0, end));
    name.remove_prefix(end == std::string_view::npos ? name.size() : end + 1);
  }
  return parts;
}

Identifier identifier_of(TSNode node, std::string_view source) {
  Identifier out;
  if (has_field(node, "receiver"))  // a Go method
    out.scopes.emplace_back(identifier(field(node, "receiver"), source, nullptr));
  auto name = identifier(named_part(node), source, &out.scopes);
  if (name.starts_with('#')) name.remove_prefix(1);  // a private member of a JavaScript class
  if (name.size() >= 2 && (name.front() == '"' || name.front() == '\'') &&
      name.back() == name.front())
    name = name.substr(1, name.size() - 2);
  out.name = name;
  return out;
}

}  // namespace lares::tools
