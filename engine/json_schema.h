// A JSON Schema that a document is held to while it is written (engine/grammar.h), compiled once.
//
// Understood: type (one or several), properties, required, additionalProperties (false beside
// properties; a schema or true without), items, minItems, maxItems, enum, const, anyOf, an allOf of
// one, $ref within the schema, recursion included; of numbers minimum, maximum, exclusiveMinimum,
// exclusiveMaximum, and multipleOf a whole number; of strings pattern and format
// (engine/text/grammar/pattern.h). What only describes (title, description, default, examples,
// x-...) is passed over. Anything else is refused, for it could not be enforced.
//
// Every document that is written is valid; not every valid one can be written. Properties come in
// the schema's order, each once, and none that it does not name; what need not be there may be left
// out. Between two values, and before what closes them, stands nothing, a blank, or a line feed and
// up to kIndentMax blanks or tabs. Numbers have at most 80 digits, 19 where some are behind a
// point; within bounds 19 in all, and no exponent.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

namespace lares::engine {

inline constexpr std::size_t kSchemaNodesMax = 30'000;      // parts: a schema in it is two or three
inline constexpr std::size_t kSchemaPropertiesMax = 5'000;  // of all its objects
// Bytes of a property's name, or of a reference
inline constexpr std::size_t kSchemaNameMax = 1024;
inline constexpr std::size_t kSchemaChoicesMax = 10'000;   // enum's and const's values, all of them
inline constexpr std::size_t kSchemaTextMax = 1 << 20;     // bytes of names and of those values
inline constexpr std::size_t kSchemaAlternativesMax = 64;  // of one anyOf, with those within it
// Alternatives that one place of a document may be of (text/grammar/schema_ways.h)
inline constexpr std::size_t kSchemaWaysMax = 512;
inline constexpr std::size_t kSchemaPatternStatesMax = 16'384;    // of all its patterns
inline constexpr std::size_t kSchemaPatternStepsMax = 8'000'000;  // to compile those: 0.2 s
inline constexpr int kSchemaDepthMax = 64;                        // schemas in schemas
inline constexpr int kDocumentDepthMax = 32;  // arrays and objects in one another
inline constexpr int kIndentMax = 64;         // bytes

struct SchemaError {
  std::string path;     // from the schema: ".properties.size.minLength"
  std::string message;  // "it cannot be enforced; leave it out"
};

struct JsonSchema;
using JsonSchemaRef = std::shared_ptr<const JsonSchema>;

tl::expected<JsonSchemaRef, SchemaError> compile_schema(const nlohmann::ordered_json& schema);
// Of a tool's parameters: an object with the properties that a call may have.
tl::expected<JsonSchemaRef, SchemaError> compile_parameters(const nlohmann::ordered_json& schema);

}  // namespace lares::engine
