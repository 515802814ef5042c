#include "daemon/residency/line_diff.h"

#include <gtest/gtest.h>

#include "tests/daemon/residency/files.h"

namespace lares::daemon {
namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(LineDiff, HasThreeLinesOfContextAndTheDefinitionInsteadOfNumbers) {
  const std::string before =
      "#include <x>\n\nint f(int a) {\n  a = 1;\n  b = 2;\n  c = 3;\n  d = 4;\n  e = 5;\n  g = "
      "6;\n  h = 7;\n}\n";
  EXPECT_EQ(write_diff(before, replaced(before, "  e = 5;\n", "  e = 6;\n  e2 = 7;\n")),
            "@@ int f(int a) {\n   b = 2;\n   c = 3;\n   d = 4;\n-  e = 5;\n+  e = 6;\n+  e2 = "
            "7;\n   g = 6;\n   h = 7;\n }\n");
}

TEST(LineDiff, NamesTheLeastIndentedDefinitionAboveAndNoLabel) {
  const std::string before = "class A {\n public:\n  void f() {\n" +
                             test::numbered_lines(1, 9, "    x") +
                             "public:\n    a\n    b\n    c\n    d\n}\n";
  EXPECT_TRUE(
      write_diff(before, replaced(before, "    d\n", "    e\n")).starts_with("@@ class A {\n"));
}

// Where the same lines stand twice, the context grows until they are the first.
TEST(LineDiff, AHunkIsAtTheFirstPlaceItFits) {
  const std::string block = "  a\n  b\n  c\n  d\n  e\n  f\n  g\n";
  std::string before;
  for (int i = 0; i < 30; ++i) before += block;
  for (const std::size_t n : {0, 7, 29}) {
    std::string after = before;
    after.replace(n * block.size() + 12, 4, "  D\n");
    const std::string diff = write_diff(before, after);
    EXPECT_EQ(apply_diff(before, diff), after) << n;
    EXPECT_EQ(diff.size() < 60, n == 0) << diff;
  }
}

TEST(LineDiff, NothingIsLost) {
  const std::string lines = test::numbered_lines(1, 30);
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {lines, lines + "more"},
      {lines + "more", lines},
      {lines + "x", lines + "x\n"},
      {"a", "b"},
      {"\n\n", "\n"},
      {"", "a\n"},
      {"a\n", ""},
      {lines, lines + "\\ No newline at end of file\n"},
      {lines + "@@ a\n", lines + "@@\n"},
      {"--- a\n+++ b\n", "--- a\n+++ c\n"},
      {"a\rb\n", "a\rc\n"},
      {lines, "new\n" + lines + "</changed>\n"},
  };
  for (const auto& [before, after] : pairs)
    EXPECT_EQ(apply_diff(before, write_diff(before, after)), after) << after;
  EXPECT_EQ(write_diff(lines, lines), "");
}

TEST(LineDiff, WhatDoesNotFitIsRefused) {
  EXPECT_EQ(apply_diff("a\nb\n", "@@\n-c\n+d\n"), std::nullopt);
  EXPECT_EQ(apply_diff("a\nb\n", "-a\n"), std::nullopt);
  EXPECT_EQ(apply_diff("a\nb\n", "@@\n?a\n"), std::nullopt);
  EXPECT_EQ(apply_diff("a\nb\n", "@@\n-a"), std::nullopt);
}

}  // namespace
}  // namespace lares::daemon
