// The git tool's branches: listed, made, and gone to where nothing is lost.
#include <malloc.h>

#include <gmock/gmock.h>

#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

using test::Git;
using test::sh;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(Git, BranchesAreListedWithTheirUpstreams) {
  EXPECT_EQ(git({{"command", "branch"}}).text, "* main (no commits yet)\n");
  repo_.write("a", "a\n");
  commit_all("first");
  sh(root(),
     "git branch topic && git branch -q --set-upstream-to=topic && git update-ref "
     "refs/remotes/origin/far HEAD "
     "&& git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/far");
  repo_.write("a", "b\n");
  commit_all("second");
  const auto head = sh(root(), "git rev-parse --short HEAD | tr -d '\\n'"),
             base = sh(root(), "git rev-parse --short HEAD~1 | tr -d '\\n'");
  EXPECT_EQ(git({{"command", "branch"}}).text,
            "* main " + head + " [topic: ahead 1] second\n  topic " + base +
                " first\n  remotes/origin/far " + base + " first\n");
  sh(root(), "git checkout -q --detach");
  EXPECT_THAT(git({{"command", "branch"}}).text, StartsWith("* (no branch)\n  main " + head));
}

// As the remote's fetch says, which need not be what clone writes; and where the ref is gone.
TEST_F(Git, UpstreamsOfRemotesAreFound) {
  repo_.write("a", "a\n");
  commit_all("first");
  sh(root(),
     "git remote add fork https://example.org/x && git config --replace-all remote.fork.fetch "
     "'^refs/heads/no' && git config --add remote.fork.fetch '+refs/heads/*:refs/remotes/mine/*' "
     "&& "
     "git update-ref refs/remotes/mine/main HEAD && git branch -q dev.x && git config "
     "branch.main.remote fork && git config branch.main.merge refs/heads/main && git config "
     "branch.dev.x.remote fork && git config branch.dev.x.merge refs/heads/lost");
  repo_.write("a", "b\n");
  commit_all("second");
  EXPECT_EQ(git({{"command", "status"}}).text,
            "## main...mine/main [ahead 1]\nnothing to commit, "
            "working tree clean\n");
  const std::string text = git({{"command", "branch"}}).text;
  EXPECT_THAT(text, HasSubstr("[mine/main: ahead 1] second\n"));
  EXPECT_THAT(text, HasSubstr("[mine/lost: gone] first\n"));
}

// A daemon lives for weeks.
TEST_F(Git, StatusAndBranchesKeepNoMemory) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "LeakSanitizer sees it";
#endif
  repo_.write("a", "a\n");
  commit_all("first");
  sh(root(),
     "git remote add origin https://example.org/x && git update-ref refs/remotes/origin/main HEAD "
     "&& git branch -q --set-upstream-to=origin/main");
  const auto look = [&](int n) {
    for (int i = 0; i < n; ++i)
      for (const char* command : {"status", "branch", "log", "diff"}) git({{"command", command}});
    return ::mallinfo2().uordblks;
  };
  const std::size_t before = look(3), after = look(20);
  EXPECT_LT(after, before + (1 << 20));
}

TEST_F(Git, BranchMakesAndNeverOverwrites) {
  EXPECT_THAT(git({{"command", "branch"}, {"rev", "x"}}).text, HasSubstr("no commits yet"));
  repo_.write("a", "a\n");
  commit_all("first");
  EXPECT_TRUE(git({{"command", "branch"}, {"rev", "fix/one"}}).ok);
  EXPECT_EQ(sh(root(), "git rev-parse fix/one"), sh(root(), "git rev-parse HEAD"));
  EXPECT_THAT(sh(root(), "git branch --show-current"), "main\n");
  EXPECT_EQ(git({{"command", "branch"}, {"rev", "fix/one"}}).text,
            "branch: fix/one is there already; switch goes to it");
  for (const char* bad : {"-D", "a..b", "a b", "x.lock"})
    EXPECT_FALSE(git({{"command", "branch"}, {"rev", bad}}).ok) << bad;
}

