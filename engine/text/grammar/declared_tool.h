// A tool as the grammar holds a call to it: its parameters, and how each may be written.
#pragma once

#include <string>
#include <vector>

#include "engine/grammar.h"
#include "engine/text/grammar/schema_nodes.h"

namespace lares::engine {

struct DeclaredParameter {
  std::string name;
  bool required = false;
  ParameterForms forms;
  JsonSchemaRef json;  // that forms.json is a node of
};
struct DeclaredTool {
  std::string name;
  std::vector<DeclaredParameter> parameters;
};

// Of a strict tool everything that its schema says; of another, names, types (those of anyOf, oneOf
// and what a reference names too), what is required and what is listed, of numbers where no type is
// named beside them.
DeclaredTool declared(const ToolSpec& spec);
// What a value of one of JSON Schema's types is held to; of a type that it does not have, anything.
JsonSchemaRef schema_of_type(const std::string& type);

}  // namespace lares::engine
