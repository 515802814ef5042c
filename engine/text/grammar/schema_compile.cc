// From a schema's JSON to its nodes: keywords, references, bounds. What can be told of the whole
// alone (which anyOf holds what, which part has no document at all) is schema_finish.cc's.
#include "engine/text/grammar/schema_compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "engine/text/python_json.h"

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;
using Kind = SchemaNode::Kind;

constexpr std::string_view kDescribing[] = {
    "title",   "description", "default",  "examples",  "$schema", "$id",  "$comment",
    "$anchor", "deprecated",  "readOnly", "writeOnly", "$defs",   "$def", "definitions"};
// Which types a keyword says something of.
constexpr std::pair<std::string_view, std::string_view> kOfType[] = {
    {"properties", "object"},
    {"required", "object"},
    {"additionalProperties", "object"},
    {"items", "array"},
    {"minItems", "array"},
    {"maxItems", "array"},
    {"minimum", "number"},
    {"maximum", "number"},
    {"exclusiveMinimum", "number"},
    {"exclusiveMaximum", "number"},
    {"multipleOf", "number"},
    {"pattern", "string"},
    {"format", "string"}};
constexpr std::array<std::string_view, 7> kTypes = {"object",  "array",   "string", "number",
                                                    "integer", "boolean", "null"};

// Bytes of a node's place: of more nobody reads, and each of many nodes deep within others has one.
constexpr std::size_t kPathMax = 1024;

bool has_type(const Json& value, std::string_view type) {
  if (type == "integer") return value.is_number_integer();
  return type == std::string_view(value.type_name());  // nlohmann's names are JSON's
}

}  // namespace

tl::expected<NodeId, SchemaError> SchemaCompiler::whole() {
  const NodeId root = schema(whole_, "", 0);
  if (error_) return tl::unexpected(*error_);
  return root;
}

NodeId SchemaCompiler::fail(std::string path, std::string why) {
  if (!error_) error_ = SchemaError{std::move(path), std::move(why)};
  return 0;
}

NodeId SchemaCompiler::add(SchemaNode node, const std::string& path) {
  if (out_.nodes.size() > kSchemaNodesMax)
    return fail(path, fmt::format("the schema has more than {} parts", kSchemaNodesMax));
  out_.nodes.push_back(std::move(node));
  paths_.push_back(path.substr(0, kPathMax));
  return NodeId(out_.nodes.size() - 1);
}

// By where it stands: what is referred to twice, or from within itself, is one node.
NodeId SchemaCompiler::schema(const Json& schema, const std::string& path, int depth) {
  if (error_) return 0;
  if (const auto known = known_.find(&schema); known != known_.end()) return known->second;
  if (depth > kSchemaDepthMax)
    return fail(path, fmt::format("more than {} schemas in one another", kSchemaDepthMax));
  if (schema == false) return fail(path, "it allows nothing; leave it out");
  if (schema != true && !schema.is_object()) return fail(path, "a schema is an object");
  // An anyOf, of one where it is none: so it can be referred to before it is known
  const NodeId id = add({}, path);
  known_.emplace(&schema, id);
  std::vector<NodeId> alternatives = schema.is_object() ? alternatives_of(schema, path, depth)
                                                        : std::vector<NodeId>{any(path)};
  if (!error_) out_.nodes[id].alternatives = std::move(alternatives);
  return id;
}

std::vector<NodeId> SchemaCompiler::alternatives_of(const Json& schema, const std::string& path,
                                                    int depth) {
  for (const char* const elsewhere : {"$ref", "anyOf", "allOf"}) {
    const auto it = schema.find(elsewhere);
    if (it == schema.end()) continue;
    if (!only({elsewhere}, schema, path)) return {};
    const std::string at = fmt::format("{}.{}", path, elsewhere);
    if (elsewhere == std::string_view("$ref")) return {reference(*it, at, depth)};
    if (!it->is_array() || it->empty())
      return fail(at, "it must be an array of schemas"), std::vector<NodeId>();
    if (elsewhere == std::string_view("allOf") && it->size() > 1)
      return fail(at, "of several schemas at once none can be enforced; write them as one"),
             std::vector<NodeId>();
    std::vector<NodeId> all;
    for (std::size_t i = 0; i < it->size() && !error_; ++i)
      all.push_back(this->schema((*it)[i], fmt::format("{}[{}]", at, i), depth + 1));
    return all;
  }
  for (const char* const listed : {"enum", "const"}) {
    if (!schema.contains(listed)) continue;
    if (!only({listed, "type"}, schema, path)) return {};
    return {choices(schema, listed, path)};
  }
  std::vector<NodeId> all;
  const auto types = types_of(schema, path);
  if (types.empty() && !error_) return {any(path)};
  for (const std::string& type : types) {
    if (error_) break;
    all.push_back(of_type(schema, type, path, depth));
  }
  return all;
}

