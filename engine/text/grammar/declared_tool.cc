#include "engine/text/grammar/declared_tool.h"

#include <map>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/grammar/loose_schema.h"

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

// `property` says more than that it is of one type.
void hold_loosely(DeclaredParameter& p, const Json& property, LooseSchemas& loose) {
  for (const Json& held : {loose.of(property), Json::object()}) {
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
  LooseSchemas loose(schema);
  for (const auto& [name, property] : schema["properties"].items()) {
    DeclaredParameter p{
        .name = name, .required = required.count(name) > 0, .forms = {}, .json = nullptr};
    const std::string type = property.is_object() && property.contains("type") &&
                                     property["type"].is_string()
                                 ? property["type"].get<std::string>()
                                 : "";
    p.forms.text = type == "string";
    if (type.empty())
      hold_loosely(p, property, loose);
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
