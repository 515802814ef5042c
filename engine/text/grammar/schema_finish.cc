// The last steps of compiling, on the whole graph of nodes: each anyOf as a flat list, how deep the
// flattest document of each node is (so that no walk enters one it could not leave), and what the
// walker looks up.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "engine/chat.h"
#include "engine/text/grammar/schema_compile.h"
#include "engine/text/grammar/schema_ways.h"
#include "engine/text/python_json.h"

namespace lares::engine {
namespace {

using Kind = SchemaNode::Kind;

// Alternatives looked at to have them all in flat lists, where those of one lead to another's. Of
// as many parts as there may be, each with as many as it may have: of more none is enforceable.
constexpr std::size_t kFlattenStepsMax = 4'000'000;

class Finisher {
 public:
  Finisher(JsonSchema& schema, std::vector<std::string> paths)
      : schema_(schema), nodes_(schema.nodes), paths_(std::move(paths)), seen_(nodes_.size(), 0) {}

  std::optional<SchemaError> flatten() {
    std::vector<std::vector<NodeId>> flat(nodes_.size());
    for (NodeId id = 1; id < flat.size(); ++id) {
      if (nodes_[id].kind != Kind::any_of) continue;
      flat[id] = alternatives_of(id);
      if (n_steps_ > kFlattenStepsMax)
        return SchemaError{paths_[id],
                           "its alternatives and those of others lead to one another in too many "
                           "ways; write them as one list"};
      if (flat[id].size() > kSchemaAlternativesMax)
        return SchemaError{paths_[id],
                           fmt::format("it has more than {} alternatives, with those within it",
                                       kSchemaAlternativesMax)};
    }
    for (NodeId id = 1; id < flat.size(); ++id) nodes_[id].alternatives = std::move(flat[id]);
    for (SchemaNode& node : nodes_) {
      node.items = resolved(node.items);
      for (SchemaProperty& property : node.properties) property.value = resolved(property.value);
    }
    schema_.root = resolved(schema_.root);
    return std::nullopt;
  }

  // Rounds until nothing changes: a depth is at most kDocumentDepthMax, or it is none.
  void find_depths() {
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t id = 1; id < nodes_.size(); ++id) {
        const int depth = depth_of(nodes_[id]);
        if (depth > kDocumentDepthMax || depth == nodes_[id].min_depth) continue;
        nodes_[id].min_depth = depth;
        changed = true;
      }
    }
  }

  void index() {
    for (SchemaNode& node : nodes_) {
      const std::size_t n = node.properties.size();
      node.by_key.resize(n);
      std::iota(node.by_key.begin(), node.by_key.end(), 0u);
      std::ranges::sort(node.by_key, {}, [&](std::uint32_t i) -> const std::string& {
        return node.properties[i].key;
      });
      node.next_required.assign(n + 1, std::uint32_t(n));
      for (std::size_t i = n; i-- > 0;)
        node.next_required[i] = node.properties[i].required ? std::uint32_t(i)
                                                            : node.next_required[i + 1];
    }
  }

  std::optional<SchemaError> count_ways() {
    if (schema_.parameters.empty()) return too_many_ways(schema_, schema_.root, paths_);
    for (const ParameterForms& forms : schema_.parameters) {
      if (forms.json == 0) continue;
      if (auto error = too_many_ways(schema_, forms.json, paths_)) return error;
    }
    return std::nullopt;
  }

  // Of the parameter at `path`.
  tl::expected<ParameterForms, SchemaError> forms_of(NodeId value, const std::string& path) {
    const std::vector<NodeId> all = nodes_[value].kind == Kind::any_of ? nodes_[value].alternatives
                                                                       : std::vector<NodeId>{value};
    ParameterForms out;
    std::vector<NodeId> json;
    bool anything = false;
    for (const NodeId id : all) {
      if (nodes_[id].kind == Kind::string) {
        out.text = true;
        if (nodes_[id].pattern)
          out.patterns.push_back(nodes_[id].pattern);
        else
          anything = true;
      } else if (nodes_[id].kind == Kind::choices) {
        n_choices_ += nodes_[id].choices.size();
        if (n_choices_ > kSchemaChoicesMax)
          return tl::unexpected(SchemaError{
              path, fmt::format("the parameters list more than {} values", kSchemaChoicesMax)});
        SchemaNode others{.kind = Kind::choices};
        for (const std::string& choice : nodes_[id].choices) {
          if (choice[0] == '"')
            out.one_of.push_back(nlohmann::json::parse(choice).get<std::string>());
          else
            others.choices.push_back(choice);
        }
        if (!others.choices.empty()) json.push_back(add(std::move(others), path));
      } else {
        json.push_back(id);
      }
    }
    out.text = out.text || !out.one_of.empty();
    if (anything) out.one_of.clear(), out.patterns.clear();
    if (!out.patterns.empty()) {
      for (const std::string& choice : out.one_of) {
        auto pattern = Pattern::compile(literally(choice));
        if (!pattern)
          return tl::unexpected(SchemaError{
              path, fmt::format("beside a pattern the listed text {} cannot be enforced: {}",
                                shown(choice), pattern.error())});
        n_literal_states_ += pattern->n_states();
        if (n_literal_states_ > kSchemaPatternStatesMax)
          return tl::unexpected(SchemaError{
              path, fmt::format("the texts listed beside patterns have more than {} characters",
                                kSchemaPatternStatesMax)});
        out.patterns.push_back(std::make_shared<const Pattern>(std::move(*pattern)));
      }
      out.one_of.clear();
      if (out.patterns.size() > kSchemaWaysMax)
        return tl::unexpected(
            SchemaError{path, fmt::format("it has {} patterns and texts beside them, of at most "
                                          "{}; write them as one pattern",
                                          out.patterns.size(), kSchemaWaysMax)});
    }
    if (json.size() == 1)
      out.json = json[0];
    else if (!json.empty())
      out.json = add({.kind = Kind::any_of, .alternatives = json}, path);
    return out;
  }

