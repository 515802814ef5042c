// Sparse checkouts, and files kept out of the worktree one by one: what git says of them.
#include <gmock/gmock.h>

#include "tests/tools/git/git_case.h"
#include "tools/git/worktree.h"
#include "tools/workspace/workspace.h"

namespace lares::tools {
namespace {

using test::Git;
using test::json;
using test::sh;
using testing::HasSubstr;

class GitSparse : public Git {
 protected:
  void SetUp() override {
    Git::SetUp();
    repo_.write("top", "top\n");
    repo_.write("in/a", "a\n");
    repo_.write("out/b", "b\n");
    repo_.write("out/deep/c", "c\n");
    commit_all("first");
    sh(root(), "git sparse-checkout set in");
  }
  std::string gits_status() { return sh(root(), "git status --short --branch"); }
};

TEST_F(GitSparse, AFileOutsideIsNotDeletedByAddAndCommit) {
  repo_.write("in/a", "changed\n");
  ASSERT_TRUE(git({{"command", "add"}}).ok);
  EXPECT_EQ(sh(root(), "git diff --cached --name-status"), "M\tin/a\n");
  ASSERT_TRUE(git({{"command", "add"}, {"path", "out"}}).ok);
  EXPECT_EQ(sh(root(), "git diff --cached --name-status"), "M\tin/a\n");
  repo_.write("in/new", "new\n");
  const auto made = git({{"command", "commit"}, {"message", "second"}});
  ASSERT_TRUE(made.ok) << made.text;
  EXPECT_EQ(sh(root(), "git ls-tree -r --name-only HEAD"),
            "in/a\nin/new\nout/b\nout/deep/c\ntop\n");
  EXPECT_EQ(sh(root(), "git ls-files -t"), "H in/a\nH in/new\nS out/b\nS out/deep/c\nH top\n");
  EXPECT_EQ(gits_status(), "## main\n");
}

// `git clone --filter=blob:none --sparse` and newer versions of git note these, which libgit2 does
// not know.
TEST_F(GitSparse, ARepositoryWhoseFormatNamesWhatOnlyGitMindsIsOneLikeOthers) {
  sh(root(), "git config core.repositoryFormatVersion 1");
  for (const char* extension :
       {"partialClone origin", "worktreeConfig true", "preciousObjects true"})
    sh(root(), std::string("git config extensions.") + extension);
  repo_.write("in/a", "changed\n");
  EXPECT_EQ(git({{"command", "status"}}).text, gits_status());
  const auto files = list_files({.root = root().string()});
  ASSERT_TRUE(files) << files.error().message;
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ(files->front().path, "in/a");
  EXPECT_TRUE(git({{"command", "commit"}, {"message", "second"}}).ok);
  // In it git itself does not know an extension of a version to come.
  sh(root(), "git config extensions.relativeWorktrees true");
  EXPECT_TRUE(git({{"command", "status"}}).ok);
}

TEST_F(GitSparse, StatusAndDiffAreGits) {
  EXPECT_EQ(git({{"command", "status"}}).text, "## main\nnothing to commit, working tree clean\n");
  EXPECT_EQ(git({{"command", "diff"}}).text, "no changes in tracked files since HEAD\n");
  EXPECT_FALSE(look_at_worktree(root())->uncommitted);
  repo_.write("in/a", "changed\n");
  sh(root(), "rm top");
  EXPECT_EQ(git({{"command", "status"}}).text, gits_status());
  EXPECT_EQ(git({{"command", "diff"}}).text, sh(root(), "git diff HEAD"));
  EXPECT_TRUE(look_at_worktree(root())->uncommitted);
  // Staged, and kept out: it is as it is in the index. It comes last, so nothing is changed behind.
  sh(root(), "git checkout -q top");
  sh(root(),
     "git update-index --cacheinfo 100644,$(echo staged | git hash-object -w --stdin),out/b"
     " && git update-index --skip-worktree out/b");
  EXPECT_EQ(git({{"command", "status"}}).text, gits_status());
  EXPECT_EQ(git({{"command", "diff"}}).text, sh(root(), "git diff HEAD"));
}

TEST_F(GitSparse, WhatLiesOutsideAllTheSameIsAFileLikeOthers) {
  repo_.write("out/b", "written here\n");
  EXPECT_EQ(git({{"command", "status"}}).text, "## main\n M out/b\n");
  EXPECT_EQ(git({{"command", "diff"}}).text, sh(root(), "git diff HEAD"));
  EXPECT_TRUE(look_at_worktree(root())->uncommitted);
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "second"}}).ok);
  EXPECT_EQ(sh(root(), "git show HEAD:out/b"), "written here\n");
  EXPECT_EQ(sh(root(), "git ls-tree -r --name-only HEAD"), "in/a\nout/b\nout/deep/c\ntop\n");
}

TEST_F(GitSparse, AMarkedFileIsUnchangedToAllAndAFileThatIsGoneIsDeleted) {
  sh(root(), "git sparse-checkout disable && git update-index --skip-worktree out/b && rm out/b");
  EXPECT_EQ(git({{"command", "status"}}).text, "## main\nnothing to commit, working tree clean\n");
  sh(root(), "rm in/a");
  EXPECT_EQ(git({{"command", "status"}}).text, gits_status());
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "second"}}).ok);
  EXPECT_EQ(sh(root(), "git ls-tree -r --name-only HEAD"), "out/b\nout/deep/c\ntop\n");
}

TEST_F(GitSparse, SwitchingIsLeftToGit) {
  sh(root(), "git branch other && git switch -q other");
  repo_.write("in/a", "other\n");
  commit_all("second");
  sh(root(), "git switch -q main");
  const auto refused = git({{"command", "switch"}, {"rev", "other"}});
  EXPECT_FALSE(refused.ok);
  EXPECT_THAT(refused.text, HasSubstr("sparse checkout"));
  EXPECT_THAT(refused.text, HasSubstr("git switch other"));
  EXPECT_EQ(gits_status(), "## main\n");
}

// libgit2 1.5 reads neither.
TEST_F(GitSparse, OfAnIndexThatOnlyGitReadsIsSaidWhatToDo) {
  sh(root(), "git sparse-checkout set --sparse-index in");
  for (const char* command : {"status", "diff", "add", "commit"}) {
    const auto out = git({{"command", command}, {"message", "second"}});
    EXPECT_FALSE(out.ok) << command;
    EXPECT_THAT(out.text, HasSubstr("`git sparse-checkout reapply --no-sparse-index`")) << command;
  }
  EXPECT_TRUE(git({{"command", "log"}}).ok);
  sh(root(), "git sparse-checkout reapply --no-sparse-index");
  EXPECT_EQ(git({{"command", "status"}}).text, "## main\nnothing to commit, working tree clean\n");
  sh(root(), "git update-index --split-index");
  EXPECT_THAT(git({{"command", "status"}}).text, HasSubstr("`git update-index --no-split-index`"));
  sh(root(), "git update-index --no-split-index");
  EXPECT_EQ(git({{"command", "status"}}).text, "## main\nnothing to commit, working tree clean\n");
}

}  // namespace
}  // namespace lares::tools
