#include "daemon/completions/flat_schema.h"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace lares::daemon {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kNestedMax = 32;  // references and alternatives in one another
// Of one property in several alternatives: with more it may be anything
constexpr std::size_t kMeaningsMax = 32;

class Declared {
 public:
  std::set<std::string> required;

  void add(const std::string& name, const Json& property) {
    const auto [at, fresh] = index_.try_emplace(name, properties_.size());
    if (fresh) properties_.push_back({name, {}});
    auto& meanings = properties_[at->second].meanings;
    if (meanings.size() <= kMeaningsMax &&
        std::ranges::none_of(meanings, [&](const Json* known) { return *known == property; }))
      meanings.push_back(&property);
  }
  void add_properties(const Declared& more) {
    for (const Property& one : more.properties_) {
      for (const Json* meaning : one.meanings) add(one.name, *meaning);
    }
  }
  void add(const Declared& more) {
    add_properties(more);
    required.insert(more.required.begin(), more.required.end());
  }
  bool has(const std::string& name) const { return index_.contains(name); }
  Json properties() const {
    Json::object_t out;  // whose own search for a name goes through them all
    for (const Property& one : properties_) {
      Json ways = Json::array();
      for (const Json* meaning : one.meanings) ways.push_back(*meaning);
      out.emplace_back(one.name, ways.size() == 1             ? ways[0]
                                 : ways.size() > kMeaningsMax ? Json::object()
                                                              : Json{{"anyOf", ways}});
    }
    return out;
  }

 private:
  struct Property {
    std::string name;
    std::vector<const Json*> meanings;  // of the schema that is gathered from
  };
  std::vector<Property> properties_;
  std::unordered_map<std::string, std::size_t> index_;
};

class Gatherer {
 public:
  explicit Gatherer(const Json& whole) : whole_(whole) {}

  Declared from(const Json& schema, int depth = 0) {
    Declared out;
    if (!schema.is_object() || depth > kNestedMax || !seen_.insert(&schema).second) return out;
    if (const auto own = schema.find("properties"); own != schema.end() && own->is_object())
      for (const auto& [name, property] : own->items()) out.add(name, property);
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
  const Declared all = Gatherer(schema).from(schema);
  Json required = Json::array();
  for (const std::string& name : all.required) {
    if (all.has(name)) required.push_back(name);
  }
  Json properties = all.properties();  // before what it was gathered from changes
  schema["properties"] = std::move(properties);
  schema["required"] = std::move(required);
  return schema;
}

}  // namespace lares::daemon
