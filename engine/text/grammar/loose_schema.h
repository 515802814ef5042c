// Of a property of a tool that is not strict, what its values are held to: JSON types, and the
// texts and numbers that are listed, wherever alternatives and references say them.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/schema_references.h"

namespace lares::engine {

// Of one tool: schemas looked at for its properties, each for every property that leads to it, and
// bytes of what they list. What a property beyond that may be is anything.
inline constexpr std::size_t kLooseSchemasMax = 1u << 14;
inline constexpr std::size_t kLooseTextMax = 1u << 20;

class LooseSchemas {
 public:
  using Json = nlohmann::ordered_json;

  // `whole`, a tool's schema, outlives it.
  explicit LooseSchemas(const Json& whole) : references_(whole) {}

  // The schema of what `property`, a part of `whole`, may be; {}: anything. Its alternatives are
  // one list, however they stand in one another, each of them once: so a union that names itself
  // says what its others do. Of more than kSchemaAlternativesMax anything.
  Json of(const Json& property);

 private:
  struct Open;  // a property that is looked through
  bool look(const Json& schema, Open& open);
  bool take(const char* listed, const Json& schema, Open& open);

  SchemaReferences references_;
  std::size_t schemas_left_ = kLooseSchemasMax, text_left_ = kLooseTextMax;
  std::map<const Json*, std::size_t> bytes_;  // of what is listed, as text
};

}  // namespace lares::engine
