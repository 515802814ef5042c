#include "daemon/completions/stop_text.h"

#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

struct Heard {
  std::string text;
  std::optional<std::string> found;
  bool operator==(const Heard&) const = default;
};

Heard hear(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopText stop(stops);
  Heard out;
  for (const auto& piece : pieces) out.text += stop.feed(piece);
  out.text += stop.finish();
  out.found = stop.found();
  return out;
}

// Cut in three at every two places.
void at_every_split(const std::vector<std::string>& stops, const std::string& text,
                    const Heard& expected) {
  for (std::size_t a = 0; a <= text.size(); ++a) {
    for (std::size_t b = a; b <= text.size(); ++b) {
      const Heard heard = hear(stops, {text.substr(0, a), text.substr(a, b - a), text.substr(b)});
      EXPECT_EQ(heard.text, expected.text) << a << ", " << b;
      EXPECT_EQ(heard.found, expected.found) << a << ", " << b;
    }
  }
}

TEST(StopText, IsFoundWhereverItIsCut) {
  at_every_split({"END"}, "one ENENEND two", {"one ENEN", "END"});
}
TEST(StopText, WhatOnlyBeginsOneIsSaidInTheEnd) {
  at_every_split({"</answer>"}, "a < b </answer", {"a < b </answer", std::nullopt});
}
TEST(StopText, TheFirstOfSeveralEndsIt) {
  at_every_split({"\n\n", "###"}, "a\nb###c\n\n", {"a\nb", "###"});
}
TEST(StopText, NothingIsSearchedForWithoutAny) {
  at_every_split({}, "text", {"text", std::nullopt});
}

TEST(StopText, NoMoreIsHeldBackThanCouldBeginOne) {
  StopText stop({"abcd"});
  EXPECT_EQ(stop.feed("xxabc"), "xx");
  EXPECT_EQ(stop.feed("abc"), "abc");
  EXPECT_EQ(stop.feed("x"), "abcx");
}

}  // namespace
}  // namespace lares::daemon
