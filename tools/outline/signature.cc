#include "tools/outline/signature.h"

#include <algorithm>
#include <cctype>

#include "tools/outline/node.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::size_t kSignatureBytesMax = 160;
constexpr std::size_t kKeyDepthMax = 2;

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

// A C++ constructor's `: a_(a), b_(b)` is no part of its signature.
std::uint32_t start_of_initializers(TSNode node, std::uint32_t otherwise) {
  for (std::uint32_t i = 0; i < ts_node_named_child_count(node); ++i) {
    const TSNode child = ts_node_named_child(node, i);
    if (type_of(child) == "field_initializer_list") return ts_node_start_byte(child);
  }
  return otherwise;
}

std::uint32_t until(char c, const Signature& found, std::string_view source) {
  const auto at = source.substr(found.start, found.end - found.start).find(c);
  return at == std::string_view::npos ? found.end : found.start + static_cast<std::uint32_t>(at);
}

void elide_bodies(std::string& text, TSNode node, std::string_view source) {
  const auto whole = source.substr(ts_node_start_byte(node),
                                   ts_node_end_byte(node) - ts_node_start_byte(node));
  const auto open = whole.find('{'), close = whole.rfind('}');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return;
  text =
      one_line(std::string(whole.substr(0, open)) + "{...}" + std::string(whole.substr(close + 1)));
}

}  // namespace

std::optional<Signature> find_signature(const Rule& rule, TSNode node, std::size_t depth,
                                        std::string_view source) {
  const TSNode body = field(node, "body");
  Signature found{ts_node_start_byte(first_part(node)), ts_node_end_byte(node)};
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
      found.end = until('{', found, source);
      break;
    case Shape::line:
      if (has_field(node, "parameters"))
        found.end = ts_node_end_byte(field(node, "parameters"));
      else
        found.end = until('\n', found, source);
      found.leaf = true;
      break;
    case Shape::key: {
      const TSNode key = field(node, "key");
      if (ts_node_is_null(key) || depth >= kKeyDepthMax) return std::nullopt;
      found.end = ts_node_end_byte(key);
      break;
    }
  }
  if (found.end <= found.start) return std::nullopt;
  return found;
}

std::string signature_text(const Rule& rule, TSNode node, const Signature& found,
                           std::string_view source) {
  auto text = std::string(rule.lead) +
              one_line(source.substr(found.start, found.end - found.start));
  if (rule.shape == Shape::alias) elide_bodies(text, node, source);
  return text;
}

bool has_body(const Rule& rule, TSNode node, std::string_view text) {
  switch (rule.shape) {
    case Shape::prototype:
      return false;
    case Shape::function:
    case Shape::declaration:  // C++: `A() = default` has none, and is all there is
      return has_field(node, "body") || type_of(node) == "function_definition";
    case Shape::alias:  // `typedef struct node node;`
      return type_of(node) != "type_definition" || text.find('{') != std::string_view::npos;
    default:
      return true;
  }
}

}  // namespace lares::tools
