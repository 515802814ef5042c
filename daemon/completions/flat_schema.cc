#include "daemon/completions/flat_schema.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/schema_references.h"

namespace lares::daemon {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kNestedMax = 32;  // references and alternatives in one another
// Of one property in several alternatives: with more it may be anything
constexpr std::size_t kMeaningsMax = 32;
// Looked at in all: what many references lead to is looked at again for each. Of more a call need
// not have them.
constexpr std::size_t kNamesMax = 1u << 18;

using Names = std::set<std::string_view>;  // of the schema that is gathered from

class Declared {
 public:
  void add(const std::string& name, const Json& property) {
    const auto [at, fresh] = index_.try_emplace(name, properties_.size());
    if (fresh) properties_.push_back({name, {}});
    auto& meanings = properties_[at->second].meanings;
    if (meanings.size() <= kMeaningsMax &&
        std::ranges::none_of(meanings, [&](const Json* known) { return *known == property; }))
      meanings.push_back(&property);
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
  explicit Gatherer(const Json& whole) : references_(whole) {}

  // What a call must have by this schema; all that it may have is declared() on the way.
  const Names& required(const Json& schema, int depth = 0) {
    static const Names kNone;
    if (!schema.is_object() || depth > kNestedMax) return kNone;
    const auto [at, fresh] = required_.try_emplace(&schema);
    if (!fresh) return at->second;  // nothing yet, where the schema stands in itself
    if (const auto own = schema.find("properties"); own != schema.end() && own->is_object())
      for (const auto& [name, property] : own->items()) declared_.add(name, property);
    Names out;
    for (const Json& name : list(schema, "required")) {
      if (name.is_string()) out.insert(name.get_ref<const std::string&>());
    }
    if (const Json* const to = referred(schema)) add(out, required(*to, depth + 1));
    for (const Json& one : list(schema, "allOf")) add(out, required(one, depth + 1));
    for (const char* const name : {"anyOf", "oneOf"})
      add(out, every_one(list(schema, name), depth + 1));
    return at->second = std::move(out);
  }
  const Declared& declared() const { return declared_; }

 private:
  static const Json& list(const Json& schema, const char* name) {
    static const Json kNone = Json::array();
    const auto it = schema.find(name);
    return it != schema.end() && it->is_array() ? *it : kNone;
  }
  const Json* referred(const Json& schema) {
    const auto ref = schema.find("$ref");
    if (ref == schema.end() || !ref->is_string()) return nullptr;
    return references_.find(ref->get_ref<const std::string&>()).schema;
  }
  // What each of the alternatives requires.
  Names every_one(const Json& alternatives, int depth) {
    Names out;
    for (const Json& one : alternatives) {
      const Names& names = required(one, depth);
      if (&one == &alternatives.front())
        add(out, names);
      else if (spend(out.size()))
        std::erase_if(out, [&](const auto& name) { return !names.contains(name); });
      else
        out.clear();
    }
    return out;
  }
  void add(Names& names, const Names& more) {
    if (spend(more.size())) names.insert(more.begin(), more.end());
  }
  bool spend(std::size_t n) { return (n_spent_ += n) <= kNamesMax; }

  engine::SchemaReferences references_;
  Declared declared_;
  std::map<const Json*, Names> required_;  // by schema
  std::size_t n_spent_ = 0;
};

}  // namespace

std::string lost_reference(const Json& schema) {
  const auto ref = schema.find("$ref");
  if (ref == schema.end() || !ref->is_string()) return {};
  const auto& to = ref->get_ref<const std::string&>();
  if (engine::SchemaReferences(schema).find(to).schema) return {};
  return to.empty() ? "(no reference)" : to;
}

Json flat_schema(Json schema) {
  Gatherer gatherer(schema);
  const Names& names = gatherer.required(schema);
  const Declared& declared = gatherer.declared();
  Json required = Json::array();
  for (const auto name : names) {
    if (declared.has(std::string(name))) required.push_back(name);
  }
  Json properties = declared.properties();  // before what it was gathered from changes
  schema["properties"] = std::move(properties);
  schema["required"] = std::move(required);
  return schema;
}

}  // namespace lares::daemon