// Nothing but these and what describes.
bool SchemaCompiler::only(std::initializer_list<std::string_view> keywords, const Json& schema,
                          const std::string& path) {
  for (const auto& [name, value] : schema.items()) {
    if (std::ranges::find(kDescribing, name) != std::end(kDescribing) || name.starts_with("x-"))
      continue;
    if (std::ranges::find(keywords, name) != keywords.end()) continue;
    const bool beside =
        std::ranges::find(kOfType, name, &std::pair<std::string_view, std::string_view>::first) !=
            std::end(kOfType) ||
        name == "type" || name == "enum" || name == "const" || name == "anyOf" || name == "allOf";
    fail(fmt::format("{}.{}", path, name),
         beside ? fmt::format("beside {} it cannot be enforced; leave it out", *keywords.begin())
                : "it cannot be enforced; leave it out");
    return false;
  }
  return true;
}

std::vector<std::string> SchemaCompiler::types_of(const Json& schema, const std::string& path) {
  std::vector<std::string> types;
  const auto add_type = [&](const Json& type, const std::string& at) {
    if (!type.is_string() ||
        std::ranges::find(kTypes, type.get_ref<const std::string&>()) == kTypes.end())
      fail(at, fmt::format("it must be one of {}", fmt::join(kTypes, ", ")));
    else if (std::ranges::find(types, type.get_ref<const std::string&>()) == types.end())
      types.push_back(type.get<std::string>());
  };
  const auto type = schema.find("type");
  if (type != schema.end() && type->is_array()) {
    for (std::size_t i = 0; i < type->size(); ++i)
      add_type((*type)[i], fmt::format("{}.type[{}]", path, i));
    if (type->empty()) fail(path + ".type", "it must name a type");
  } else if (type != schema.end()) {
    add_type(*type, path + ".type");
  }
  for (const auto& [name, value] : schema.items()) {
    if (name == "type" || name.starts_with("x-") ||
        std::ranges::find(kDescribing, name) != std::end(kDescribing))
      continue;
    if (name == "uniqueItems" && value == false) continue;
    const auto of = std::ranges::find(kOfType, name,
                                      &std::pair<std::string_view, std::string_view>::first);
    if (of == std::end(kOfType)) {
      fail(fmt::format("{}.{}", path, name), "it cannot be enforced; leave it out");
    } else if (type == schema.end() && std::ranges::find(types, of->second) == types.end()) {
      types.emplace_back(of->second);  // who says what its properties are means an object
    }
  }
  return types;
}

NodeId SchemaCompiler::of_type(const Json& schema, const std::string& type, const std::string& path,
                               int depth) {
  if (type == "object") return object(schema, path, depth);
  if (type == "array") return array(schema, path, depth);
  if (type == "string") return string(schema, path);
  if (type == "number" || type == "integer") return number(schema, type == "integer", path);
  return texts(
      type == "null" ? std::vector<std::string>{"null"} : std::vector<std::string>{"false", "true"},
      path);
}

NodeId SchemaCompiler::any(const std::string& path) {
  if (any_ != 0) return any_;
  any_ = add({}, path);
  const std::vector<NodeId> all = {
      add({.kind = Kind::string}, path), add({.kind = Kind::number}, path),
      texts({"false", "null", "true"}, path), add({.kind = Kind::array, .items = any_}, path),
      add({.kind = Kind::map, .items = any_}, path)};
  if (!error_) out_.nodes[any_].alternatives = all;
  return any_;
}

NodeId SchemaCompiler::texts(std::vector<std::string> texts, const std::string& path) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  SchemaNode node{.kind = Kind::choices};
  node.choices = std::move(texts);
  const auto is_string = [](const std::string& text) { return text.starts_with('"'); };
  if (node.choices.size() >= kListedMin && std::ranges::all_of(node.choices, is_string)) {
    for (const std::string& choice : node.choices) node.listed += choice + kListEnd;
  }
  return add(std::move(node), path);
}

