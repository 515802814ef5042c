// A compiled schema: its parts in one array, references followed, whatever is an anyOf flat. What
// json_walker.h walks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/json_schema.h"
#include "engine/text/grammar/number_range.h"
#include "engine/text/grammar/pattern.h"
#include "engine/text/grammar/stretch_index.h"

namespace lares::engine {

using NodeId = std::uint32_t;

struct SchemaProperty {
  std::string name;
  std::string key;  // as JSON, quotes and all
  NodeId value = 0;
  bool required = false;
};

struct SchemaNode {
  static constexpr int kNever = 1 << 20;  // a depth that no document has

  enum class Kind : std::uint8_t {
    any_of,
    choices,
    string,
    number,
    array,
    object,
    map
  } kind = Kind::any_of;
  int min_depth = kNever;  // of the arrays and objects in one another in its flattest document
  std::vector<NodeId> alternatives;  // any_of: no any_of among them
  std::vector<std::string> choices;  // JSON texts, sorted
  std::string listed;  // where they are many, and all strings: one behind the other, each with
                       // kListEnd; else empty
  std::shared_ptr<const Pattern> pattern;  // string; null: any
  NumberRange range;                       // number
  NodeId items = 0;                        // array, and the values of a map
  std::uint32_t items_min = 0, items_max = UINT32_MAX;
  std::vector<SchemaProperty> properties;  // object, in the order they are written in
  std::vector<std::uint32_t> by_key;       // their indices, sorted by key
  // [i]: the first at or behind i that is required, or n; n + 1 of them
  std::vector<std::uint32_t> next_required;
};

// How a tool's parameter may be written: string="true" with plain text, string="false" with JSON,
// or one of both.
struct ParameterForms {
  bool text = false;                                     // as plain text: anything, unless ...
  std::vector<std::string> one_of;                       // ... it is one of these, or ...
  std::vector<std::shared_ptr<const Pattern>> patterns;  // ... matches one of these, one_of among
                                                         // them
  NodeId json = 0;                                       // 0: not as JSON
};

struct JsonSchema {
  std::vector<SchemaNode> nodes;  // [0]: no node
  NodeId root = 0;
  // Of compile_parameters(), one for each of the root's properties
  std::vector<ParameterForms> parameters;
};

}  // namespace lares::engine
