// What is shown of what lies between two snapshots.
#include "daemon/session/found_changes.h"

#include <filesystem>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/tools/scratch.h"
#include "tools/text.h"

namespace lares::daemon {
namespace {

class FoundChangesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(scratch_.at("work"));
    auto opened = tools::Snapshots::open(scratch_.at("work"), scratch_.at("snapshots"));
    ASSERT_TRUE(opened) << opened.error();
    snapshots_.emplace(std::move(*opened));
  }
  void write(const std::string& path, const std::string& text) {
    scratch_.write("work/" + path, text);
  }
  std::string take() {
    const auto taken = snapshots_->take(fmt::format("{}", ++n_));
    return taken ? taken->id : "";
  }
  std::vector<protocol::FileChange> between(const std::string& from, const std::string& to) {
    auto found = find_changes(*snapshots_, from, to);
    EXPECT_TRUE(found) << found.error();
    return found ? std::move(*found) : std::vector<protocol::FileChange>();
  }

  const tools::test::Scratch scratch_;
  std::optional<tools::Snapshots> snapshots_;
  int n_ = 0;
};

TEST_F(FoundChangesTest, EachIsWhatGitCallsIt) {
  write("edited", "a\n"), write("gone", "x\n"), write("runs", "y\n");
  write("image", std::string("\0\1", 2));
  const std::string before = take();
  write("edited", "b\n"), write("new", ""), write("image", std::string("\0\2", 2));
  std::filesystem::remove(scratch_.at("work/gone"));
  std::filesystem::permissions(scratch_.at("work/runs"), std::filesystem::perms::owner_exec,
                               std::filesystem::perm_options::add);
  const auto found = between(before, take());
  ASSERT_EQ(found.size(), 5u);
  const auto& [edited, gone, image, made, runs] = std::tie(found[0], found[1], found[2], found[3],
                                                           found[4]);
  EXPECT_EQ(edited.path, "edited");
  EXPECT_EQ(edited.diff, "--- a/edited\n+++ b/edited\n@@ -1 +1 @@\n-a\n+b\n");
  EXPECT_EQ(edited.after, tools::blob_sha("b\n"));  // as edits name it
  EXPECT_EQ(gone.after, "none");
  EXPECT_EQ(gone.diff,
            "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n"
            "@@ -1 +0,0 @@\n-x\n");
  EXPECT_EQ(image.diff, "");
  EXPECT_NE(image.before, image.after);
  EXPECT_EQ(made.before, "none");
  EXPECT_EQ(made.diff, "diff --git a/new b/new\nnew file mode 100644\n");
  EXPECT_EQ(runs.before, runs.after);
  EXPECT_EQ(runs.diff, "diff --git a/runs b/runs\nold mode 100644\nnew mode 100755\n");
  EXPECT_FALSE(find_changes(*snapshots_, before, std::string(40, '0')));
}

TEST_F(FoundChangesTest, OfVeryManyFilesNoneIsNamed) {
  const std::string before = take();
  for (std::size_t i = 0; i < kFoundFilesMax; ++i) write(fmt::format("{:04}", i), "x\n");
  const std::string most = take();
  EXPECT_EQ(between(before, most).size(), kFoundFilesMax);
  write("one more", "x\n");
  EXPECT_TRUE(between(before, take()).empty());
}

TEST_F(FoundChangesTest, DiffsHaveARoomTogether) {
  const std::string before = take();
  std::string lines;
  while (lines.size() < 2 * kFoundDiffBytesMax) lines += "a line of a long file\n";
  for (int i = 0; i < 5; ++i) write(fmt::format("{}", i), lines);
  write("5", "short\n");
  const auto found = between(before, take());
  ASSERT_EQ(found.size(), 6u);
  std::size_t bytes = 0;
  for (const auto& file : found) bytes += file.diff.size();
  EXPECT_LE(bytes, kFoundDiffsBytesMax);
  EXPECT_GT(found[0].diff.size(), kFoundDiffBytesMax / 2);
  EXPECT_EQ(found[4].diff, "");
  EXPECT_NE(found[5].diff, "");  // which fits
}

TEST_F(FoundChangesTest, WhatIsTooLargeIsNotRead) {
  const std::string before = take();
  write("large", std::string(kFoundBytesReadMax, 'x') + "\n"), write("small", "x\n");
  const auto found = between(before, take());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].diff, "");
  EXPECT_NE(found[1].diff, "");
}

}  // namespace
}  // namespace lares::daemon
