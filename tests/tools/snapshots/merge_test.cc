// Three snapshots merged, of two worktrees whose snapshots lie in one store.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/tools/snapshots/snapshot_worktree.h"
#include "tools/snapshots/snapshots.h"

namespace lares::tools {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::IsEmpty;

// The user's worktree, a copy of it, and what both were when they parted.
class Merging : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const Worktree* tree : {&ours_, &theirs_}) {
      tree->write("a.txt", "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
      tree->write("b.txt", "b\n");
      tree->write("bin/run", "#!/bin/sh\n");
    }
    here_.emplace(ours_.open());
    auto there = Snapshots::open(theirs_.root(), ours_.store(), {}, ours_.root());
    ASSERT_TRUE(there) << there.error();
    there_.emplace(std::move(*there));
    base_ = take(*there_);
  }
  SnapshotMerge merge() {
    auto merged = here_->merge(base_, take(*here_), take(*there_), "merged");
    EXPECT_TRUE(merged) << merged.error();
    return std::move(*merged);
  }
  std::vector<std::string> conflicts() {
    std::vector<std::string> out;
    for (const auto& [path, why] : merge().conflicts) out.push_back(path + ": " + why);
    return out;
  }
  void apply() {
    const auto merged = merge();
    EXPECT_THAT(named(merged.conflicts), IsEmpty());
    Selection selection;
    for (const auto& change : merged.changes) selection.paths.push_back(change.path);
    const auto restored = here_->restore(merged.merged.id, selection);
    ASSERT_TRUE(restored) << restored.error();
    EXPECT_THAT(named(restored->not_done), IsEmpty());
  }

  Worktree ours_, theirs_;
  std::optional<Snapshots> here_, there_;
  std::string base_;
};

TEST_F(Merging, OfTheSameTextBothSidesKeepTheirLines) {
  ours_.write("a.txt", "one\n2\n3\n4\n5\n6\n7\n8\n9\n");
  theirs_.write("a.txt", "1\n2\n3\n4\n5\n6\n7\n8\nnine\n");
  theirs_.write("new/c.txt", "c\n");
  theirs_.remove("b.txt");
  apply();
  EXPECT_EQ(ours_.read("a.txt"), "one\n2\n3\n4\n5\n6\n7\n8\nnine\n");
  EXPECT_EQ(ours_.read("new/c.txt"), "c\n");
  EXPECT_FALSE(ours_.has("b.txt"));
}

