#include "daemon/turn/answer_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

using testing::HasSubstr;

TEST(AnswerSchema, NoneIsNoBound) {
  ASSERT_TRUE(answer_schema(""));
  EXPECT_EQ(*answer_schema(""), nullptr);
  EXPECT_EQ(told_of_answer_schema(""), "");
}

TEST(AnswerSchema, OneThatCanBeObeyedIsToldAsItIs) {
  const std::string text = R"({"type": "object", "properties": {"n": {"type": "integer"}}})";
  ASSERT_TRUE(answer_schema(text)) << answer_schema(text).error();
  EXPECT_NE(*answer_schema(text), nullptr);
  EXPECT_THAT(told_of_answer_schema(text), HasSubstr(text));
}

TEST(AnswerSchema, WhatCannotBeObeyedIsNamed) {
  const std::pair<std::string, const char*> cases[] = {
      {"[]", "not a JSON object"},
      {"{", "not a JSON object"},
      {"{\"title\": \"\xff\"}", "not UTF-8"},
      {std::string(kAnswerSchemaBytesMax + 1, ' '), "65537 bytes, more than 65536"},
      {R"({"type": "object", "properties": {"s": {"not": {}}}})", ".properties.s.not: "}};
  for (const auto& [text, why] : cases) {
    ASSERT_FALSE(answer_schema(text)) << text.substr(0, 80);
    EXPECT_THAT(answer_schema(text).error(), HasSubstr(why));
  }
}

}  // namespace
}  // namespace lares::daemon
