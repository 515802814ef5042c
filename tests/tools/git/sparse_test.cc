// Sparse checkouts, and files kept out of the worktree one by one: what git says of them.
#include <gmock/gmock.h>

#include "tests/tools/git/git_case.h"
#include "tools/git/worktree.h"
#include "tests/tools/workspace/plain_repository.h"

namespace lares::tools {
namespace {

using test::GitInParts;
using test::json;
using test::sh;
using testing::HasSubstr;

class GitSparse : public GitInParts {
 protected:
  void SetUp() override {
    GitInParts::SetUp();
    sh(root(), "git sparse-checkout set in");
  }
  std::string gits_status() const { return GitInParts::gits_status(root()); }
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
  const auto files = test::list_files({.root = root().string()});
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
  EXPECT_THAT(refused.text, HasSubstr("ask the user to run: git switch other"));
  BuiltinOptions options;
  options.root = root().string();
  options.no_sandbox = true;  // then commands can write to .git
  tool_ = make_git_tool({}, options);
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "other"}}).text,
              HasSubstr("run in bash: git switch other"));
  EXPECT_EQ(gits_status(), "## main\n");
}

// libgit2 1.5 reads none of these.
TEST_F(GitSparse, AnIndexThatOnlyGitWritesIsReadAndWritten) {
  sh(root(), "git sparse-checkout set --sparse-index in");
  const auto as_git_says = [&] {
    sh(root(), "git checkout -q -f && git clean -qfd");
    EXPECT_EQ(git({{"command", "status"}}).text,
              "## main\nnothing to commit, working tree clean\n");
    EXPECT_EQ(git({{"command", "diff"}}).text, "no changes in tracked files since HEAD\n");
    EXPECT_FALSE(look_at_worktree(root())->uncommitted);
    repo_.write("in/a", "changed\n");
    repo_.write("in/new", "new\n");
    repo_.write("out/deep/c", "written here\n");
    sh(root(), "rm top && git add in/a");
    repo_.write("in/a", "changed again\n");
    EXPECT_EQ(git({{"command", "status"}}).text, gits_status());
    EXPECT_EQ(git({{"command", "diff"}}).text, sh(root(), "git diff HEAD"));
    EXPECT_TRUE(look_at_worktree(root())->uncommitted);
    EXPECT_TRUE(git({{"command", "log"}}).ok);
    repo_.write(".git/index.lock", "");
    const std::string before = repo_.read(".git/index");
    for (const char* command : {"add", "commit"})
      EXPECT_THAT(git({{"command", command}, {"message", "second"}}).text,
                  HasSubstr("another git process holds the index"))
          << command;
    EXPECT_EQ(repo_.read(".git/index"), before);
    sh(root(), "rm .git/index.lock");
    ASSERT_TRUE(git({{"command", "add"}, {"path", "in"}}).ok);
    EXPECT_EQ(gits_status(), "## main\nM  in/a\nA  in/new\n M out/deep/c\n D top\n");
    ASSERT_TRUE(git({{"command", "commit"}, {"message", "second"}}).ok);
    EXPECT_EQ(gits_status(), "## main\n");
    EXPECT_EQ(sh(root(), "git ls-tree -r --name-only HEAD && git show HEAD:out/deep/c HEAD:in/a"),
              "in/a\nin/new\nout/b\nout/deep/c\nwritten here\nchanged again\n");
    EXPECT_EQ(sh(root(), "git ls-files -t"), "H in/a\nH in/new\nS out/b\nH out/deep/c\n");
    sh(root(), "git fsck --strict && ! ls .git/*.lock .git/*.tmp && git reset -q --hard HEAD~1");
  };
  as_git_says();
  sh(root(), "git sparse-checkout reapply --no-sparse-index && git update-index --split-index");
  as_git_says();
}

TEST_F(GitSparse, WithASplitIndexASwitchIsGits) {
  sh(root(), "git sparse-checkout disable && git switch -q -c other");
  repo_.write("in/a", "other\n");
  repo_.write("in/new", "new\n");
  sh(root(), "git rm -q top");
  commit_all("second");
  sh(root(), "git switch -q main && git update-index --split-index");
  repo_.write("in/a", "mine\n");
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "other"}}).text,
              HasSubstr("changes to in/a would be overwritten, nothing was done"));
  sh(root(), "git checkout -q in/a && git update-index --split-index");
  repo_.write("out/b", "mine\n");
  const auto switched = git({{"command", "switch"}, {"rev", "other"}});
  EXPECT_TRUE(switched.ok) << switched.text;
  EXPECT_EQ(gits_status(), "## other\n M out/b\n");
  EXPECT_EQ(sh(root(), "git ls-files && git diff HEAD --stat | tail -1 && ls in"),
            "in/a\nin/new\nout/b\nout/deep/c\n 1 file changed, 1 insertion(+), 1 "
            "deletion(-)\na\nnew\n");
}

// libgit2 1.5 does not read it.
TEST_F(GitSparse, TheConfigurationOfOneWorktreeCounts) {
  sh(root(),
     "git sparse-checkout disable && git config extensions.worktreeConfig true && git config "
     "--worktree user.name 'Of This Worktree' && git config --worktree core.autocrlf true");
  repo_.write("in/a", "a\r\nb\r\n");
  EXPECT_EQ(git({{"command", "diff"}}).text, sh(root(), "git diff HEAD 2>/dev/null"));
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "second"}}).ok);
  EXPECT_EQ(sh(root(), "git log -1 --format=%an && git cat-file -p HEAD:in/a"),
            "Of This Worktree\na\nb\n");
  test::Scratch other;
  sh(root(), "git commit -q --allow-empty -m third");
  ASSERT_TRUE(add_worktree(
      {.repository = root().string(), .path = other.at("w"), .name = "w", .branch = "w"}));
  EXPECT_EQ(sh(other.at("w"), "git config user.name && git status --porcelain"),
            "Of This Worktree\n");
  EXPECT_EQ(other.read("w/in/a"), "a\r\nb\r\n");
  // What is said of a branch is said to all worktrees.
  sh(root(), "git remote add there . && git update-ref refs/remotes/there/new HEAD");
  ASSERT_TRUE(git({{"command", "switch"}, {"rev", "new"}}).ok);
  EXPECT_EQ(sh(root(),
               "git config --local branch.new.merge && ! git config --worktree "
               "--get-regexp branch"),
            "refs/heads/new\n");
}

// As git writes it since 2.40 where feature.manyFiles is set.
TEST_F(GitSparse, AnIndexWithoutAChecksumIsLikeOthers) {
  sh(root(), "git sparse-checkout disable");
  std::string index = repo_.read(".git/index");
  index.replace(index.size() - GIT_OID_RAWSZ, GIT_OID_RAWSZ, GIT_OID_RAWSZ, '\0');
  repo_.write(".git/index", index);
  EXPECT_EQ(git({{"command", "status"}}).text,
            gits_status() + "nothing to commit, working tree clean\n");
  repo_.write("top", "changed\n");
  EXPECT_EQ(git({{"command", "diff"}}).text, sh(root(), "git diff HEAD"));
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "second"}}).ok);
  EXPECT_EQ(gits_status(), "## main\n");
}

}  // namespace
}  // namespace lares::tools