TEST_F(Git, SwitchGoesToOldAndNewBranchesAndKeepsChanges) {
  repo_.write("a", "a\n");
  repo_.write("b", "b\n");
  commit_all("first");
  sh(root(),
     "git checkout -q -b topic && echo A > a && git rm -q b && mkdir d && echo n > d/new && git "
     "add -A && git commit -q -m second && git checkout -q main");
  repo_.write("untracked", "u\n");
  const auto there = git({{"command", "switch"}, {"rev", "topic"}});
  EXPECT_TRUE(there.ok) << there.text;
  EXPECT_EQ(there.text, "switched to topic: 3 files changed\n## topic\n?? untracked\n");
  EXPECT_EQ(sh(root(), "git status --porcelain"), "?? untracked\n");
  EXPECT_EQ(repo_.read("a"), "A\n");
  EXPECT_FALSE(std::filesystem::exists(root() / "b"));
  EXPECT_EQ(git({{"command", "switch"}, {"rev", "topic"}}).text, "switch: already on topic");
  repo_.write("a", "mine\n");
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "next"}}).text,
              StartsWith("switched to next, made here: 0 files changed\n## next\n M a\n"));
  EXPECT_EQ(repo_.read("a"), "mine\n");
}

// Of the name of something else; git asks for --detach or -c then.
TEST_F(Git, NoBranchIsMadeOfTheNameOfARevision) {
  repo_.write("a", "a\n");
  commit_all("first");
  sh(root(), "git tag v1 && git branch topic && git update-ref refs/remotes/origin/feature HEAD");
  std::string id = sh(root(), "git rev-parse HEAD");
  id.pop_back();
  const std::string branches = sh(root(), "git branch -a");
  for (const char* command : {"switch", "branch"}) {
    for (const std::string& name :
         {std::string("v1"), id, id.substr(0, 7), std::string("@"), std::string("origin/feature"),
          std::string("refs/heads/topic"), std::string("tags/v1")}) {
      const auto refused = git({{"command", command}, {"rev", name}});
      EXPECT_FALSE(refused.ok) << command << " " << name;
      EXPECT_THAT(refused.text, StartsWith(std::string(command) + ": ")) << name;
    }
  }
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "v1"}}).text,
              StartsWith("switch: v1 is no branch but the tag refs/tags/v1; to begin a branch"));
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "refs/heads/topic"}}).text,
              testing::EndsWith("; give topic"));
  EXPECT_EQ(sh(root(), "git branch -a"), branches);
}

TEST_F(Git, SwitchOverwritesNothing) {
  repo_.write("a", "a\n");
  repo_.write(".gitignore", "*.log\n");
  commit_all("first");
  sh(root(),
     "git checkout -q -b topic && echo A > a && echo n > new && echo l > x.log && git add -A -f && "
     "git commit -q -m second && git checkout -q main");
  repo_.write("a", "mine\n");
  repo_.write("new", "mine\n");
  repo_.write("x.log", "mine\n");
  const auto refused = git({{"command", "switch"}, {"rev", "topic"}});
  EXPECT_FALSE(refused.ok);
  EXPECT_THAT(refused.text,
              HasSubstr("changes to a, new, x.log would be overwritten, nothing was done"));
  for (const char* file : {"a", "new", "x.log"}) EXPECT_EQ(repo_.read(file), "mine\n");
  EXPECT_EQ(sh(root(), "git branch --show-current"), "main\n");
}

TEST_F(Git, SwitchStopsWhereItWouldDoHalf) {
  repo_.write("sub/a", "a\n");
  repo_.write("b", "b\n");
  commit_all("first");
  sh(root(),
     "git checkout -q -b topic && echo B > b && git commit -q -a -m second && git checkout -q main "
     "&& git worktree add -q ../" +
         root().filename().string() + "-w -b elsewhere");
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "elsewhere"}}).text,
              HasSubstr("checked out in another worktree"));
  sh(root(), "git worktree remove --force ../" + root().filename().string() + "-w");
  EXPECT_THAT(git({{"command", "switch"}}).text, StartsWith("switch: `rev` is missing"));
  work_in((root() / "sub").string());
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "topic"}}).text,
              StartsWith("switch: it would change b, outside the directory"));
  work_in(root().string());
  sh(root(), "git config filter.lfs.smudge cat");
  repo_.write(".git/info/attributes", "b filter=lfs\n");
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "topic"}}).text,
              StartsWith("switch: b is written through a filter"));
  std::filesystem::remove(root() / ".git/info/attributes");
  sh(root(), "git rev-parse HEAD > .git/MERGE_HEAD");
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "topic"}}).text, HasSubstr("under way"));
}

TEST_F(Git, SwitchFollowsARemoteBranchOfThatName) {
  repo_.write("a", "a\n");
  commit_all("first");
  sh(root(),
     "git remote add origin /nowhere && git commit -q --allow-empty -m far && git update-ref "
     "refs/remotes/origin/far HEAD && git reset -q --hard HEAD~1");
  EXPECT_THAT(
      git({{"command", "switch"}, {"rev", "far"}}).text,
      StartsWith("switched to far, made from origin/far: 0 files changed\n## far...origin/far\n"));
}

}  // namespace
}  // namespace lares::tools
