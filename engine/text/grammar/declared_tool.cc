#include "engine/text/grammar/declared_tool.h"

#include <map>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;

DeclaredTool strictly_declared(const ToolSpec& spec) {
  DeclaredTool out{spec.name, {}};
  const auto& properties = spec.strict->nodes[spec.strict->root].properties;
  for (std::size_t i = 0; i < properties.size(); ++i) {
    out.parameters.push_back(
        {properties[i].name, properties[i].required, spec.strict->parameters[i], spec.strict});
  }
  return out;
}

constexpr int kLooseDepthMax = 8;  // alternatives and references in one another

Json looser(const Json& schema, const Json& whole, int depth);

Json looser_of(const Json& alternatives, const Json& whole, int depth) {
  Json all = Json::array();
  for (const Json& one : alternatives) all.push_back(looser(one, whole, depth + 1));
  return {{"anyOf", std::move(all)}};
}

// Of a property of `whole`, a tool's schema, what says which JSON types it has, and which texts and
// numbers alone where it lists them; {}: nothing does.
Json looser(const Json& schema, const Json& whole, int depth) {
  if (!schema.is_object() || depth > kLooseDepthMax) return Json::object();
  if (const auto ref = schema.find("$ref"); ref != schema.end()) {
    const std::string to = ref->is_string() ? ref->get<std::string>() : "";
    if (!to.starts_with("#/")) return Json::object();
    try {
      return looser(whole.at(Json::json_pointer(to.substr(1))), whole, depth + 1);
    } catch (const Json::exception&) {
      return Json::object();
    }
  }
  for (const char* const listed : {"enum", "const"}) {
    if (schema.contains(listed)) return {{listed, schema[listed]}};
  }
  for (const char* const alternatives : {"anyOf", "oneOf"}) {
    const auto it = schema.find(alternatives);
    if (it != schema.end() && it->is_array()) return looser_of(*it, whole, depth);
  }
  if (const auto all = schema.find("allOf");
      all != schema.end() && all->is_array() && all->size() == 1)
    return looser((*all)[0], whole, depth + 1);
  return schema.contains("type") ? Json{{"type", schema["type"]}} : Json::object();
}

// `property` says more than that it is of one type.
void hold_loosely(DeclaredParameter& p, const Json& property, const Json& whole) {
  for (const Json& held : {looser(property, whole, 0), Json::object()}) {
    const auto schema = compile_parameters({{"type", "object"}, {"properties", {{"p", held}}}});
    if (!schema) continue;  // anything can be
    p.json = *schema, p.forms = p.json->parameters[0];
    return;
  }
}

}  // namespace

JsonSchemaRef schema_of_type(const std::string& type) {
  static const auto compiled = [] {
    std::map<std::string, JsonSchemaRef> all = {{"", *compile_schema(Json::object())}};
    for (const char* const name : {"integer", "number", "boolean", "array", "object"})
      all[name] = *compile_schema({{"type", name}});
    return all;
  }();
  const auto known = compiled.find(type);
  return known != compiled.end() ? known->second : compiled.at("");
}

DeclaredTool declared(const ToolSpec& spec) {
  if (spec.strict) return strictly_declared(spec);
  DeclaredTool out{spec.name, {}};
  const Json schema = Json::parse(spec.schema, nullptr, /*allow_exceptions=*/false);
  if (!schema.is_object() || !schema.contains("properties")) return out;
  std::set<std::string> required;
  for (const Json& name : schema.value("required", Json::array())) {
    if (name.is_string()) required.insert(name.get<std::string>());
  }
  for (const auto& [name, property] : schema["properties"].items()) {
    DeclaredParameter p{
        .name = name, .required = required.count(name) > 0, .forms = {}, .json = nullptr};
    const std::string type = property.is_object() && property.contains("type") &&
                                     property["type"].is_string()
                                 ? property["type"].get<std::string>()
                                 : "";
    p.forms.text = type == "string";
    if (type.empty())
      hold_loosely(p, property, schema);
    else if (!p.forms.text)
      p.json = schema_of_type(type), p.forms.json = p.json->root;
    if (p.forms.text && property.contains("enum") && property["enum"].is_array()) {
      for (const Json& value : property["enum"]) {
        if (value.is_string()) p.forms.one_of.push_back(value.get<std::string>());
      }
    }
    out.parameters.push_back(std::move(p));
  }
  return out;
}

}  // namespace lares::engine
