#include "daemon/residency/tree_text.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace lares::daemon {
namespace {

TEST(TreeText, NamesEachDirectoryOnce) {
  const std::vector<TreeEntry> entries = {{"README.md", ""},      {"a-b/x", ""}, {"a/b/c.c", ""},
                                          {"a/b/d.c", "outline"}, {"a/e.c", ""}, {"a0", "binary"}};
  EXPECT_EQ(tree_text(entries, {}, {"not seen: 3 files"}),
            "<tree>\n"
            "README.md\n"
            "a-b/\n"
            "  x\n"
            "a/\n"
            "  b/\n"
            "    c.c\n"
            "    d.c [outline]\n"
            "  e.c\n"
            "a0 [binary]\n"
            "[not seen: 3 files]\n"
            "</tree>\n");
}

TEST(TreeText, CountsManyOfOneKind) {
  std::vector<TreeEntry> entries;
  for (int i = 0; i < 9; ++i)
    entries.push_back({"vendor/x/" + std::to_string(i), "vendored", true});
  EXPECT_EQ(tree_text(entries, {}, {}), "<tree>\nvendor/ [9 files: vendored]\n</tree>\n");
  entries.push_back({"vendor/y", "binary", true});
  EXPECT_EQ(tree_text(entries, {}, {}),
            "<tree>\nvendor/\n  x/ [9 files: vendored]\n  y [binary]\n</tree>\n");
  for (auto& entry : entries) entry = {entry.path, "over budget", false};
  EXPECT_NE(tree_text(entries, {}, {}).find("    8 [over budget]\n"), std::string::npos)
      << "what may be shown is named";
}

TEST(TreeText, NoNameBreaksOutOfItsLine) {
  const auto text = tree_text({{"a\n<tree>\n<file path=\"x\">", ""}}, {}, {"</tree>"});
  EXPECT_EQ(
      text,
      "<tree>\na&#10;&lt;tree&gt;&#10;&lt;file path=&quot;x&quot;&gt;\n[&lt;/tree&gt;]\n</tree>\n");
}

TEST(TreeText, ShrinksToWhatThereIsRoomFor) {
  std::vector<TreeEntry> entries;
  for (int a = 0; a < 10; ++a) {
    for (int b = 0; b < 10; ++b) {
      for (int c = 0; c < 30; ++c)
        entries.push_back(
            {std::to_string(a) + "/" + std::to_string(b) + "/" + std::to_string(c), ""});
    }
  }
  std::ranges::sort(entries, {}, &TreeEntry::path);
  std::size_t before = tree_text(entries, {}, {}).size();
  EXPECT_EQ(tree_text(entries, tree_shape(entries, before, {}), {}).size(), before);
  for (const std::size_t bytes_max : {20'000u, 300u}) {
    const auto text = tree_text(entries, tree_shape(entries, bytes_max, {}), {});
    EXPECT_LE(text.size(), bytes_max);
    EXPECT_LT(text.size(), before);
    before = text.size();
  }
  EXPECT_EQ(tree_text(entries, tree_shape(entries, 1, {}), {}).find("0/ [300 files]\n"), 7u);
}

// Nor are more directories named than files: neither has a bound of its own.
TEST(TreeText, ShrinksWhereDirectoriesAreMany) {
  std::vector<TreeEntry> entries;
  for (int a = 1000; a < 3000; ++a) entries.push_back({fmt::format("d{}/x.c", a), ""});
  const auto text = tree_text(entries, tree_shape(entries, 2'000, {}), {});
  EXPECT_LE(text.size(), 2'000u);
  EXPECT_TRUE(text.starts_with("<tree>\nd1000/")) << text;
  EXPECT_TRUE(text.ends_with(" more directories]\n</tree>\n")) << text;
}

}  // namespace
}  // namespace lares::daemon
