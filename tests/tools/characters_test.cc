#include "tools/characters.h"

#include <array>
#include <string_view>

#include <gtest/gtest.h>

#include "tools/text.h"

namespace lares::tools {
namespace {

// One character of each length: they begin at 0, 1, 3 and 6, and the text ends at 10.
constexpr std::string_view kText = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";

TEST(Characters, AreCutWhereTheyBegin) {
  constexpr std::array<std::size_t, 11> kUp{0, 1, 3, 3, 6, 6, 6, 10, 10, 10, 10};
  constexpr std::array<std::size_t, 11> kDown{0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
  ASSERT_EQ(kText.size(), 10u);
  for (std::size_t n = 0; n <= kText.size(); ++n) {
    EXPECT_EQ(utf8_ceiling(kText, n), kUp[n]) << n;
    EXPECT_EQ(utf8_floor(kText, n), kDown[n]) << n;
  }
  EXPECT_EQ(utf8_ceiling(kText, 12), 12u);  // there is nothing to cut
  EXPECT_EQ(utf8_ceiling("\x80\x80", 0), 2u);
}

TEST(Characters, AreCounted) {
  EXPECT_EQ(n_characters(""), 0u);
  EXPECT_EQ(n_characters("abc"), 3u);
  EXPECT_EQ(n_characters(kText), 4u);
}

}  // namespace
}  // namespace lares::tools
