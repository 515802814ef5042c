#include "tools/lenient_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace lares::tools {
namespace {

using nlohmann::json;

TEST(LenientJson, HalfACharacterIsShownAsLost) {
  const std::pair<const char*, const char*> cases[] = {
      {R"(["a\ud83d"])", "a\uFFFD"},                // cut behind the first half
      {R"(["\uDE00b"])", "\uFFFDb"},                // and before the second
      {R"(["\ud83d\ud83d\ude00"])", "\uFFFD😀"},     // a half, and a whole one behind it
      {R"(["\ude00\ud83d"])", "\uFFFD\uFFFD"},      // the wrong way round
      {R"(["\ud83dx\ude00"])", "\uFFFDx\uFFFD"},    // something between them
      {R"(["\ud83d\n"])", "\uFFFD\n"},              // another escape behind it
      {R"(["\\ud83d \ud83d"])", "\\ud83d \uFFFD"},  // a backslash, and the letters of one
      {R"(["\\\ud83d"])", "\\\uFFFD"},
  };
  for (const auto& [text, wanted] : cases) {
    EXPECT_TRUE(json::parse(text, nullptr, false).is_discarded()) << text;
    const json lenient = lenient_json<json>(text);
    ASSERT_TRUE(lenient.is_array()) << text;
    EXPECT_EQ(lenient[0], wanted) << text;
  }
}

TEST(LenientJson, WhatIsWholeStaysAndWhatIsNoJsonIsNone) {
  for (const char* const text :
       {R"(["\ud83d\ude00"])", R"(["\\ud83d"])", R"(["\u00e4\\"])", R"({"a": "\\\\uDE00"})"}) {
    EXPECT_FALSE(with_whole_characters(text)) << text;
    EXPECT_EQ(lenient_json<json>(text), json::parse(text)) << text;
  }
  for (const char* const text :
       {"", "[", R"(["\ud8)", R"(["\ud83d)", R"(["\ud83d\)", R"(["\uZZZZ"])", R"(["\ud83d\u"])",
        R"(["\ud83d", ])", "[\"\\ud83d\", \"\xff\"]"}) {
    EXPECT_TRUE(lenient_json<json>(text).is_discarded()) << text;
  }
}

TEST(LenientJson, BracketsCountOnlyOutsideOfStrings) {
  EXPECT_FALSE(nested_too_deep(R"({"a": [{"b": []}]})", 4));
  EXPECT_TRUE(nested_too_deep(R"({"a": [{"b": [[]]}]})", 4));
  EXPECT_FALSE(nested_too_deep(R"(["[[[[[[", "\"[[[[[["])", 1));
  EXPECT_TRUE(nested_too_deep(R"(["\\", [[]]])", 2));
  EXPECT_TRUE(nested_too_deep("]]]]]]]][[[", 2));  // closing what is not open is no room for more
  EXPECT_FALSE(nested_too_deep("[\"\\", 1));
}

TEST(LenientJson, ValuesAndMembersAreCountedBeforeTheyAreBuilt) {
  const auto n_values = [](std::string_view text) {
    std::size_t n = 1;
    while (too_much(text, {.values = n})) ++n;
    return n;
  };
  const std::pair<const char*, std::size_t> cases[] = {
      {"7", 1},
      {R"("a, [b]")", 1},
      {"[]", 1},
      {"[ ]", 1},
      {"{\n}", 1},
      {"[1]", 2},
      {"[1, 2]", 3},
      {"[[]]", 2},
      {"[[], [[]], {}]", 5},
      {R"({"a": [1, 2], "b": {"c": {}}})", 6},
      {R"(["\",", "x"])", 3},
      {"]]],[", 2},  // no JSON: something all the same, and an end
  };
  for (const auto& [text, n] : cases) EXPECT_EQ(n_values(text), n) << text;
  EXPECT_EQ(too_much(R"({"a": 1, "b": {"c": 1, "d": 1}})", {.members = 2}), std::nullopt);
  EXPECT_EQ(too_much(R"({"a": 1, "b": {"c": 1, "d": 1, "e": 1}})", {.members = 2}),
            "an object in it has more than 2 members");
  EXPECT_EQ(too_much(R"([{"a": 1, "b": 1}, {"a": 1}])", {.compares = 4}), std::nullopt);
  EXPECT_EQ(too_much(R"([{"a": 1, "b": 1}, {"a": 1}])", {.compares = 3}),
            "its objects have too many members");
  EXPECT_EQ(too_much(R"(["[[", [[]]])", {.depth = 3}), std::nullopt);
  EXPECT_EQ(too_much(R"(["[[", [[]]])", {.depth = 2}), "it is nested deeper than 2 levels");
}

}  // namespace
}  // namespace lares::tools