NodeId SchemaCompiler::choices(const Json& schema, const char* listed, const std::string& path) {
  const Json& given = schema[listed];
  const std::string at = fmt::format("{}.{}", path, listed);
  if (listed == std::string_view("enum") && !given.is_array())
    return fail(at, "it must be an array");
  const Json values = given.is_array() && listed == std::string_view("enum") ? given
                                                                             : Json::array({given});
  std::vector<std::string> types;
  if (const auto type = schema.find("type"); type != schema.end()) {
    const Json only_type = {{"type", *type}};
    types = types_of(only_type, path);
    if (error_) return 0;
  }
  std::vector<std::string> all;
  for (const Json& value : values) {
    if (!types.empty() &&
        std::ranges::none_of(types, [&](const std::string& t) { return has_type(value, t); }))
      continue;
    all.push_back(python_json(value));
    if (!take_text(all.back().size(), at)) return 0;
  }
  if (all.empty()) return fail(at, "it has no value of the type");
  n_choices_ += all.size();
  if (n_choices_ > kSchemaChoicesMax)
    return fail(at, fmt::format("the schema lists more than {} values", kSchemaChoicesMax));
  return texts(std::move(all), path);
}

bool SchemaCompiler::take_text(std::size_t bytes, const std::string& path) {
  n_text_ += bytes;
  if (n_text_ > kSchemaTextMax)
    fail(path, fmt::format("the schema's names and listed values have more than {} bytes",
                           kSchemaTextMax));
  return !error_;
}

NodeId SchemaCompiler::string(const Json& schema, const std::string& path) {
  const auto pattern = schema.find("pattern"), format = schema.find("format");
  if (pattern != schema.end() && format != schema.end())
    return fail(path + ".format", "beside pattern it cannot be enforced; leave it out");
  SchemaNode node{.kind = Kind::string};
  if (pattern != schema.end()) {
    if (!pattern->is_string()) return fail(path + ".pattern", "it must be a string");
    node.pattern = this->pattern(pattern->get<std::string>(), path + ".pattern");
  } else if (format != schema.end()) {
    const std::string_view expression =
        format->is_string() ? expression_of_format(format->get_ref<const std::string&>()) : "";
    if (expression.empty())
      return fail(path + ".format", "this format cannot be enforced; leave it out");
    node.pattern = this->pattern(std::string(expression), path + ".format");
  }
  return add(std::move(node), path);
}

std::shared_ptr<const Pattern> SchemaCompiler::pattern(const std::string& expression,
                                                       const std::string& path) {
  if (const auto known = patterns_.find(expression); known != patterns_.end()) return known->second;
  auto compiled = Pattern::compile(expression, steps_left_);
  if (!compiled)
    return fail(path, fmt::format("{}; write it otherwise or leave it out", compiled.error())),
           nullptr;
  n_states_ += compiled->n_states();
  if (n_states_ > kSchemaPatternStatesMax)
    return fail(path, fmt::format("the schema's patterns have more than {} states",
                                  kSchemaPatternStatesMax)),
           nullptr;
  return patterns_[expression] = std::make_shared<const Pattern>(std::move(*compiled));
}

NodeId SchemaCompiler::number(const Json& schema, bool whole, const std::string& path) {
  SchemaNode node{.kind = Kind::number};
  NumberRange& range = node.range;
  range.whole = whole;
  constexpr double kBeyond = 1e19;  // of kNumberDigitsMax
  constexpr auto kMost = static_cast<WideInteger>(9'999'999'999'999'999'999u);
  const auto bound = [&](const char* keyword, bool upper, bool open) {
    const auto it = schema.find(keyword);
    if (it == schema.end() || error_) return;
    const std::string at = fmt::format("{}.{}", path, keyword);
    if (!it->is_number()) return (void)fail(at, "it must be a number");
    const double about = it->get<double>();
    // Only a number with an exponent comes there, and a bound forbids those
    const bool beyond = upper ? about >= kBeyond : about <= -kBeyond;
    if (!beyond && (upper ? about <= -kBeyond : about >= kBeyond))
      return (void)fail(
          at, fmt::format("numbers are written with at most {} digits", kNumberDigitsMax));
    const auto exact = beyond ? Decimal{upper ? kMost : -kMost} : decimal_of(*it);
    if (!exact)
      return (void)fail(at,
                        fmt::format("it can be enforced with at most {} digits", kNumberDigitsMax));
    auto& place = upper ? range.high : range.low;
    bool& place_open = upper ? range.high_open : range.low_open;
    const bool wider = place && (upper ? *place < *exact : *exact < *place),
               same = place && !(*place < *exact) && !(*exact < *place);
    if (wider) return;
    place_open = (open && !beyond) || (same && place_open);
    place = exact;
  };
  bound("minimum", false, false);
  bound("exclusiveMinimum", false, true);
  bound("maximum", true, false);
  bound("exclusiveMaximum", true, true);
  if (const auto step = schema.find("multipleOf"); step != schema.end() && !error_) {
    const auto exact = step->is_number() ? decimal_of(*step) : std::nullopt;
    if (!exact || exact->places != 0 || exact->n <= 0)
      return fail(path + ".multipleOf",
                  fmt::format("it can be enforced as a whole number of at most {} digits",
                              kNumberDigitsMax));
    range.whole = true;  // multiples of whole numbers are
    range.step = exact->n;
  }
  if (!error_ && range.bounded() && range.empty())
    return fail(path, "no number is within its bounds");
  return add(std::move(node), path);
}

