#include "daemon/completions/flat_schema.h"

#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lares::daemon {
namespace {

using Json = nlohmann::ordered_json;

struct Case {
  const char *schema, *properties, *required;
};
constexpr Case kCases[] = {
    {R"({"type":"object","properties":{"b":{},"a":{}},"required":["b"]})", R"({"b":{},"a":{}})",
     R"(["b"])"},
    {R"({})", "{}", "[]"},
    {R"({"properties":[],"required":7})", "{}", "[]"},
    // Nobody could write what is not declared.
    {R"({"properties":{"a":{}},"required":["a","b",1]})", R"({"a":{}})", R"(["a"])"},
    {R"({"$ref":"#/$defs/A","$defs":{"A":{"properties":{"a":{}},"required":["a"]}}})",
     R"({"a":{}})", R"(["a"])"},
    {R"({"properties":{"a":{}},"required":["b"],"allOf":[{"properties":{"b":{}}},{"properties":{"c":{}},"required":["c"]}]})",
     R"({"a":{},"b":{},"c":{}})", R"(["b","c"])"},
    {R"({"properties":{"a":{}},"oneOf":[{"required":["a"]},{"properties":{"b":{}},"required":["b"]}]})",
     R"({"a":{},"b":{}})", "[]"},
    {R"({"anyOf":[{"properties":{"kind":{"const":"x"},"a":{}},"required":["kind","a"]},{"properties":{"kind":{"const":"y"}},"required":["kind"]}]})",
     R"({"kind":{"anyOf":[{"const":"x"},{"const":"y"}]},"a":{}})", R"(["kind"])"},
    // What several lead to is in each of them.
    {R"({"$defs":{"Base":{"properties":{"id":{}},"required":["id"]}},"anyOf":[{"allOf":[{"$ref":"#/$defs/Base"},{"properties":{"a":{}},"required":["a"]}]},{"allOf":[{"$ref":"#/$defs/Base"},{"properties":{"b":{}},"required":["b"]}]}]})",
     R"({"id":{},"a":{},"b":{}})", R"(["id"])"},
    {R"({"$ref":"#/definitions/Args%3CFoo%3E","definitions":{"Args<Foo>":{"properties":{"a":{}},"required":["a"]}}})",
     R"({"a":{}})", R"(["a"])"},
    // What leads nowhere, or round in a circle.
    {R"({"$ref":"#/nowhere","properties":{"a":{}}})", R"({"a":{}})", "[]"},
    {R"({"$ref":"other.json#/x","anyOf":7,"properties":{"a":{}}})", R"({"a":{}})", "[]"},
    {R"({"properties":{"a":{}},"required":["a"],"anyOf":[{"$ref":"#"},{"$ref":"#/anyOf/1"},{"$ref":"#/"},true]})",
     R"({"a":{}})", R"(["a"])"},
};

TEST(FlatSchema, HasWhatIsDeclaredAnywhere) {
  for (const Case& c : kCases) {
    const Json flat = flat_schema(Json::parse(c.schema));
    EXPECT_EQ(flat["properties"].dump(), c.properties) << c.schema;
    EXPECT_EQ(flat["required"].dump(), c.required) << c.schema;
  }
}

TEST(FlatSchema, WhatTheSchemaItselfRefersToIsThereOrLost) {
  const auto lost = [](const char* schema) { return lost_reference(Json::parse(schema)); };
  EXPECT_EQ(lost(R"({"properties":{"a":{"$ref":"#/nowhere"}}})"), "");
  EXPECT_EQ(lost(R"({"$ref":7})"), "");
  EXPECT_EQ(lost(R"({"$ref":"#/$defs/A","$defs":{"A":{}}})"), "");
  EXPECT_EQ(lost(R"({"$ref":"#/$defs/%41","$defs":{"A":{}}})"), "");
  EXPECT_EQ(lost(R"({"$ref":"#/$defs/B","$defs":{"A":{}}})"), "#/$defs/B");
  EXPECT_EQ(lost(R"({"$ref":"other.json"})"), "other.json");
  EXPECT_NE(lost(R"({"$ref":""})"), "");
}

// References go on leading where they led.
TEST(FlatSchema, KeepsTheRest) {
  const Json schema = Json::parse(
      R"({"$ref":"#/$defs/A","$defs":{"A":{"properties":{"a":{"$ref":"#/$defs/B"}}},"B":{"type":"integer"}}})");
  const Json flat = flat_schema(schema);
  EXPECT_EQ(flat["$defs"], schema["$defs"]);
  EXPECT_EQ(flat["properties"]["a"]["$ref"], "#/$defs/B");
}

TEST(FlatSchema, IsQuickWhereAlternativesLeadToOneAnother) {
  Json schema = {{"anyOf", Json::array()}};
  for (int i = 0; i < 200; ++i) schema["anyOf"].push_back({{"allOf", Json::array()}});
  for (Json& one : schema["anyOf"]) {
    for (int i = 0; i < 200; ++i)
      one["allOf"].push_back({{"$ref", "#/anyOf/" + std::to_string(i)}});
  }
  schema["anyOf"][7]["properties"]["a"] = Json::object();
  EXPECT_TRUE(flat_schema(schema)["properties"].contains("a"));
}

TEST(FlatSchema, IsQuickWhereManyLeadToOneThatRequiresMuch) {
  Json schema = {{"anyOf", Json::array()}};
  Json& base = schema["$defs"]["Base"];
  for (int i = 0; i < 5000; ++i) {
    const std::string name = fmt::format("p{}", i);
    base["properties"][name] = Json::object();
    base["required"].push_back(name);
    schema["anyOf"].push_back({{"$ref", "#/$defs/Base"}, {"required", Json::array({"p0"})}});
  }
  const Json flat = flat_schema(schema);
  EXPECT_EQ(flat["properties"].size(), 5000u);
  EXPECT_TRUE(flat["required"].empty()) << "more is not looked at than may be";
}

// However many alternatives mean something else by a name, they do not lie in one another.
TEST(FlatSchema, OfAPropertyWithTooManyMeaningsThereIsNone) {
  const auto with = [](int n) {
    Json schema = {{"anyOf", Json::array()}};
    for (int i = 0; i < n; ++i)
      schema["anyOf"].push_back({{"properties", {{"a", {{"const", i}}}}}});
    return flat_schema(std::move(schema))["properties"]["a"];
  };
  EXPECT_EQ(with(1), Json({{"const", 0}}));
  EXPECT_EQ(with(32)["anyOf"].size(), 32u);
  EXPECT_EQ(with(33), Json::object());
  EXPECT_EQ(with(20'000), Json::object());
}

}  // namespace
}  // namespace lares::daemon