TEST_F(Merging, ModesAndTextsOfOneFileMerge) {
  ::chmod(ours_.at("bin/run").c_str(), 0700);
  theirs_.write("bin/run", "#!/bin/sh\nexec true\n");
  apply();
  EXPECT_EQ(ours_.read("bin/run"), "#!/bin/sh\nexec true\n");
  struct stat st {};
  ASSERT_EQ(::stat(ours_.at("bin/run").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
}

TEST_F(Merging, TheSameChangeOnBothSidesIsDoneAlready) {
  for (const Worktree* tree : {&ours_, &theirs_})
    tree->write("a.txt", "same\n"), tree->remove("b.txt");
  ::chmod(ours_.at("a.txt").c_str(), 0755);  // and one more here
  const auto merged = merge();
  EXPECT_THAT(named(merged.conflicts), IsEmpty());
  EXPECT_THAT(lines(merged.changes), IsEmpty());
  EXPECT_FALSE(merged.merged.id.empty());
}

TEST_F(Merging, WhatOneRemovedOrMadeALinkAndTheOtherChangedConflicts) {
  theirs_.remove("b.txt");
  ours_.write("b.txt", "changed\n");
  theirs_.link("b.txt", "a.txt");
  ours_.write("a.txt", "changed\n");
  EXPECT_THAT(conflicts(), ElementsAre("a.txt: a link on one side",
                                       "b.txt: removed by the session, changed here"));
}

TEST_F(Merging, ConflictsAreNamedAndNothingIsMade) {
  ours_.write("a.txt", "one\n2\n3\n4\n5\n6\n7\n8\n9\n");
  theirs_.write("a.txt", "ein\n2\n3\n4\n5\n6\n7\n8\n9\n");
  ours_.remove("b.txt");
  theirs_.write("b.txt", "changed\n");
  ours_.write("c.txt", "ours\n");
  theirs_.write("c.txt", "theirs\n");
  ours_.write("d", "a file\n");
  theirs_.write("d/in", "a directory\n");
  ours_.write("bin/run", std::string("\0\1", 2));
  theirs_.write("bin/run", std::string("\0\2", 2));
  EXPECT_THAT(conflicts(), ElementsAre("a.txt: the same lines changed on both sides",
                                       "b.txt: removed here, changed by the session",
                                       "bin/run: changed on both sides, and no text",
                                       "c.txt: added on both sides, with other text",
                                       "d/in: a file on one side, a directory on the other"));
  EXPECT_TRUE(merge().merged.id.empty());
}

// The session's files as a snapshot of theirs could not hold them.
class MergingWhatIsLeftOut : public Merging {
 protected:
  void SetUp() override {
    Merging::SetUp();
    auto there = Snapshots::open(theirs_.root(), ours_.store(), {.file_bytes_max = 4000},
                                 ours_.root());
    ASSERT_TRUE(there) << there.error();
    there_.emplace(std::move(*there));
  }
};

TEST_F(MergingWhatIsLeftOut, AFileThatGrewTooLargeIsNotRemoved) {
  ours_.write("a.txt", "the user's\n");
  theirs_.write("a.txt", std::string(5000, 'x'));
  theirs_.write("b.txt", std::string(5000, 'x'));
  theirs_.write("new.txt", "new\n");
  EXPECT_THAT(lines(merge().changes), ElementsAre("added new.txt 0 4"));
  apply();
  EXPECT_EQ(ours_.read("a.txt"), "the user's\n");
  EXPECT_EQ(ours_.read("b.txt"), "b\n");
}

TEST_F(MergingWhatIsLeftOut, ADirectoryThatBecameARepositoryIsNotRemoved) {
  git(theirs_.at("bin"), "init -q");
  theirs_.remove("b.txt");
  const auto merged = merge();
  EXPECT_THAT(lines(merged.changes), ElementsAre("removed b.txt 2 0"));
  EXPECT_THAT(named(merged.kept), IsEmpty()) << "the snapshot names the directory";
}

TEST_F(MergingWhatIsLeftOut, WhereNotAllIsNamedNothingIsRemoved) {
  std::string deep = "d";
  for (int i = 0; i < 70; ++i) deep += "/d";
  theirs_.write(deep + "/x.txt", "1\n");
  theirs_.remove("b.txt");
  theirs_.write("a.txt", "changed\n");
  const auto merged = merge();
  EXPECT_THAT(lines(merged.changes), ElementsAre("changed a.txt 18 8"));
  EXPECT_THAT(named(merged.kept),
              ElementsAre("b.txt: its snapshot does not name all that it left out, so the session "
                          "may have it still; it is left as it is here"));
}

TEST_F(MergingWhatIsLeftOut, WhatNoSnapshotHoldsHereConflicts) {
  auto here = ours_.open({.file_bytes_max = 4000});
  here_.emplace(std::move(here));
  ours_.write("a.txt", std::string(5000, 'x'));
  theirs_.write("a.txt", "changed\n");
  EXPECT_THAT(conflicts(),
              ElementsAre("a.txt: no snapshot holds what is here: larger than 4000 bytes"));
}

TEST_F(MergingWhatIsLeftOut, WhatNoSnapshotHeldAtTheBeginningAndIsGoneHereConflicts) {
  theirs_.write("c.txt", std::string(5000, 'x'));
  base_ = take(*there_);
  theirs_.write("c.txt", "short\n");
  EXPECT_THAT(conflicts(),
              ElementsAre("c.txt: removed here, and no snapshot holds what it was when "
                          "the session began"));
}

TEST_F(Merging, OneWorktreeIsMadeAsTheOtherIs) {
  ours_.write("a.txt", "one\n");
  ours_.remove("b.txt");
  const std::string now = take(*here_);
  const auto restored = there_->restore(now, {.all = true, .paths = {}});
  ASSERT_TRUE(restored) << restored.error();
  EXPECT_EQ(theirs_.read("a.txt"), "one\n");
  EXPECT_FALSE(theirs_.has("b.txt"));
}

TEST_F(Merging, AnewIsAnotherSnapshotOfTheSameFiles) {
  const auto again = here_->take("first"), anew = here_->take("second", /*anew=*/true),
             third = here_->take("third");
  ASSERT_TRUE(again && anew && third);
  EXPECT_EQ(again->id, base_);
  EXPECT_NE(anew->id, base_);
  EXPECT_EQ(anew->label, "second");
  EXPECT_EQ(third->id, anew->id);
}

}  // namespace
}  // namespace lares::tools
