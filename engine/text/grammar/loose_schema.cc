#include "engine/text/grammar/loose_schema.h"

#include <string>

#include "engine/json_schema.h"

namespace lares::engine {

struct LooseSchemas::Open {
  std::vector<const Json*> next;  // the one to look at first last
  std::set<const Json*> seen;
  Json alternatives = Json::array();
};

LooseSchemas::Json LooseSchemas::of(const Json& property) {
  Open open;
  open.next.push_back(&property);
  while (!open.next.empty()) {
    const Json& schema = *open.next.back();
    open.next.pop_back();
    if (schemas_left_ == 0) return Json::object();
    --schemas_left_;
    if (!open.seen.insert(&schema).second) continue;
    if (!look(schema, open) || open.alternatives.size() > kSchemaAlternativesMax)
      return Json::object();
  }
  if (open.alternatives.empty()) return Json::object();  // it leads to itself alone
  if (open.alternatives.size() == 1) return open.alternatives[0];
  return {{"anyOf", std::move(open.alternatives)}};
}

// False: by this one alone it may be anything.
bool LooseSchemas::look(const Json& schema, Open& open) {
  if (!schema.is_object()) return false;
  if (const auto ref = schema.find("$ref"); ref != schema.end()) {
    const Json* const to = ref->is_string()
                               ? references_.find(ref->get_ref<const std::string&>()).schema
                               : nullptr;
    if (to) open.next.push_back(to);
    return to != nullptr;
  }
  for (const char* const listed : {"enum", "const"}) {
    if (schema.contains(listed)) return take(listed, schema, open);
  }
  for (const char* const alternatives : {"anyOf", "oneOf"}) {
    const auto it = schema.find(alternatives);
    if (it == schema.end() || !it->is_array()) continue;
    if (it->size() > schemas_left_) return false;
    for (auto one = it->rbegin(); one != it->rend(); ++one) open.next.push_back(&*one);
    return !it->empty();
  }
  if (const auto all = schema.find("allOf");
      all != schema.end() && all->is_array() && all->size() == 1) {
    open.next.push_back(&(*all)[0]);
    return true;
  }
  return schema.contains("type") && take("type", schema, open);
}

// One more alternative, unless its text is too much.
bool LooseSchemas::take(const char* listed, const Json& schema, Open& open) {
  const Json& value = schema[listed];
  const auto [at, fresh] = bytes_.try_emplace(&value);
  if (fresh) at->second = value.dump(-1, ' ', false, Json::error_handler_t::replace).size();
  if (at->second > text_left_) return false;
  text_left_ -= at->second;
  open.alternatives.push_back({{listed, value}});
  return true;
}

}  // namespace lares::engine
