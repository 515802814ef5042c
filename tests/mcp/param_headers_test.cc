// Which schemas' marks can be used, and what the headers then say.
#include "mcp/param_headers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace lares::mcp {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

json object(const std::string& properties) {
  return json::parse(R"({"type": "object", "properties": )" + properties + "}");
}

TEST(ParamHeaders, MarksOfNestedPropertiesAreFound) {
  const auto marks =
      find_param_headers(object(R"({"region": {"type": "string", "x-mcp-header": "Region"},
      "options": {"type": "object", "properties": {"level": {"type": "integer", "x-mcp-header": "Level"}}},
      "x-mcp-header": {"type": "boolean", "default": {"x-mcp-header": ""}, "x-mcp-header": "Odd"}})"));
  ASSERT_TRUE(marks) << marks.error();
  const json arguments =
      json::parse(R"({"region": "eu", "options": {"level": 3}, "x-mcp-header": false})");
  EXPECT_THAT(
      param_headers(*marks, arguments),
      testing::UnorderedElementsAre(Pair("Mcp-Param-Region", "eu"), Pair("Mcp-Param-Level", "3"),
                                    Pair("Mcp-Param-Odd", "false")));
}

TEST(ParamHeaders, UnusableMarksAreNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"a": {"type": "string", "x-mcp-header": ""}})",
       "\"a\" has an x-mcp-header that is no header name"},
      {R"({"a": {"type": "string", "x-mcp-header": "a b"}})", "no header name"},
      {R"({"a": {"type": "string", "x-mcp-header": "a\nb"}})", "no header name"},
      {R"({"a": {"type": "string", "x-mcp-header": 5}})", "no header name"},
      {R"({"a": {"type": "number", "x-mcp-header": "A"}})",
       "other than a string, an integer or a boolean"},
      {R"({"a": {"type": "object", "x-mcp-header": "A"}})", "other than"},
      {R"({"a": {"type": "array", "x-mcp-header": "A"}})", "other than"},
      {R"({"a": {"type": "null", "x-mcp-header": "A"}})", "other than"},
      {R"({"a": {"x-mcp-header": "A"}})", "other than"},
      {R"({"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}})",
       "twice"},
      {R"({"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}})",
       "no fixed path"},
      {R"({"a": {"oneOf": [{"type": "string", "x-mcp-header": "A"}]}})", "no fixed path"},
      {R"({"a": {"type": "object", "additionalProperties": {"type": "string", "x-mcp-header": "A"}}})",
       "no fixed path"},
  };
  for (const auto& [properties, why] : cases) {
    const auto marks = find_param_headers(object(properties));
    ASSERT_FALSE(marks) << properties;
    EXPECT_THAT(marks.error(), HasSubstr(why)) << properties;
  }
  EXPECT_FALSE(find_param_headers(
      json::parse(R"({"$defs": {"d": {"type": "string", "x-mcp-header": "A"}}})")));
  EXPECT_FALSE(find_param_headers(json::parse(R"({"type": "string", "x-mcp-header": "A"})")));
  for (const char* odd :
       {"true", "null", "5", "[]", R"({"properties": 5})", R"({"properties": ["x"]})"})
    EXPECT_TRUE(find_param_headers(json::parse(odd))) << odd;
}

TEST(ParamHeaders, AbsentAndNullArgumentsGetNone) {
  const auto marks =
      find_param_headers(object(R"({"a": {"type": "string", "x-mcp-header": "A"}})"));
  ASSERT_TRUE(marks);
  for (const char* none : {"{}", R"({"a": null})", R"({"a": {}})", "[]"})
    EXPECT_TRUE(param_headers(*marks, json::parse(none)).empty()) << none;
  EXPECT_THAT(param_headers(*marks, json::parse(R"({"a": 5.0})")),
              ElementsAre(Pair("Mcp-Param-A", "5")));
}

TEST(ParamHeaders, WhatAHeaderCannotCarryIsEncoded) {
  EXPECT_EQ(header_value("plain text; with = signs?"), "plain text; with = signs?");
  EXPECT_EQ(header_value(""), "");
  EXPECT_EQ(header_value("\xc3\xa9"), "=?base64?w6k=?=");
  EXPECT_EQ(header_value(" a"), "=?base64?IGE=?=");
  EXPECT_EQ(header_value("a "), "=?base64?YSA=?=");
  EXPECT_EQ(header_value("a\r\nHost: evil"), "=?base64?YQ0KSG9zdDogZXZpbA==?=");
  EXPECT_EQ(header_value("\ta"), "=?base64?CWE=?=");
  EXPECT_EQ(header_value("=?base64?YQ==?="), "=?base64?PT9iYXNlNjQ/WVE9PT89?=");
}

}  // namespace
}  // namespace lares::mcp
