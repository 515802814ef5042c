// Numbers that nlohmann's JSON cannot hold stay what was written.
#include "engine/exact_json.h"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;

TEST(ExactJson, WhatJsonCanHoldIsAsEver) {
  for (const char* const text :
       {"null", "true", "[]", "{}", "-0", R"("a\u00e9\n")", "[18446744073709551615]",
        "[-9223372036854775808,9223372036854775807]", "[1.5,1e300,-2.5e-8,0.1]",
        R"({"z":{"a":[{"b":[]},1]},"a":"","z2":null})", R"({"a":1,"a":[2]})"}) {
    const Json plain = Json::parse(text);
    EXPECT_EQ(exact_json<Json>(text), plain) << text;
    EXPECT_EQ(exact_json<nlohmann::json>(text), nlohmann::json::parse(text)) << text;
    EXPECT_EQ(exact_text(exact_json<Json>(text)), plain.dump()) << text;
  }
}

TEST(ExactJson, WhatIsNoJsonIsDiscarded) {
  for (const char* const text : {"", "[1,", "[1]]", "{\"a\":}", "01", "[1e]",
                                 "12345678901234567890x", "[1e400", "[1e400,]", "\"\xff\""})
    EXPECT_TRUE(exact_json<Json>(text).is_discarded()) << text;
}

TEST(ExactJson, ALongerNumberIsItsDigits) {
  const std::string text =
      R"({"id":12345678901234567890123,"list":[18446744073709551616,-9223372036854775809,1e400,)"
      R"(1,-2E+999,"1e400"],"ten":10000000000000000000000,"last":1e309})";
  const Json json = exact_json<Json>(text);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(digits_of(json["id"]), "12345678901234567890123");
  EXPECT_EQ(digits_of(json["list"][2]), "1e400");
  EXPECT_EQ(digits_of(json["list"][3]), "");
  EXPECT_EQ(digits_of(json["list"][5]), "");
  EXPECT_EQ(exact_text(json), text);
  EXPECT_EQ(exact_text(exact_json<Json>("1e400")), "1e400");
}

TEST(ExactJson, NestsAsDeepAsItMay) {
  const auto nested = [](int n) {
    return std::string(std::size_t(n), '[') + std::string(std::size_t(n), ']');
  };
  EXPECT_TRUE(exact_json<Json>(nested(kJsonDepthMax)).is_array());
  EXPECT_TRUE(exact_json<Json>(nested(kJsonDepthMax + 1)).is_discarded());
  EXPECT_TRUE(exact_json<Json>(nested(kJsonDepthMax + 1), kJsonDepthMax + 1).is_array());
  EXPECT_TRUE(exact_json<Json>(nested(200'000)).is_discarded());
}

// Each takes another look at the whole text.
TEST(ExactJson, OnlySoManyAreBeyondEveryDouble) {
  const auto list = [](std::size_t n) {
    std::string text = "[0";
    for (std::size_t i = 0; i < n; ++i) text += ",1e999";
    return text + "]";
  };
  EXPECT_EQ(exact_text(exact_json<Json>(list(kBeyondDoublesMax))), list(kBeyondDoublesMax));
  EXPECT_TRUE(exact_json<Json>(list(kBeyondDoublesMax + 1)).is_discarded());
}

TEST(ExactJson, WhatIsRoundedIsNamed) {
  const auto rounded = [](std::string_view text) {
    Json json = exact_json<Json>(text);
    const auto first = round_to_doubles(json);
    EXPECT_NE(json.dump().find_first_of("0123456789"), std::string::npos) << text;
    EXPECT_EQ(json.dump().find("bytes"), std::string::npos) << text;
    return first ? first->path + " " + first->digits : "";
  };
  EXPECT_EQ(rounded(R"({"a":[1,10000000000000000000000,18446744073709551616],"b":1.5})"), "");
  EXPECT_EQ(rounded(R"({"a":{"rows":[{"id":1},{"id":18446744073709551617}]}})"),
            "a.rows[1].id 18446744073709551617");
  EXPECT_EQ(rounded(R"({"n":-1e400})"), "n -1e400");
  Json json = exact_json<Json>("[18446744073709551617,-1e400]");
  EXPECT_TRUE(round_to_doubles(json));
  EXPECT_EQ(json, Json::parse("[1.8446744073709552e19,-1.7976931348623157e308]"));
}

}  // namespace
}  // namespace lares::engine
