// Whose what appears is: a command's, of this look or an earlier one, or the user's. Within bounds,
// and where somebody else is at work.
#include "sandbox/control_paths.h"

#include <thread>

#include "tests/sandbox/control_tree.h"

namespace lares::sandbox::test {
namespace {

namespace fs = std::filesystem;

TEST(LeftBehindBy, ABackgroundJobIsSeenAtTheNextLook) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  EXPECT_EQ(tree.after(git_dir("sub/.git"), false), std::vector<std::string>());
  // As the job does while no command runs.
  ASSERT_EQ(
      ::system(
          ("cd " + tree.scratch.wt.native() + "; " + hook("sub/.git/hooks/pre-commit")).c_str()),
      0);
  EXPECT_EQ(tree.after("true"), std::vector<std::string>{"sub/.git/hooks/pre-commit: a git hook"});
}

TEST(LeftBehindBy, AShellThatWasKilledIsSeenByTheNext) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  {
    ControlPaths::Inside inside(ControlPaths::of(scratch.wt));
    inside.begin();
    ASSERT_TRUE(shell(git_dir("sub/.git") + hook("sub/.git/hooks/pre-commit"), in(scratch)).ok());
  }
  ControlPaths::Inside next(ControlPaths::of(scratch.wt));
  next.begin();
  const auto moved = next.end(true);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(
      told_of(moved),
      "[moved aside, because it could run programs outside the sandbox: sub/.git/hooks/pre-commit "
      "(a git hook) is now "
      "sub/.git/hooks/pre-commit.lares-quarantined. If it is wanted, the user can move it back.]");
}

// ... and what was the user's all the time stays, though the next one looks at what the last one
// may have left.
TEST(LeftBehindBy, AShellThatWasKilledCostsTheUserNothing) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  ASSERT_EQ(::system(("cd " + scratch.wt.native() + "; mkdir -p .git/hooks; " +
                      hook(".git/hooks/pre-commit") + "echo x > .envrc")
                         .c_str()),
            0);
  {
    ControlPaths::Inside inside(ControlPaths::of(scratch.wt));
    inside.begin();
  }
  ControlPaths::Inside next(ControlPaths::of(scratch.wt));
  next.begin();
  EXPECT_EQ(told_of(next.end(true)), "");
  EXPECT_TRUE(fs::exists(scratch.wt / ".git/hooks/pre-commit"));
}

// What a link leads to is as read-only by way of the link.
TEST(LeftBehindBy, AGitFileCannotHaveTheUsersHooksMoved) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  ASSERT_EQ(::system(("cd " + tree.scratch.wt.native() + "; " + git_dir(".git") +
                      git_dir(".git/modules/sub") + hook(".git/modules/sub/hooks/pre-commit"))
                         .c_str()),
            0);
  EXPECT_EQ(tree.after("mkdir x; echo 'gitdir: ../.git/modules/sub' > x/.git"),
            std::vector<std::string>());
  EXPECT_TRUE(fs::exists(tree.scratch.wt / ".git/modules/sub/hooks/pre-commit"));
}

TEST(LeftBehindBy, AnotherSessionInTheSameWorktreeIsNotTakenForTheUser) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  ControlPaths::Inside one(ControlPaths::of(scratch.wt));
  one.begin();
  ASSERT_TRUE(shell(git_dir("sub/.git") + hook("sub/.git/hooks/pre-commit"), in(scratch)).ok());
  ControlPaths::Inside other(ControlPaths::of(scratch.wt));
  other.begin();
  EXPECT_EQ(other.end(true).size() + one.end(true).size(), 1u);
  EXPECT_FALSE(fs::exists(scratch.wt / "sub/.git/hooks/pre-commit"));
}

TEST(LeftBehindBy, AHookOfTheSameNameTakesAnotherName) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  EXPECT_EQ(tree.after(git_dir(".git") + hook(".git/hooks/pre-commit")).size(), 1u);
  ControlPaths::Inside inside(tree.paths);
  inside.begin();
  ASSERT_TRUE(shell(hook(".git/hooks/pre-commit"),
                    [&] {
                      auto o = in(tree.scratch);
                      o.backend = Backend::none;
                      return o;
                    }())
                  .ok());
  const auto moved = inside.end(true);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved[0].to, ".git/hooks/pre-commit.lares-quarantined.2");
}

