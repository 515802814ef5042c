#include "daemon/completions/flat_schema.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

namespace lares::daemon {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kNestedMax = 32;  // references and alternatives in one another

struct Declared {
  Json properties = Json::object();
  std::set<std::string> required;

  void add(const std::string& name, const Json& property) {
    const auto known = properties.find(name);
    if (known == properties.end())
      properties[name] = property;
    else if (*known != property)
      *known = {{"anyOf", Json::array({*known, property})}};
  }
  void add_properties(const Declared& more) {
    for (const auto& [name, property] : more.properties.items()) add(name, property);
  }
  void add(const Declared& more) {
    add_properties(more);
    required.insert(more.required.begin(), more.required.end());
  }
};

class Gatherer {
 public:
  explicit Gatherer(const Json& whole) : whole_(whole) {}

  Declared from(const Json& schema, int depth = 0) {
    Declared out;
    if (!schema.is_object() || depth > kNestedMax || !seen_.insert(&schema).second) return out;
    if (const auto own = schema.find("properties"); own != schema.end() && own->is_object())
      out.properties = *own;
    for (const Json& name : list(schema, "required")) {
      if (name.is_string()) out.required.insert(name.get<std::string>());
    }
    if (const Json* const to = referred(schema)) out.add(from(*to, depth + 1));
    for (const Json& one : list(schema, "allOf")) out.add(from(one, depth + 1));
    for (const char* const name : {"anyOf", "oneOf"})
      out.add(any_of(list(schema, name), depth + 1));
    return out;
  }

 private:
  static const Json& list(const Json& schema, const char* name) {
    static const Json kNone = Json::array();
    const auto it = schema.find(name);
    return it != schema.end() && it->is_array() ? *it : kNone;
  }
  const Json* referred(const Json& schema) const {
    const auto ref = schema.find("$ref");
    if (ref == schema.end() || !ref->is_string()) return nullptr;
    const auto& to = ref->get_ref<const std::string&>();
    if (!to.starts_with("#/")) return nullptr;
    try {
      return &whole_.at(Json::json_pointer(to.substr(1)));
    } catch (const Json::exception&) {
      return nullptr;
    }
  }
  Declared any_of(const Json& alternatives, int depth) {
    Declared out;
    for (const Json& one : alternatives) {
      Declared more = from(one, depth);
      out.add_properties(more);
      if (&one == &alternatives.front())
        out.required = std::move(more.required);
      else
        std::erase_if(out.required,
                      [&](const auto& name) { return !more.required.contains(name); });
    }
    return out;
  }

  const Json& whole_;
  std::set<const Json*> seen_;
};

}  // namespace

Json flat_schema(Json schema) {
  Declared all = Gatherer(schema).from(schema);
  Json required = Json::array();
  for (const std::string& name : all.required) {
    if (all.properties.contains(name)) required.push_back(name);
  }
  schema["properties"] = std::move(all.properties);
  schema["required"] = std::move(required);
  return schema;
}

}  // namespace lares::daemon
