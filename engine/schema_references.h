// Where a JSON Schema's references within itself lead.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include <nlohmann/json_fwd.hpp>

namespace lares::engine {

class SchemaReferences {
 public:
  using Json = nlohmann::ordered_json;

  // `whole` outlives it and does not change.
  explicit SchemaReferences(const Json& whole) : whole_(whole) {}

  struct Found {
    const Json* schema = nullptr;  // null: nothing is there, or not within the schema
    std::string path;              // from the schema, as SchemaError's: ".$defs.item"
  };
  // `reference`: a $ref's value, "#" and a JSON pointer. In a URI's fragment that is
  // percent-encoded (RFC 6901 section 6), but many write names as they are: so it is looked for as
  // it is written, and then decoded.
  Found find(std::string_view reference);

 private:
  Found at(std::string_view pointer);
  const Json* member(const Json& object, const std::string& name);

  const Json& whole_;
  // Of objects with many members, which know theirs as a list: who has many references to one
  // should not read it for each.
  std::unordered_map<const Json*, std::unordered_map<std::string_view, const Json*>> members_;
};

}  // namespace lares::engine