TEST(ControlPaths, WhatTheUserMakesStays) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  const auto user = [&](const std::string& script) {
    ASSERT_EQ(::system(("cd " + tree.scratch.wt.native() + "; " + script).c_str()), 0);
  };
  user(git_dir("old/.git") + hook("old/.git/hooks/pre-commit") +
       "mkdir .vscode; echo '{}' > .vscode/tasks.json; " + git_dir("bare") +
       hook("bare/hooks/update"));
  EXPECT_EQ(tree.after("true"), std::vector<std::string>());
  // Between two commands, in what the agent has made.
  EXPECT_EQ(tree.after(git_dir("new/.git")), std::vector<std::string>());
  user(hook("new/.git/hooks/pre-commit") + "echo x > .envrc");
  EXPECT_EQ(tree.after("true"), std::vector<std::string>());
  // While a command runs, where no command can write.
  std::thread at_once([&] {
    user("while ! [ -e runs ]; do sleep 0.01; done; " + hook("old/.git/hooks/pre-push") +
         "echo '{ }' > .vscode/launch.json; touch written");
  });
  EXPECT_EQ(tree.after("touch runs; while ! [ -e written ]; do sleep 0.01; done"),
            std::vector<std::string>());
  at_once.join();
  EXPECT_TRUE(fs::exists(tree.scratch.wt / "old/.git/hooks/pre-push"));
  // What a command changes of the user's is a command's.
  EXPECT_EQ(tree.after("echo evil >> new/.git/hooks/pre-commit; echo evil >> bare/hooks/update"),
            (std::vector<std::string>{"bare/hooks/update: a git hook",
                                      "new/.git/hooks/pre-commit: a git hook"}));
}

// The host's git, in what a command has left.
TEST(ControlPaths, GitRunsNothingOfItAfterwards) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  if (::system("command -v git >/dev/null 2>&1") != 0) GTEST_SKIP() << "git is not installed";
  Tree tree;
  EXPECT_EQ(tree.after("git init -q; echo x > f; " + hook(".git/hooks/pre-commit") +
                       "cp .git/hooks/pre-commit evil; git config core.fsmonitor ./evil")
                .size(),
            2u)
      << tree.output;
  const auto git = "cd " + tree.scratch.wt.native() +
                   " && git -c safe.directory='*' -c user.name=a -c user.email=a@b ";
  EXPECT_EQ(
      ::system((git + "status >/dev/null 2>&1 && git -c safe.directory='*' add f 2>/dev/null; " +
                git + "commit -qm first >/dev/null 2>&1")
                   .c_str()),
      0);
  EXPECT_FALSE(fs::exists(tree.scratch.wt / "ran"));
}

// What is not told of later must be read-only from the beginning.
TEST(ControlPaths, ARepositoryInADirectoryOfToolsIsCovered) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  tree.scratch.write("target/.git/config", "[core]\n");
  EXPECT_EQ(tree.after("echo '[core] fsmonitor = x' >> target/.git/config"),
            std::vector<std::string>());
  EXPECT_NE(tree.output.find("Read-only file system"), std::string::npos) << tree.output;
  EXPECT_EQ(tree.scratch.read("target/.git/config"), "[core]\n");
}

TEST(ControlPaths, StaysWithinItsBounds) {
  const Scratch scratch;
  for (int i = 0; i < 50; ++i) scratch.write(fmt::format("d{}/f", i), "");
  ControlPaths::Inside inside(std::make_shared<ControlPaths>(
      scratch.wt, ControlLimits{.entries_max = 20, .directories_max = 30, .repositories_max = 4}));
  inside.begin();
  for (int i = 0; i < 50; ++i)
    scratch.write(fmt::format("d{}/.git/config", i), "[core]\nfsmonitor = ./evil\n");
  std::size_t n = 0;
  for (int look = 0; look < 20; ++look) n += inside.end(false).size();
  EXPECT_GE(n, 3u);  // and the worktree's own
  EXPECT_LE(n, 4u);
}

