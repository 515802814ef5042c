// Parts of a patch: git's own headers, where a diff's two names do not say what happened.
#include "tools/file_patch.h"

#include <gtest/gtest.h>

#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::size_t kMax = 10'000;

std::string patch(const std::string& path, const std::string& before, const std::string& after,
                  std::optional<unsigned> mode_before, std::optional<unsigned> mode_after) {
  return file_patch(path, unified_diff(path, before, after, kMax), mode_before, mode_after);
}

TEST(FilePatch, AChangeStaysAsItIs) {
  EXPECT_EQ(patch("a", "1\n", "2\n", kPlainFile, kPlainFile),
            unified_diff("a", "1\n", "2\n", kMax));
  EXPECT_EQ(patch("a", "1\n", "1\n", kPlainFile, kPlainFile), "");
}

TEST(FilePatch, WhatIsMadeOrRemovedHasNoNameOnOneSide) {
  EXPECT_EQ(patch("a b", "", "1\n", std::nullopt, 0100755),
            "diff --git a/a b b/a b\nnew file mode 100755\n--- /dev/null\n+++ b/a b\n@@ -0,0 +1 "
            "@@\n+1\n");
  EXPECT_EQ(patch("d/a", "--- 1\n", "", kPlainFile, std::nullopt),
            "diff --git a/d/a b/d/a\ndeleted file mode 100644\n--- a/d/a\n+++ /dev/null\n@@ -1 "
            "+0,0 @@\n---- 1\n");
  EXPECT_EQ(patch("a", "", "", std::nullopt, kPlainFile),
            "diff --git a/a b/a\nnew file mode 100644\n");
  EXPECT_EQ(patch("a", "", "", kPlainFile, std::nullopt),
            "diff --git a/a b/a\ndeleted file mode 100644\n");
}

TEST(FilePatch, AModeIsSaidWhereItChanges) {
  const std::string modes = "diff --git a/a b/a\nold mode 100644\nnew mode 100755\n";
  EXPECT_EQ(patch("a", "1\n", "1\n", kPlainFile, 0100755), modes);
  EXPECT_EQ(patch("a", "1\n", "2\n", kPlainFile, 0100755),
            modes + unified_diff("a", "1\n", "2\n", kMax));
}

TEST(FilePatch, ACutSaysWhetherItLeftAnythingOut) {
  const auto cut = [](std::string diff, std::size_t bytes_max) {
    const bool left_out = cut_diff(diff, bytes_max);
    return (left_out ? "cut: " : "whole: ") + diff;
  };
  EXPECT_EQ(cut("+1\n+2\n", 6), "whole: +1\n+2\n");
  EXPECT_EQ(cut("+1\n+2\n", 5), "cut: +1\n[3 more bytes of diff]\n");
  EXPECT_EQ(cut("+1\n+2\n", 3), "cut: +1\n[3 more bytes of diff]\n");
  EXPECT_EQ(cut("+1\n", 0), "cut: [3 more bytes of diff]\n");
  EXPECT_EQ(cut("\u00e9\u00e9", 3), "cut: \u00e9[2 more bytes of diff]\n");
}

}  // namespace
}  // namespace lares::tools
