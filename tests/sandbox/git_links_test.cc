// What leads from a git directory that a command has made to another repository's files.
#include "sandbox/git_links.h"

#include "tests/sandbox/control_tree.h"

namespace lares::sandbox::test {
namespace {

namespace fs = std::filesystem;

std::vector<LeftCase> link_cases() {
  const std::string out = ": a git directory's link out of the worktree",
                    borrows = ": another repository's objects, out of the worktree";
  return {
      {"LinksToAnothersRefsAndObjects",
       git_dir(".git") +
           "cd .git; rm -r refs objects HEAD; for f in refs objects HEAD packed-refs; do ln -s "
           "/var/tmp/evil/$f $f; done",
       {".git/HEAD" + out, ".git/objects" + out, ".git/packed-refs" + out, ".git/refs" + out},
       ""},
      {"LinksAddedLaterByDots",
       "cd sub/.git; mkdir logs; rm -r objects; ln -s ../../../evil objects; ln -s "
       "../../../../x logs/refs",
       {"sub/.git/logs" + out, "sub/.git/objects" + out},
       git_dir("sub/.git")},
      {"LinksDeepInRefsAndObjects",
       git_dir(".git") +
           "cd .git; mkdir refs/heads objects/info; ln -s /var/tmp/evil refs/heads/x; ln -s "
           "/var/tmp/evil objects/pack; ln -s /var/tmp/evil objects/ab; ln -s /var/tmp/evil "
           "objects/info/commit-graph",
       {".git/objects/ab" + out, ".git/objects/info/commit-graph" + out, ".git/objects/pack" + out,
        ".git/refs" + out},
       ""},
      {"ALinkByALinkOfTheWorktree",
       git_dir(".git") + "rm -r .git/objects; ln -s /var/tmp/evil o; ln -s ../o .git/objects",
       {".git/objects" + out},
       ""},
      {"LinksToDirectoriesBesideThatLeadElsewhere",
       git_dir(".git") +
           "mkdir o r i; ln -s /var/tmp/evil o/pack; ln -s /var/tmp/evil r/heads; ln -s "
           "/var/tmp/evil i/exclude; cd .git; rm -r objects refs; ln -s ../o objects; ln -s ../r "
           "refs; ln -s ../i info",
       {".git/info" + out, ".git/objects" + out, ".git/refs" + out},
       ""},
      {"LinksToDirectoriesBesideOneAfterTheOther",
       git_dir(".git") +
           "mkdir -p a b/deep c .git/logs .git/objects/info; ln -s /var/tmp/evil c/x; ln -s "
           "../../c b/deep/on; ln -s ../b a/on; ln -s . a/back; ln -s ../../a .git/refs/heads; ln "
           "-s ../../a .git/logs/refs; ln -s ../../c .git/objects/pack",
       {".git/logs" + out, ".git/objects/pack" + out, ".git/refs" + out},
       ""},
      {"AStoreByALinkThatBorrowsElsewhere",
       git_dir(".git") + "mkdir -p o/info; echo /var/tmp/evil > o/info/alternates; rm -r "
                         ".git/objects; ln -s ../o .git/objects",
       {".git/objects" + borrows},
       ""},
      {"ASubmodulesHookByALink",
       git_dir(".git") + "mkdir .git/modules; " + git_dir("node_modules/x/m") +
           hook("node_modules/x/m/hooks/pre-push") + "ln -s ../../node_modules/x .git/modules/x",
       {"node_modules/x/m/hooks/pre-push: a git hook"},
       ""},
      {"LinksOfWhatGitIsAboutTo",
       git_dir(".git") + "mkdir .git/rebase-merge; ln -s /var/tmp/evil .git/rebase-merge/done",
       {".git/rebase-merge" + out},
       ""},
      {"LinksOfALinkedWorktree",
       git_dir(".git") + "mkdir -p .git/worktrees/x; ln -s /var/tmp/evil .git/worktrees/x/HEAD",
       {".git/worktrees" + out},
       ""},
      {"AlternatesElsewhere",
       git_dir(".git") + "mkdir .git/objects/info; printf '../../o\n/var/tmp/evil\n' > "
                         ".git/objects/info/alternates",
       {".git/objects/info/alternates" + borrows},
       ""},
      {"AlternatesElsewhereByAStoreOfTheWorktree",
       git_dir(".git") +
           "mkdir -p .git/objects/info o/info; echo $PWD/o > .git/objects/info/alternates; echo "
           "../../evil > o/info/alternates; ln -s /var/tmp/evil o/pack",
       {"o/info/alternates" + borrows, "o/pack" + out},
       ""},
      {"AlternatesByTheWorkingDirectoryOfWhoeverOpensThem",
       git_dir(".git") +
           "mkdir .git/objects/info; echo var/tmp/evil > .git/objects/info/alternates",
       {".git/objects/info/alternates" + borrows},
       ""},
      {"AlternatesThatNobodyWrites",
       git_dir(".git") + "mkdir .git/objects/info; mkfifo .git/objects/info/alternates",
       {".git/objects/info/alternates: object stores to borrow from that cannot be read as a file"},
       ""},
      {"ASubmodulesHookThatNoGitFileNamesYet",
       git_dir(".git") + git_dir(".git/modules/a/b") + hook(".git/modules/a/b/hooks/post-checkout"),
       {".git/modules/a/b/hooks/post-checkout: a git hook"},
       ""},
  };
}

class GitLinksLeft : public testing::TestWithParam<LeftCase> {};

TEST_P(GitLinksLeft, IsMovedAside) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  expect_moved_aside(GetParam());
}
INSTANTIATE_TEST_SUITE_P(, GitLinksLeft, testing::ValuesIn(link_cases()),
                         [](const auto& tested) { return std::string(tested.param.name); });

// Nor have refs written there by whoever opens another repository as the user.
TEST(GitLinks, OfAGitDirectoryDoNotLeadIntoTheUsersOwn) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  ASSERT_EQ(
      ::system(("cd " + tree.scratch.wt.native() + "; mkdir sub; " + git_dir("sub/.git")).c_str()),
      0);
  EXPECT_EQ(tree.after(git_dir(".git") + "rm -r .git/refs; ln -s ../sub/.git/refs .git/refs"),
            (std::vector<std::string>{
                ".git/refs: a git directory's link to what commands cannot change"}));
}

// As git-new-workdir makes them, and `git clone --shared`.
TEST(GitLinks, WithinTheWorktreeAndTheUsersOwnStay) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  ASSERT_EQ(::system(("cd " + tree.scratch.wt.native() + "; " + git_dir("theirs/.git") +
                      "rm -r theirs/.git/refs; ln -s /var/tmp/refs theirs/.git/refs; mkdir "
                      "theirs/.git/objects/info; echo /var/tmp/o > "
                      "theirs/.git/objects/info/alternates")
                         .c_str()),
            0);
  EXPECT_EQ(tree.after(git_dir("sub/.git") + git_dir(".git") +
                       "cd .git; rm -r refs HEAD; ln -s ../sub/.git/refs refs; ln -s "
                       "refs/heads/main HEAD; mkdir objects/info; echo ../../sub/.git/objects > "
                       "objects/info/alternates"),
            std::vector<std::string>())
      << tree.output;
  EXPECT_TRUE(fs::is_symlink(tree.scratch.wt / "theirs/.git/refs"));
}

}  // namespace
}  // namespace lares::sandbox::test