// Who makes thousands of directories first could leave a hook in the next.
TEST(ControlPaths, SaysWhenACommandHasGoneBeyondItsBounds) {
  for (const bool repositories : {false, true}) {
    const Scratch scratch;
    ControlPaths::Inside inside(std::make_shared<ControlPaths>(
        scratch.wt, ControlLimits{.directories_max = 40, .repositories_max = 10}));
    inside.begin();
    scratch.write("d/f", "");
    EXPECT_EQ(told_of(inside.end(false)), "");
    for (int i = 0; i < (repositories ? 12 : 50); ++i)
      scratch.write(fmt::format("d{}/{}", i, repositories ? ".git/HEAD" : "f"), "");
    EXPECT_NE(told_of(inside.end(false)).find("there are more than 40 directories or 10 "),
              std::string::npos);
    scratch.write("more/f", "");
    EXPECT_EQ(told_of(inside.end(false)), "");  // once
  }
}

// Nor in one that is deeper than anybody looks.
TEST(ControlPaths, SaysWhenACommandHasGoneDeeperThanItLooks) {
  const Scratch scratch;
  ControlPaths::Inside inside(
      std::make_shared<ControlPaths>(scratch.wt, ControlLimits{.depth_max = 4}));
  inside.begin();
  scratch.write("a/b/c/d/f", "");
  scratch.write("node_modules/b/c/d/e/f/g", "");  // below which nobody looks, however deep
  EXPECT_EQ(told_of(inside.end(false)), "");
  scratch.write("a/b/c/d/e/.git/config", "[core]\nfsmonitor = ./evil\n");
  EXPECT_NE(told_of(inside.end(false)).find("more than 4 directories in each other"),
            std::string::npos);
}

// Who makes thousands of files first could leave a hook behind them, for a look that takes what it
// finds for the user's.
TEST(ControlPaths, WhatIsLeftToTheNextLookIsStillACommands) {
  const Scratch scratch;
  for (const char* dir : {"a", "z"}) fs::create_directories(scratch.wt / dir);
  const auto paths = std::make_shared<ControlPaths>(scratch.wt, ControlLimits{.entries_max = 60});
  ControlPaths::Inside inside(paths);
  inside.begin();
  for (int i = 0; i < 100; ++i) scratch.write(fmt::format("z/f{}", i), "");
  for (const char* dir : {"a", "b"}) {
    scratch.write(fmt::format("{}/.git/HEAD", dir), "ref: refs/heads/main\n");
    scratch.write(fmt::format("{}/.git/config", dir), "[core]\nfsmonitor = ./evil\n");
  }
  std::string told = told_of(inside.end(true));
  EXPECT_NE(told.find("more than 60 new or changed files"), std::string::npos) << told;
  inside.begin();
  told += told_of(inside.end(true));
  for (const char* dir : {"a", "b"})
    EXPECT_NE(told.find(fmt::format("is now {}/.git/config.lares-quarantined", dir)),
              std::string::npos)
        << told;
}

// So could the user's own files be taken for a command's.
TEST(ControlPaths, WhatIsThereAtFirstIsTheUsersHoweverMuch) {
  const Scratch scratch;
  for (int i = 0; i < 20; ++i) {
    scratch.write(fmt::format("d{}/.git/HEAD", i), "ref: refs/heads/main\n");
    scratch.write(fmt::format("d{}/.git/config", i), "[core]\nfsmonitor = ./mine\n");
  }
  ControlPaths::Inside inside(
      std::make_shared<ControlPaths>(scratch.wt, ControlLimits{.entries_max = 10}));
  for (int i = 0; i < 10; ++i) {
    inside.begin();
    EXPECT_EQ(told_of(inside.end(true)), "");
  }
}

}  // namespace
}  // namespace lares::sandbox::test