NodeId SchemaCompiler::array(const Json& schema, const std::string& path, int depth) {
  SchemaNode node{.kind = Kind::array};
  const auto count = [&](const char* keyword, std::uint32_t& to) {
    const auto it = schema.find(keyword);
    if (it == schema.end()) return;
    const bool whole = it->is_number_unsigned() ||
                       (it->is_number_integer() && it->get<std::int64_t>() >= 0);
    if (!whole || it->get<std::uint64_t>() >= UINT32_MAX)
      fail(fmt::format("{}.{}", path, keyword), "it must be a whole number below 2^32 - 1");
    else
      to = it->get<std::uint32_t>();
  };
  count("minItems", node.items_min);
  count("maxItems", node.items_max);
  if (node.items_min > node.items_max) return fail(path + ".minItems", "it is more than maxItems");
  const auto items = schema.find("items");
  if (items != schema.end())
    node.items = this->schema(*items, path + ".items", depth + 1);
  else
    node.items = any(path);
  return add(std::move(node), path);
}

NodeId SchemaCompiler::object(const Json& schema, const std::string& path, int depth) {
  const auto properties = schema.find("properties"), more = schema.find("additionalProperties"),
             required = schema.find("required");
  if (properties != schema.end() && !properties->is_object())
    return fail(path + ".properties", "it must be an object");
  if (properties != schema.end()) {
    n_properties_ += properties->size();
    if (n_properties_ > kSchemaPropertiesMax)
      return fail(
          path + ".properties",
          fmt::format("the schema's objects have more than {} properties", kSchemaPropertiesMax));
  }
  std::set<std::string> declared, names;
  if (properties != schema.end()) {
    for (const auto& [name, value] : properties->items()) declared.insert(name);
  }
  if (required != schema.end()) {
    if (!required->is_array()) return fail(path + ".required", "it must be an array of names");
    for (const Json& name : *required) {
      if (!name.is_string()) return fail(path + ".required", "it must be an array of names");
      if (!declared.contains(name.get_ref<const std::string&>()))
        return fail(path + ".required", fmt::format("'{}' is not among the properties",
                                                    name.get_ref<const std::string&>()));
      names.insert(name.get<std::string>());
    }
  }
  const bool open = more != schema.end() && *more != false;
  if (open && properties != schema.end() && !properties->empty())
    return fail(path + ".additionalProperties",
                "beside properties it can be enforced as false alone");
  if (open || (properties == schema.end() && more == schema.end())) {
    SchemaNode node{.kind = Kind::map};
    node.items = open ? this->schema(*more, path + ".additionalProperties", depth + 1) : any(path);
    return add(std::move(node), path);
  }
  SchemaNode node{.kind = Kind::object};
  if (properties != schema.end()) {
    for (const auto& [name, value] : properties->items()) {
      if (name.size() > kSchemaNameMax)
        return fail(path + ".properties",
                    fmt::format("a name has {} bytes, of at most {}", name.size(), kSchemaNameMax));
      const std::string at = fmt::format("{}.properties.{}", path, name);
      if (!take_text(name.size(), at)) return 0;
      node.properties.push_back({name, python_json_string(name), this->schema(value, at, depth + 1),
                                 names.contains(name)});
    }
  }
  return add(std::move(node), path);
}

NodeId SchemaCompiler::reference(const Json& reference, const std::string& path, int depth) {
  const std::string text = reference.is_string() ? reference.get<std::string>() : "";
  if (text.size() > kSchemaNameMax)
    return fail(path, fmt::format("it has {} bytes, of at most {}", text.size(), kSchemaNameMax));
  if (!text.starts_with('#'))
    return fail(path, "a reference within the schema is needed, such as #/$defs/item");
  const auto found = references_.find(text);
  if (!found.schema)
    return fail(path, text.size() > 1 && text[1] != '/' ? "it is no JSON pointer"
                                                        : fmt::format("nothing is at {}", text));
  return schema(*found.schema, found.path, depth + 1);
}

}  // namespace lares::engine
