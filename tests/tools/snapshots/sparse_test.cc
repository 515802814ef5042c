// Snapshots of sparse checkouts: what is kept out of the worktree neither comes nor goes with them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/snapshots/snapshot_worktree.h"
#include "tools/git/worktree.h"

namespace lares::tools {
namespace {

using test::git;
using test::kAll;
using test::restore;
using test::take;
using test::Worktree;
using testing::ElementsAre;
using testing::IsEmpty;

class SparseSnapshots : public testing::Test {
 protected:
  void SetUp() override {
    git(here_.root(), "init");
    here_.write("top", "top\n");
    here_.write("in/a", "a\n");
    here_.write("far/b", "b\n");
    here_.write("far/deep/c", "c\n");
    here_.write("half/in/d", "d\n");
    here_.write("half/far/e", "e\n");
    git(here_.root(), "add -A");
    git(here_.root(), "commit -m first");
  }
  void sparse(const std::string& directories) {
    git(here_.root(), "sparse-checkout set " + directories);
  }
  Worktree here_;
};

TEST_F(SparseSnapshots, NameWhatIsKeptOut) {
  sparse("in half/in");
  auto snapshots = here_.open();
  EXPECT_THAT(snapshots.take("one")->kept_out, ElementsAre("far/", "half/far/"));
  EXPECT_THAT(here_.open().list()->back().kept_out, ElementsAre("far/", "half/far/"));
  git(here_.root(), "sparse-checkout disable");
  EXPECT_THAT(snapshots.take("two")->kept_out, IsEmpty());
}

TEST_F(SparseSnapshots, WhatCameIntoTheCheckoutSinceStays) {
  sparse("in");
  auto snapshots = here_.open();
  const auto before = take(snapshots);
  sparse("in far");
  here_.write("in/a", "changed\n");
  here_.write("in/new", "new\n");
  here_.write("far/new", "new\n");
  const auto planned = snapshots.compare(kWorktree, before);
  ASSERT_TRUE(planned);
  EXPECT_THAT(test::lines(*planned),
              ElementsAre("removed far/new 4 0", "changed in/a 8 2", "removed in/new 4 0"));
  const auto done = restore(snapshots, before);
  EXPECT_EQ(test::lines(done.done), test::lines(*planned));
  EXPECT_THAT(done.not_done, IsEmpty());
  EXPECT_EQ(here_.read("in/a"), "a\n");
  EXPECT_EQ(here_.read("far/b"), "b\n");
  EXPECT_EQ(here_.read("far/deep/c"), "c\n");
}

TEST_F(SparseSnapshots, WhatCameOrWentWithTheCheckoutIsNoChangeSince) {
  sparse("in half/in");
  auto snapshots = here_.open();
  const auto before = take(snapshots);
  sparse("in far");
  here_.write("in/a", "changed\n");
  here_.write("far/new", "new\n");
  here_.write("far/b", "work\n");
  EXPECT_THAT(test::compare(snapshots, before, kWorktree),
              ElementsAre("added far/b 0 5", "added far/new 0 4", "changed in/a 2 8"));
  here_.remove("in/a");
  EXPECT_THAT(test::compare(snapshots, before, kWorktree),
              ElementsAre("added far/b 0 5", "added far/new 0 4", "removed in/a 2 0"));
}

TEST_F(SparseSnapshots, WhatCameWithOtherLineEndsStays) {
  sparse("in");
  auto snapshots = here_.open();
  const auto before = take(snapshots);
  git(here_.root(), "config core.autocrlf true");
  sparse("in far");
  ASSERT_EQ(here_.read("far/b"), "b\r\n");
  const auto done = restore(snapshots, before);
  EXPECT_THAT(test::lines(done.done), IsEmpty());
  EXPECT_THAT(done.not_done, IsEmpty());
  EXPECT_EQ(here_.read("far/b"), "b\r\n");
}

TEST_F(SparseSnapshots, WhatCameIntoTheCheckoutAndWasChangedStaysAndIsTold) {
  sparse("in");
  auto snapshots = here_.open();
  const auto before = take(snapshots);
  sparse("in far");
  here_.write("far/b", "work\n");
  const auto done = restore(snapshots, before);
  ASSERT_EQ(done.not_done.size(), 1u);
  EXPECT_EQ(done.not_done[0].path, "far/b");
  EXPECT_THAT(done.not_done[0].why, testing::HasSubstr("sparse checkout"));
  EXPECT_EQ(here_.read("far/b"), "work\n");
}

TEST_F(SparseSnapshots, WhatWentOutOfTheCheckoutSinceDoesNotCome) {
  auto snapshots = here_.open();
  here_.write("in/gone", "gone\n");
  const auto before = take(snapshots);
  sparse("in");
  here_.remove("in/gone");
  const auto done = restore(snapshots, before);
  EXPECT_THAT(test::lines(done.done), ElementsAre("added in/gone 0 5"));
  EXPECT_THAT(done.not_done, IsEmpty());
  EXPECT_FALSE(here_.has("far"));
}

TEST_F(SparseSnapshots, WhatWasWrittenOverAFileThatIsKeptOutGoesAgainAndComesBack) {
  sparse("in");
  auto snapshots = here_.open();
  const auto before = take(snapshots);
  here_.write("far/b", "written here\n");
  const auto with = take(snapshots);
  restore(snapshots, before);
  EXPECT_FALSE(here_.has("far/b"));
  restore(snapshots, with);
  EXPECT_EQ(here_.read("far/b"), "written here\n");
}

TEST_F(SparseSnapshots, AFileThatIsOnlyMarkedComesBack) {
  git(here_.root(), "update-index --skip-worktree in/a");
  auto snapshots = here_.open();
  const auto before = take(snapshots);
  here_.remove("in/a");
  restore(snapshots, before);
  EXPECT_EQ(here_.read("in/a"), "a\n");
}

// libgit2 1.5 does not read such an index: a directory that is kept out is one entry of it.
TEST_F(SparseSnapshots, ASparseIndexIsLikeAWholeOne) {
  git(here_.root(), "sparse-checkout set --sparse-index in");
  auto snapshots = here_.open();
  const auto one = snapshots.take("one");
  EXPECT_THAT(one->kept_out, ElementsAre("far/", "half/"));
  EXPECT_EQ(one->incomplete, "");
  here_.write("in/new", "new\n");
  here_.write("far/b", "written here\n");
  const auto with = snapshots.take("two");
  EXPECT_THAT(with->kept_out, ElementsAre("far/deep/", "half/"));
  auto done = restore(snapshots, one->id);
  EXPECT_THAT(test::lines(done.done), ElementsAre("removed far/b 13 0", "removed in/new 4 0"));
  EXPECT_THAT(done.not_done, IsEmpty());
  EXPECT_FALSE(here_.has("far"));
  restore(snapshots, with->id);
  EXPECT_EQ(here_.read("far/b"), "written here\n");
  here_.remove("far");

  sparse("--sparse-index in far");
  here_.write("far/deep/c", "changed\n");
  done = restore(snapshots, one->id);
  EXPECT_EQ(here_.read("far/b"), "b\n");
  EXPECT_EQ(here_.read("far/deep/c"), "changed\n");
  ASSERT_EQ(done.not_done.size(), 1u);
  EXPECT_THAT(done.not_done[0].why, testing::HasSubstr("sparse checkout"));

  git(here_.root(), "checkout -f");
  const auto wide = take(snapshots);
  sparse("--sparse-index in");
  done = restore(snapshots, wide);
  EXPECT_THAT(done.not_done, IsEmpty());
  EXPECT_FALSE(here_.has("far"));
}

TEST_F(SparseSnapshots, OfASplitIndexTooItIsKnownWhatIsKeptOut) {
  sparse("in half/in");
  git(here_.root(), "update-index --split-index");
  auto snapshots = here_.open();
  const auto one = snapshots.take("one");
  EXPECT_THAT(one->kept_out, ElementsAre("far/", "half/far/"));
  EXPECT_EQ(one->incomplete, "");
}

TEST_F(SparseSnapshots, AnIndexThatCannotBeReadRemovesNothing) {
  sparse("in");
  here_.write(".git/index", "no index");
  auto snapshots = here_.open();
  const auto one = snapshots.take("one");
  EXPECT_THAT(one->incomplete, testing::HasSubstr("it is damaged"));
  here_.write("in/new", "new\n");
  const auto done = restore(snapshots, one->id);
  EXPECT_THAT(done.done, IsEmpty());
  EXPECT_TRUE(here_.has("in/new"));
}

// As a session's worktree is made: a checkout of HEAD, then what the user has.
TEST_F(SparseSnapshots, AWorktreeMadeOfASparseOneIsSparse) {
  for (const std::string how : {"", "--sparse-index "}) {
    sparse(how + "in");
    here_.write("in/a", "changed\n");
    here_.remove("top");
    auto snapshots = here_.open();
    const auto mine = take(snapshots, "mine" + how);
    test::Scratch other;
    const std::string root = other.at("made"), name = how.empty() ? "v" : "w";
    const auto made =
        add_worktree({.repository = here_.root(), .path = root, .name = name, .branch = name});
    ASSERT_TRUE(made) << made.error();
    EXPECT_FALSE(std::filesystem::exists(root + "/far"));
    git(root, "diff --quiet HEAD");  // git itself finds nothing changed
    git(root, "update-index --refresh");
    EXPECT_FALSE(look_at_worktree(root)->uncommitted);
    auto theirs = Snapshots::open(root, here_.store(), {}, here_.root());
    ASSERT_TRUE(theirs) << theirs.error();
    const auto done = restore(*theirs, mine);
    EXPECT_THAT(test::lines(done.done), ElementsAre("changed in/a 2 8", "removed top 4 0"));
    EXPECT_THAT(done.not_done, IsEmpty());

    const auto began = take(*theirs, "began" + how);
    git(root, "sparse-checkout add half");  // patterns and settings are git's own
    EXPECT_EQ(other.read("made/half/far/e"), "e\n");
    EXPECT_FALSE(std::filesystem::exists(root + "/far"));
    other.write("made/half/far/e", "by the session\n");
    other.write("made/far/new", "new\n");
    other.write("made/in/a", "by the session\n");
    auto merged = snapshots.merge(began, mine, take(*theirs, "new" + how), "apply");
    ASSERT_TRUE(merged) << merged.error();
    EXPECT_THAT(test::lines(merged->changes),
                ElementsAre("added far/new 0 4", "added half/far/e 0 15", "changed in/a 8 15"));
    git(here_.root(), "checkout -f");
  }
}

// A session's worktree that has more than the user's.
TEST_F(SparseSnapshots, AWholeWorktreeMadeAsASparseOneIsKeepsTheOtherFiles) {
  sparse("in");
  here_.write("in/a", "changed\n");
  here_.remove("top");
  auto snapshots = here_.open();
  const auto mine = take(snapshots);
  test::Scratch other;
  const std::string root = other.at("made");
  ASSERT_TRUE(add_worktree({.repository = here_.root(), .path = root, .name = "w", .branch = "w"}));
  git(root, "sparse-checkout disable");
  auto theirs = Snapshots::open(root, here_.store(), {}, here_.root());
  ASSERT_TRUE(theirs) << theirs.error();
  const auto done = restore(*theirs, mine);
  EXPECT_THAT(test::lines(done.done), ElementsAre("changed in/a 2 8", "removed top 4 0"));
  EXPECT_THAT(done.not_done, IsEmpty());
  EXPECT_EQ(other.read("made/far/deep/c"), "c\n");

  const auto began = take(*theirs, "began");
  other.write("made/far/new", "new\n");
  other.write("made/in/a", "by the session\n");
  auto merged = snapshots.merge(began, mine, take(*theirs, "new"), "apply");
  ASSERT_TRUE(merged) << merged.error();
  EXPECT_THAT(test::lines(merged->changes), ElementsAre("added far/new 0 4", "changed in/a 8 15"));
  restore(snapshots, merged->merged.id, {.all = false, .paths = {"in/a", "far/new"}});
  EXPECT_EQ(here_.read("far/new"), "new\n");
  EXPECT_FALSE(here_.has("far/b"));

  other.write("made/far/b", "by the session\n");
  merged = snapshots.merge(began, mine, take(*theirs, "changed"), "apply");
  ASSERT_TRUE(merged) << merged.error();
  ASSERT_EQ(merged->conflicts.size(), 1u);
  EXPECT_EQ(merged->conflicts[0].why, "outside the sparse checkout here, changed by the session");
}

}  // namespace
}  // namespace lares::tools
