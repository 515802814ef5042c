#include "engine/text/grammar/loose_schema.h"

#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/json_schema.h"

namespace lares::engine {
namespace {

using Json = LooseSchemas::Json;

TEST(LooseSchemas, AlternativesAreOneListEachOfThemOnce) {
  const Json schema = Json::parse(R"({"properties":{
    "a":{"anyOf":[{"$ref":"#/properties/b"},{"type":"null"},{"$ref":"#/$defs/text"}]},
    "b":{"oneOf":[{"$ref":"#/properties/a"},{"allOf":[{"$ref":"#/$defs/text"}]},{"enum":[1,2],"type":"integer"}]},
    "round":{"$ref":"#/properties/round"}},
    "$defs":{"text":{"type":"string","minLength":3}}})");
  LooseSchemas loose(schema);
  EXPECT_EQ(loose.of(schema["properties"]["a"]).dump(),
            R"({"anyOf":[{"type":"string"},{"enum":[1,2]},{"type":"null"}]})");
  EXPECT_EQ(loose.of(schema["$defs"]["text"]).dump(), R"({"type":"string"})");
  EXPECT_EQ(loose.of(schema["properties"]["round"]).dump(), "{}");
}

TEST(LooseSchemas, AReferenceMayBePercentEncoded) {
  const Json schema = Json::parse(
      R"({"properties":{"a":{"$ref":"#/$defs/Maybe%3Cint%3E"}},"$defs":{"Maybe<int>":{"type":"integer"}}})");
  EXPECT_EQ(LooseSchemas(schema).of(schema["properties"]["a"]).dump(), R"({"type":"integer"})");
}

// A row of unions each of which names all the others.
TEST(LooseSchemas, OfMoreThanIsLookedAtAnythingMayBeWritten) {
  Json properties = Json::object();
  constexpr int kUnions = 64;
  for (int i = 0; i < kUnions; ++i) {
    Json alternatives = Json::array();
    for (int k = 0; k < kUnions; ++k)
      alternatives.push_back({{"$ref", fmt::format("#/properties/u{}", k)}});
    alternatives.push_back({{"type", "string"}});
    properties[fmt::format("u{}", i)] = {{"anyOf", alternatives}};
  }
  const Json schema = {{"properties", properties}};
  LooseSchemas loose(schema);
  const Json first = loose.of(schema["properties"]["u0"]);
  EXPECT_EQ(first["anyOf"].size(), std::size_t{kUnions}) << first;
  int n_held = 0;
  for (const auto& [name, property] : schema["properties"].items())
    n_held += loose.of(property) != Json::object();
  EXPECT_LT(n_held, kUnions);
}

TEST(LooseSchemas, OfMoreTextThanIsKeptAnythingMayBeWritten) {
  Json texts;
  for (int i = 0; i < 1000; ++i) texts.push_back(fmt::format("{:0>1000}", i));
  const Json long_list = {{"enum", texts}};
  LooseSchemas listed(long_list);
  EXPECT_TRUE(listed.of(long_list).contains("enum"));
  EXPECT_EQ(listed.of(long_list), Json::object());  // twice is too much
}

TEST(LooseSchemas, OfMoreAlternativesThanMayBeAnythingMayBeWritten) {
  Json many = {{"anyOf", Json::array()}};
  for (std::size_t i = 0; i <= kSchemaAlternativesMax; ++i)
    many["anyOf"].push_back({{"const", std::to_string(i)}});
  EXPECT_EQ(LooseSchemas(many).of(many), Json::object());
}

}  // namespace
}  // namespace lares::engine
