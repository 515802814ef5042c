// Partial clones (`git clone --filter=blob:none`), whose remote is not there: what git would fetch
// is missing, and nothing else is told or done wrongly for it.
#include <gmock/gmock.h>

#include "tests/tools/git/git_case.h"
#include "tools/git/worktree.h"

namespace lares::tools {
namespace {

using test::GitInParts;
using test::json;
using test::sh;
using testing::HasSubstr;

class GitPartial : public GitInParts {
 protected:
  // A clone with the files below in/ and at the top, in which nothing else was ever fetched.
  void SetUp() override {
    GitInParts::SetUp();
    sh(root(), "git switch -q -c other && mkdir more && echo 1 > in/new && echo 2 > more/c");
    commit_all("more files");
    sh(root(), "git switch -q main && git config uploadpack.allowFilter true");
    sh(clones_.root(), "git clone -q --filter=blob:none --sparse file://" + root().string() + " c");
    sh(clone(),
       "git config user.name n && git config user.email n@example.invalid && git "
       "sparse-checkout set in && git branch -q --track other origin/other && git remote "
       "set-url origin file:///nothing/there");
    work_in(clone());
  }
  std::string clone() const { return clones_.at("c"); }
  std::string gits_status() const { return GitInParts::gits_status(clone()); }

  test::Scratch clones_;
};

TEST_F(GitPartial, StatusDiffAndCommitDoWithoutWhatIsKeptOut) {
  EXPECT_THAT(git({{"command", "status"}}).text, HasSubstr("nothing to commit"));
  clones_.write("c/in/a", "changed\n");
  clones_.write("c/in/new", "new\n");
  EXPECT_EQ(git({{"command", "status"}}).text, gits_status());
  EXPECT_EQ(git({{"command", "diff"}}).text, sh(clone(), "git diff HEAD"));
  ASSERT_TRUE(git({{"command", "add"}, {"path", "in"}}).ok);
  const auto made = git({{"command", "commit"}, {"message", "second"}});
  ASSERT_TRUE(made.ok) << made.text;
  EXPECT_EQ(sh(clone(), "git ls-tree -r --name-only HEAD"),
            "in/a\nin/new\nout/b\nout/deep/c\ntop\n");
  EXPECT_EQ(sh(clone(), "git ls-files -t"), "H in/a\nH in/new\nS out/b\nS out/deep/c\nH top\n");
}

TEST_F(GitPartial, AFileWrittenOverOneThatWasNotFetchedIsToldAndCommitted) {
  clones_.write("c/out/b", "written here\n");
  EXPECT_THAT(git({{"command", "status"}}).text, HasSubstr(" M out/b\n"));
  EXPECT_THAT(git({{"command", "diff"}}).text,
              HasSubstr("is not here, for this is a partial clone"));
  const auto made = git({{"command", "commit"}, {"message", "second"}});
  ASSERT_TRUE(made.ok) << made.text;
  EXPECT_EQ(sh(clone(), "git show HEAD:out/b"), "written here\n");
}

TEST_F(GitPartial, ASwitchThatNeedsWhatWasNotFetchedDoesNothing) {
  sh(clone(),
     "git sparse-checkout set --no-cone '/*' '!/out' 2>&1; git config --unset "
     "core.sparseCheckout || git config --worktree --unset core.sparseCheckout");
  const auto before = sh(clone(), "git status --porcelain && cat .git/HEAD && find in");
  const auto refused = git({{"command", "switch"}, {"rev", "other"}});
  EXPECT_FALSE(refused.ok);
  EXPECT_THAT(refused.text, HasSubstr("nothing was done"));
  EXPECT_EQ(sh(clone(), "git status --porcelain && cat .git/HEAD && find in"), before);
}

TEST_F(GitPartial, WhatIsMissingIsNamedWhereItIsNeeded) {
  for (const auto& args : {json{{"command", "show"}, {"rev", "HEAD:out/b"}},
                           json{{"command", "show"}, {"rev", "other"}},
                           json{{"command", "diff"}, {"rev", "main..other"}}}) {
    const auto out = git(args);
    EXPECT_FALSE(out.ok) << out.text;
    EXPECT_THAT(out.text, HasSubstr("partial clone"));
  }
  EXPECT_TRUE(git({{"command", "log"}}).ok);
  EXPECT_TRUE(git({{"command", "branch"}}).ok);
}

}  // namespace
}  // namespace lares::tools
