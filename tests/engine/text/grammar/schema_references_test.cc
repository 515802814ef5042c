#include "engine/schema_references.h"

#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/json_schema.h"

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;

TEST(SchemaReferences, LeadToWhatTheirPointersSay) {
  const Json schema =
      Json::parse(R"({"$defs":{"a":{"type":"null"},"a/b~c":{"const":1},"Args<Foo>":{"const":2},
    "50%":{"const":3},"%41":{"const":4},"größe":{"const":5},"":{"const":6}},"anyOf":[{"const":7},{"const":8}]})");
  SchemaReferences references(schema);
  struct Case {
    const char *reference, *is, *path;  // is "": nothing
  };
  const Case cases[] = {
      {"#/$defs/a", R"({"type":"null"})", ".$defs.a"},
      {"#/%24defs/a", R"({"type":"null"})", ".$defs.a"},
      {"#/$defs/a~1b~0c", R"({"const":1})", ".$defs.a/b~c"},
      {"#/$defs/Args<Foo>", R"({"const":2})", ".$defs.Args<Foo>"},
      {"#/$defs/Args%3CFoo%3e", R"({"const":2})", ".$defs.Args<Foo>"},
      {"#/$defs/50%25", R"({"const":3})", ".$defs.50%"},
      {"#/$defs/50%", R"({"const":3})", ".$defs.50%"},    // no code
      {"#/$defs/%41", R"({"const":4})", ".$defs.%41"},    // as it is written
      {"#/$defs/%2541", R"({"const":4})", ".$defs.%41"},  // decoded once
      {"#/$defs/gr%C3%B6%C3%9Fe", R"({"const":5})", ".$defs.größe"},
      {"#/$defs/", R"({"const":6})", ".$defs."},
      {"#/anyOf/1", R"({"const":8})", ".anyOf[1]"},
      {"#/anyOf/2", "", ""},
      {"#/anyOf/-", "", ""},
      {"#/anyOf/1/const/0", "", ""},
      {"#/$defs/b", "", ""},
      {"#/$defs/%", "", ""},
      {"#/$defs/%4", "", ""},
      {"#/$defs/%+1", "", ""},
      {"#a", "", ""},
      {"other.json#/$defs/a", "", ""},
      {"", "", ""},
  };
  for (const Case& c : cases) {
    const auto found = references.find(c.reference);
    EXPECT_EQ(found.schema ? found.schema->dump() : "", c.is) << c.reference;
    EXPECT_EQ(found.path, c.path) << c.reference;
  }
  EXPECT_EQ(references.find("#").schema, &schema);
}

TEST(SchemaReferences, OfAStrictSchemaMayBePercentEncoded) {
  Json schema = Json::parse(R"({"$ref":"#/definitions/Maybe%3Cbool%3E",
    "definitions":{"Maybe<bool>":{"type":"boolean"}}})");
  EXPECT_TRUE(compile_schema(schema));
  schema["$ref"] = "#/definitions/Maybe%3Cint%3E";
  ASSERT_FALSE(compile_schema(schema));
  EXPECT_EQ(compile_schema(schema).error().path, ".$ref");
}

TEST(SchemaReferences, LeadIntoObjectsOfManyMembers) {
  Json schema;
  for (int i = 0; i < 100; ++i) schema["$defs"][fmt::format("<{}>", i)] = {{"const", i}};
  SchemaReferences references(schema);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(references.find(fmt::format("#/$defs/<{}>", i)).schema->at("const"), i);
    EXPECT_EQ(references.find(fmt::format("#/$defs/%3C{}%3E", i)).schema->at("const"), i);
  }
  EXPECT_EQ(references.find("#/$defs/<100>").schema, nullptr);
}

}  // namespace
}  // namespace lares::engine
