#include "tools/edit/match.h"

#include <gtest/gtest.h>

#include "tools/text.h"

namespace lares::tools {
namespace {

std::string replaced(std::string_view file, std::string_view from, std::string_view to) {
  const auto done = replace_unique(file, from, to);
  if (done) return done->bytes;
  return done.error().lines.empty() ? "<absent>" : "<several>";
}
std::string relaxed(std::string_view file, std::string_view from, std::string_view to) {
  const auto done = replace_unique(file, from, to);
  return done ? done->relaxed : "<none>";
}
std::vector<std::size_t> several(std::string_view file, std::string_view from) {
  const auto done = replace_unique(file, from, "x");
  return done ? std::vector<std::size_t>{} : done.error().lines;
}

TEST(EditMatch, LiteralOnce) {
  EXPECT_EQ(replaced("a\nb\nc\n", "b", "B"), "a\nB\nc\n");
  EXPECT_EQ(relaxed("a\nb\nc\n", "b", "B"), "");
}
TEST(EditMatch, AbsentIsAbsent) { EXPECT_EQ(replaced("a\nb\n", "zebra", "x"), "<absent>"); }
TEST(EditMatch, SeveralNamesTheLines) {
  EXPECT_EQ(several("x = 1\ny\nx = 1\n", "x = 1"), (std::vector<std::size_t>{1, 3}));
}
TEST(EditMatch, OverlappingCountsAsSeveral) {
  EXPECT_EQ(several("aaa\n", "aa"), (std::vector<std::size_t>{1}));
}
TEST(EditMatch, OfManyTheFirstAreNamed) {
  std::string file = "y\n";
  for (int i = 0; i < 100'000; ++i) file += "x x\n";
  const auto lines = several(file, "x");
  ASSERT_EQ(lines.size(), 100u);
  EXPECT_EQ(lines.front(), 2u);
  EXPECT_EQ(lines.back(), 101u);
}
TEST(EditMatch, LongerThanTheFile) { EXPECT_EQ(replaced("a\n", "a\nb\nc\nd\n", "x"), "<absent>"); }
TEST(EditMatch, PatternCharactersAreLiteral) {
  EXPECT_EQ(replaced("a.*b $1 \\0\n", ".*b $1", "$0\\1"), "a$0\\1 \\0\n");
  EXPECT_EQ(replaced("aXXb\n", "a.*b", "x"), "<absent>");
}
TEST(EditMatch, DeletionOfTheLastLine) { EXPECT_EQ(replaced("a\nb\n", "b\n", ""), "a\n"); }
TEST(EditMatch, NoFinalNewlineStays) { EXPECT_EQ(replaced("a\nb", "b", "c"), "a\nc"); }

TEST(EditMatch, LfStandsForTheFilesLineEnd) {
  EXPECT_EQ(replaced("a\r\nb\r\nc\r\n", "a\nb\n", "a\nx\ny\n"), "a\r\nx\r\ny\r\nc\r\n");
  EXPECT_EQ(relaxed("a\r\nb\r\n", "a\nb\n", "x\n"), "");
}
TEST(EditMatch, CrlfInOldStrIsReported) {
  EXPECT_EQ(replaced("a\nb\n", "a\r\nb", "a\r\nc"), "a\nc\n");
  EXPECT_EQ(relaxed("a\nb\n", "a\r\nb", "a\r\nc"), "line ends");
}
TEST(EditMatch, MixedLineEndsChangeOnlyWhereTouched) {
  EXPECT_EQ(replaced("a\r\nb\nc\r\nd\n", "b\nc\nd", "b\nC\nd"), "a\r\nb\nC\r\nd\n");
}
TEST(EditMatch, LoneCarriageReturnIsNoLineEnd) {
  EXPECT_EQ(replaced("a\rb\nc\n", "b\nc", "b\nd"), "a\rb\nd\n");
  EXPECT_EQ(several("a\rx\u2028x\n", "x"), (std::vector<std::size_t>{1}));
}
TEST(EditMatch, BomAndForeignBytesSurvive) {
  EXPECT_EQ(replaced("\xef\xbb\xbfint a;\n\xff\xfe\n", "int a;", "int b;"),
            "\xef\xbb\xbfint b;\n\xff\xfe\n");
}

// What stands for bytes that are no UTF-8 begins, or ends, as other characters do.
TEST(EditMatch, CharactersAreReplacedWhole) {
  EXPECT_EQ(replaced("a\xff"
                     "b\n",
                     "a\uFFFDb", "a\uFFFCb"),
            "a\uFFFCb\n");
  EXPECT_EQ(replaced("a\xff"
                     "b\n",
                     "a\uFFFDb", "a\u0FFDb"),
            "a\u0FFDb\n");
}
TEST(EditMatch, WhatStandsForForeignBytesIsWrittenNowhere) {
  EXPECT_EQ(replaced("a\xff"
                     "b\n",
                     "a\uFFFDb", "a\uFFFDc"),
            "a\xff"
            "c\n");
  EXPECT_EQ(replaced("a\xff"
                     "b\n",
                     "a\uFFFDb", "a\uFFFDb\uFFFD"),
            "<absent>");
}
TEST(EditMatch, TheLastLineTakesTheLineEndsBeforeIt) {
  EXPECT_EQ(replaced("a\r\nb", "b", "c\nd"), "a\r\nc\r\nd");
  EXPECT_EQ(replaced("a\nb", "b", "c\nd"), "a\nc\nd");
}

TEST(EditMatch, TrailingBlanksDiffer) {
  EXPECT_EQ(replaced("if x:  \n  y\n", "if x:\n  y\n", "if z:\n  y\n"), "if z:  \n  y\n");
  EXPECT_EQ(relaxed("if x:  \n  y\n", "if x:\n  y\n", "if z:\n  y\n"), "trailing blanks");
  EXPECT_EQ(replaced("a\nb\n", "a  \nb", "a\nc"), "a\nc\n");
  // What goes on a line goes before its blanks.
  EXPECT_EQ(replaced("foo  \nbar\n", "foo\nbar", "foo + x\nbar"), "foo + x\nbar\n");
  EXPECT_EQ(replaced("foo  \r\nbar\r\n", "foo\nbar", "foo;\nbar"), "foo;\r\nbar\r\n");
  EXPECT_EQ(replaced("q  \nfoo \t", "q\nfoo", "q\nfoo;"), "q  \nfoo;");
  EXPECT_EQ(replaced("foo(  \nbar)\n", "foo(\nbar)", "foo(bar)"), "foo(bar)\n");
  EXPECT_EQ(replaced("foo  \nbar  \n", "foo\nbar", "foo"), "foo  \n");
  EXPECT_EQ(replaced("foo  \nbar\n", "foo\nbar", "foo\nzap\nbar"), "foo  \nzap\nbar\n");
  EXPECT_EQ(replaced("  \nfoo  \nbar\n", "\nfoo\nbar", "\nfoo\nbars"), "  \nfoo  \nbars\n");
  // Without its blank this old_str would match the middle of a line.
  EXPECT_EQ(replaced("foobar\n", "foo ", "x"), "<absent>");
}
TEST(EditMatch, UniformIndentationShifts) {
  EXPECT_EQ(
      replaced("class A:\n    def f(self):\n        return 1\n", "def g():\n    return 1", "x"),
      "<absent>");
  EXPECT_EQ(replaced("class A:\n    if a:\n        b()\n    c()\n", "  if a:\n      b()\n",
                     "  if a:\n      d()\n      e()\n"),
            "class A:\n    if a:\n        d()\n        e()\n    c()\n");
  EXPECT_EQ(relaxed("  a\n    b\n", "a\n  b\n", "a\n  c\n"), "indentation");
  EXPECT_EQ(replaced("a\n  b\nz\n", "    a\n      b\n", "    a\n      c\n"), "a\n  c\nz\n");
}
TEST(EditMatch, UnevenIndentationIsNoMatch) {
  EXPECT_EQ(replaced("    a\n      b\n", "a\nb\n", "c\n"), "<absent>");
  EXPECT_EQ(replaced("\tif a:\n\t\tb()\n", "    if a:\n        b()\n", "c\n"), "<absent>");
}
TEST(EditMatch, WhatCannotBeShiftedIsNotWritten) {
  EXPECT_EQ(replaced("x\n  y\n", "  x\n    y\n", "  x\nzap\n    y\n"), "<absent>");
}
TEST(EditMatch, QuotesDashesAndSpacesFold) {
  EXPECT_EQ(
      replaced("say(\u201chi\u201d, 1) # \u2013 a\u00a0b\n", "say(\"hi\", 1)", "say(\"hi\", 2)"),
      "say(\u201chi\u201d, 2) # \u2013 a\u00a0b\n");
  EXPECT_EQ(relaxed("a\u00a0b\n", "a b", "a c"), "the kind of quotes, dashes and spaces");
  EXPECT_EQ(several("\u201ca\u201d\n\u2018x\n\u201da\u201c\n", "\"a\""),
            (std::vector<std::size_t>{1, 3}));
}
TEST(EditMatch, RelaxedMatchMustBeUnique) {
  EXPECT_EQ(several("  a()\nq\n   a()\n", "    a()\n"), (std::vector<std::size_t>{1, 3}));
}
TEST(EditMatch, DifferingOnlyInWhatIsIgnoredIsNoEdit) {
  EXPECT_EQ(replaced("a\n", "a \n", "a  \n"), "<absent>");
}

TEST(EditMatch, ManyBytesOnOneLine) {
  const std::string big(1 << 20, 'x');
  const std::string file = big + "needle" + big;
  EXPECT_EQ(replaced(file, "needle", "pin"), big + "pin" + big);
}

TEST(ExplainMiss, ShowsTheNearestLines) {
  std::string file;
  for (int i = 1; i <= 30; ++i) file += "line number " + std::to_string(i) + "\n";
  file += "    return max(low, value)\n";
  const std::string text = explain_miss(file, "  return min(low, value)");
  EXPECT_NE(text.find("    31      return max(low, value)\n"), std::string::npos) << text;
  EXPECT_NE(text.find("    26  line number 26\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("    20  "), std::string::npos) << text;
  EXPECT_EQ(explain_miss("aaa\nbbb\n", "qqqqqqq"), "");
}
TEST(ExplainMiss, KnowsCopiedLineNumbers) {
  EXPECT_NE(explain_miss("int a;\nint b;\n", "     1  int a;\n     2  int b;").find("line numbers"),
            std::string::npos);
}
TEST(ExplainMiss, KnowsEscapes) {
  EXPECT_NE(explain_miss("a\nb\n", "a\\nb").find("escape"), std::string::npos);
}

}  // namespace
}  // namespace lares::tools
