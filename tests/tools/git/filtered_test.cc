// Files that git stores through a program: Git LFS, whose pointers tell what they stand for, and
// others. The programs here are made of what every machine has.
#include <gmock/gmock.h>

#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

using test::Git;
using test::sh;
using testing::HasSubstr;
using testing::Not;

class GitFiltered : public Git {
 protected:
  // As git-lfs does it: the pointer is stored, and the content lies beside.
  void SetUp() override {
    Git::SetUp();
    home_.write(
        "clean",
        "#!/bin/sh\nset -e\nt=$(mktemp)\ncat > $t\nif head -c 8 $t | grep -qa version; then cat "
        "$t; exit; fi\ns=$(sha256sum < $t | cut -c1-64)\n"
        "printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:%s\\nsize %s\\n' $s "
        "$(wc -c < $t)\nmv $t " +
            home_.at("$s") + "\n");
    home_.write("smudge",
                "#!/bin/sh\ns=$(grep -o 'sha256:.*' | cut -c8-)\ncat " + home_.at("$s") + "\n");
    sh(root(), "chmod +x " + home_.at("clean") + " " + home_.at("smudge") +
                   " && git config "
                   "filter.lfs.clean " +
                   home_.at("clean") + " && git config filter.lfs.smudge " + home_.at("smudge") +
                   " && git config filter.rot.clean 'tr a-z n-za-m' && git config "
                   "filter.rot.smudge 'tr a-z n-za-m'");
    repo_.write(".gitattributes", "*.bin filter=lfs -text\n*.rot filter=rot\n");
    repo_.write("a.bin", std::string("large\0content\n", 14));
    repo_.write("b.rot", "secret\n");
    repo_.write("c", "c\n");
    commit_all("first");
    ASSERT_THAT(sh(root(), "git cat-file -p HEAD:a.bin"), HasSubstr("oid sha256:"));
  }
};

TEST_F(GitFiltered, WhatIsOnlyTouchedIsUnchanged) {
  sh(root(), "touch -d '2026-01-01' a.bin");
  EXPECT_EQ(git({{"command", "status"}}).text, "## main\nnothing to commit, working tree clean\n");
  EXPECT_EQ(git({{"command", "diff"}}).text, "no changes in tracked files since HEAD\n");
  repo_.write("c", "changed\n");
  const auto made = git({{"command", "commit"}, {"message", "second"}});
  ASSERT_TRUE(made.ok) << made.text;
  EXPECT_EQ(sh(root(), "git show --stat --format= HEAD"),
            " c | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n");
  EXPECT_EQ(sh(root(), "git status --porcelain"), "");
}

TEST_F(GitFiltered, WhatIsChangedIsToldWithoutLines) {
  repo_.write("a.bin", std::string("other\0 content\n", 15));
  EXPECT_EQ(git({{"command", "status"}}).text, "## main\n M a.bin\n");
  const auto diff = git({{"command", "diff"}}).text;
  EXPECT_THAT(diff, HasSubstr("diff --git a/a.bin b/a.bin"));
  EXPECT_THAT(diff, HasSubstr("[lines not shown"));
  EXPECT_THAT(diff, Not(HasSubstr("sha256:")));
  const auto refused = git({{"command", "commit"}, {"message", "second"}});
  EXPECT_FALSE(refused.ok);
  EXPECT_THAT(refused.text, HasSubstr("the filter `lfs`"));
}

TEST_F(GitFiltered, WhatOnlyItsProgramKnowsIsSaidToBeUnsure) {
  sh(root(), "touch -d '2026-01-01' b.rot");
  const auto status = git({{"command", "status"}}).text;
  EXPECT_THAT(status, HasSubstr(" M b.rot\n"));
  EXPECT_THAT(status, HasSubstr("[may be unchanged, "));
  const auto diff = git({{"command", "diff"}}).text;
  EXPECT_THAT(diff, HasSubstr("[lines not shown"));
  EXPECT_THAT(diff, Not(HasSubstr("+secret")));
}

// A file that goes goes through no program.
TEST_F(GitFiltered, ARemovedOneIsCommitted) {
  sh(root(), "rm a.bin");
  EXPECT_EQ(git({{"command", "status"}}).text, "## main\n D a.bin\n");
  const auto made = git({{"command", "commit"}, {"message", "second"}});
  ASSERT_TRUE(made.ok) << made.text;
  EXPECT_EQ(sh(root(), "git ls-tree --name-only HEAD"), ".gitattributes\nb.rot\nc\n");
}

}  // namespace
}  // namespace lares::tools
