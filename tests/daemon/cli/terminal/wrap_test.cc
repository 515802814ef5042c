#include "daemon/cli/terminal/wrap.h"

#include <gtest/gtest.h>

namespace lares::cli {
namespace {

TEST(Hanging, ARowGoesOnBelowItsValue) {
  EXPECT_EQ(hanging("model     one two three four", 21), "model     one two\n          three four");
  EXPECT_EQ(hanging("          one two three four", 21), "          one two\n          three four");
  EXPECT_EQ(hanging("model     one two three four", 0), "model     one two three four");
  EXPECT_EQ(hanging("model     one", 21), "model     one");
}

TEST(Hanging, WhereThereIsNoRoomBesideTheNameItGoesOnBelowIt) {
  EXPECT_EQ(hanging("a very long name  one two three", 20), "a very long name\none two three");
  EXPECT_EQ(hanging("  a very long name  one two three", 20),
            "  a very long name\n  one two three");
}

TEST(Hanging, ALineThatIsNoRowKeepsItsWords) {
  EXPECT_EQ(hanging("note: the answer went in circles", 20), "note: the answer\nwent in circles");
}

TEST(Hanging, EveryLineOfAText) {
  EXPECT_EQ(hanging_lines("a  one two three four\n\nb  one\n", 12),
            "a  one two\n   three\n   four\n\nb  one\n");
  EXPECT_EQ(hanging_lines("", 12), "");
}

// With a look at all that follows for each row it takes, this does not come to its end.
TEST(Wrap, AWordOfMegabytesIsBrokenIntoRows) {
  constexpr std::size_t kBytes = 4u << 20, kRow = 79;
  Wrap wrap("", kRow + 1);
  std::string out = wrap.feed(std::string(kBytes, 'x'));
  out += wrap.end();
  EXPECT_EQ(out.size(), kBytes + (kBytes - 1) / kRow);
  EXPECT_EQ(static_cast<std::size_t>(wrap.column()), kBytes % kRow);
  EXPECT_EQ(out.find('\n'), kRow);
}

TEST(Wrap, ALongWordOfWideLettersAndMarksIsBrokenWhereTheNextDoesNotFit) {
  Wrap wrap("> ", 9);
  std::string out = wrap.feed("ab\u0301cdefghijkl\u732b\u732b\u732b\u732b");
  out += wrap.end();
  EXPECT_EQ(out, "> ab\u0301cdef\n> ghijkl\n> \u732b\u732b\u732b\n> \u732b");
  EXPECT_EQ(wrap.column(), 4);
}

}  // namespace
}  // namespace lares::cli