 private:
  static std::string literally(std::string_view text) {
    std::string out = "^";
    for (const char c : text) {
      if (std::string_view("\\^$.|?*+()[]{}").find(c) != std::string_view::npos) out += '\\';
      out += c;
    }
    return out + '$';
  }

  NodeId add(SchemaNode node, const std::string& path) {
    nodes_.push_back(std::move(node));
    paths_.push_back(path);
    return NodeId(nodes_.size() - 1);
  }

  NodeId resolved(NodeId id) const {
    return nodes_[id].kind == Kind::any_of && nodes_[id].alternatives.size() == 1
               ? nodes_[id].alternatives[0]
               : id;
  }

  // Of nodes some of which may be flat already: no any_of among them; one more than may be, where
  // there are more.
  std::vector<NodeId> alternatives_of(NodeId id) {
    ++round_;
    std::vector<NodeId> open = {id}, out;
    while (!open.empty() && out.size() <= kSchemaAlternativesMax) {
      const NodeId next = open.back();
      open.pop_back();
      ++n_steps_;
      if (seen_[next] == round_) continue;
      seen_[next] = round_;
      const SchemaNode& node = nodes_[next];
      if (node.kind == Kind::any_of)
        open.insert(open.end(), node.alternatives.rbegin(), node.alternatives.rend());
      else
        out.push_back(next);
    }
    return out;
  }

  int depth_of(const SchemaNode& node) const {
    const auto of = [&](NodeId id) { return nodes_[id].min_depth; };
    int depth = 0;
    switch (node.kind) {
      case Kind::any_of:
        depth = SchemaNode::kNever;
        for (const NodeId id : node.alternatives) depth = std::min(depth, of(id));
        return depth;
      case Kind::choices:
      case Kind::string:
      case Kind::number:
        return 0;
      case Kind::array:
        return node.items_min == 0 ? 1 : 1 + of(node.items);
      case Kind::map:
        return 1;
      case Kind::object:
        for (const SchemaProperty& p : node.properties)
          depth = std::max(depth, p.required ? of(p.value) : 0);
        return 1 + depth;
    }
    return depth;
  }

  JsonSchema& schema_;
  std::vector<SchemaNode>& nodes_;
  std::vector<std::string> paths_;  // [node]
  std::vector<std::size_t> seen_;
  std::size_t round_ = 0, n_steps_ = 0, n_choices_ = 0, n_literal_states_ = 0;
};

tl::expected<std::shared_ptr<JsonSchema>, SchemaError> compiled(const nlohmann::ordered_json& given,
                                                                bool parameters) {
  static const nlohmann::ordered_json kNoParameters = {{"type", "object"}};
  const auto& schema = parameters && given == nlohmann::ordered_json::object() ? kNoParameters
                                                                               : given;
  auto out = std::make_shared<JsonSchema>();
  out->nodes.emplace_back();
  SchemaCompiler compiler(schema, *out);
  const auto root = compiler.whole();
  if (!root) return tl::unexpected(root.error());
  out->root = *root;
  Finisher finisher(*out, compiler.take_paths());
  if (auto error = finisher.flatten()) return tl::unexpected(std::move(*error));
  if (parameters) {
    SchemaNode& node = out->nodes[out->root];
    if (node.kind == Kind::map && !schema.contains("additionalProperties"))
      node.kind = Kind::object;  // it takes none
    if (node.kind != Kind::object)
      return tl::unexpected(SchemaError{"", "a tool's parameters are an object with properties"});
    const std::vector<SchemaProperty> properties = node.properties;
    for (const SchemaProperty& p : properties) {
      if (!is_parameter_name(p.name))
        return tl::unexpected(SchemaError{
            ".properties." + p.name,
            fmt::format("a parameter's name is 1 to {} bytes without quotes, angle brackets and "
                        "control characters",
                        kParameterNameBytesMax)});
      auto forms = finisher.forms_of(p.value, ".properties." + p.name);
      if (!forms) return tl::unexpected(std::move(forms.error()));
      out->parameters.push_back(std::move(*forms));
    }
  }
  finisher.find_depths();
  finisher.index();
  if (out->nodes[out->root].min_depth > kDocumentDepthMax)
    return tl::unexpected(SchemaError{
        "", fmt::format("no document of at most {} arrays and objects in one another satisfies it",
                        kDocumentDepthMax)});
  if (auto error = finisher.count_ways()) return tl::unexpected(std::move(*error));
  return out;
}

}  // namespace

tl::expected<JsonSchemaRef, SchemaError> compile_schema(const nlohmann::ordered_json& schema) {
  return compiled(schema, /*parameters=*/false);
}
tl::expected<JsonSchemaRef, SchemaError> compile_parameters(const nlohmann::ordered_json& schema) {
  return compiled(schema, /*parameters=*/true);
}

}  // namespace lares::engine
