#include "tools/shell/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lares::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> texts(const ShellScript& script) {
  std::vector<std::string> out;
  for (const auto& command : script.commands) out.push_back(command.text);
  return out;
}

TEST(ShellCommands, EveryCommandOfAScriptIsSeen) {
  EXPECT_THAT(texts(shell_commands("make -j2 && ./run 'a b' \"c d\" | tee log; echo done &")),
              ElementsAre("make -j2", "./run a b c d", "tee log", "echo done"));
  EXPECT_THAT(texts(shell_commands("for f in *.c; do if test -f $f; then cc $f; fi; done")),
              ElementsAre("test -f $f", "cc $f"));
  EXPECT_THAT(texts(shell_commands("x=$(git log -1) y=`date`\nf() { rm -r t; }\n( cd a && ls )")),
              ElementsAre("git log -1", "date", "rm -r t", "cd a", "ls"));
  EXPECT_THAT(texts(shell_commands("echo <(sort a) \"$(head b)\" > out")),
              ElementsAre("echo <(sort a) $(head b)", "sort a", "head b"));
  EXPECT_THAT(texts(shell_commands("cat <<E\ngit reset --hard\nE\n")), ElementsAre("cat"));
  EXPECT_THAT(texts(shell_commands("# git reset --hard\necho 'git clean -f'")),
              ElementsAre("echo git clean -f"));
  EXPECT_THAT(texts(shell_commands("")), IsEmpty());
}

TEST(ShellCommands, ProgramsThatOnlyRunAnotherAreLeftOut) {
  EXPECT_THAT(texts(shell_commands("sudo -u me env A=1 timeout -k 5 30 nice -n 3 git status")),
              ElementsAre("git status"));
  EXPECT_THAT(texts(shell_commands("A=1 command git diff; xargs -n 1 rm -f; time make")),
              ElementsAre("git diff", "rm -f", "make"));
  EXPECT_THAT(texts(shell_commands("env")), ElementsAre("env"));
  EXPECT_THAT(texts(shell_commands("bash -ec 'cd x; git clean -fd'")),
              ElementsAre("bash -ec cd x; git clean -fd", "cd x", "git clean -fd"));
  EXPECT_THAT(texts(shell_commands("eval git stash clear")),
              ElementsAre("eval git stash clear", "git stash clear"));
}

TEST(ShellCommands, WhatIsKnownOnlyWhenItRunsIsSaid) {
  EXPECT_TRUE(shell_commands("ls -l 'a*'").commands[0].certain);
  for (const char* script : {"ls $x", "ls \"${x}\"", "ls *.c", "ls `a`", "ls a{1,2}"})
    EXPECT_FALSE(shell_commands(script).commands[0].certain) << script;
  EXPECT_TRUE(shell_commands("ls $x").understood);
  for (const char* script :
       {"$x -f", "eval \"$x\"", "sh -c \"$y\"", "source a.sh", ". ./a.sh", "ls (", "if then",
        "bash a.sh", "x | sh", "bash", "bash <<E\nls\nE", "bash <<< ls", "env -S 'ls'",
        "sh -c \"ls $x\"", "eval \"ls $x\"", "ls \1", "ls a\3b"})
    EXPECT_FALSE(shell_commands(script).understood) << script;
  EXPECT_FALSE(shell_commands(std::string(300 << 10, 'x')).understood);
  std::string many, deep = "true";
  for (int i = 0; i < 2000; ++i) many += "a\n";
  EXPECT_FALSE(shell_commands(many).understood);
  EXPECT_EQ(shell_commands(many).commands.size(), kShellCommandsMax);
  for (int i = 0; i < 3000; ++i) deep = "( " + deep + " )";
  (void)shell_commands(deep);
}

TEST(ShellCommands, MoreThanTheCommandsSayIsSeen) {
  for (const char* script : {"ls", "ls 2>&1", "ls 2>&-", "cat < <(ls 2>&1)", "ls > /dev/null",
                             "ls 2>/dev/null < in", "for f in a; do cat $f; done"})
    EXPECT_FALSE(shell_commands(script).does_more) << script;
  for (const char* script :
       {"ls > a", "ls >> a", "ls &> a", "> a", "ls 2> a", "ls <> a", "PATH=. ls", "x=1; ls",
        "export A=b; ls", "sudo ls", "strace -o a ls", "find . -delete", "find . -exec ls {} +"})
    EXPECT_TRUE(shell_commands(script).does_more) << script;
}

TEST(DestructiveGit, IsSeenHoweverItIsWritten) {
  for (const char* script : {"git reset --hard",
                             "git reset --hard HEAD~1",
                             "git -C sub -c a.b=c reset --hard",
                             "/usr/bin/git checkout .",
                             "git checkout -- a.cc",
                             "git checkout -- Makefile",
                             "git checkout HEAD a.cc",
                             "git checkout -f main",
                             "git checkout src/a.cc",
                             "git restore .",
                             "git restore --staged --worktree a",
                             "git clean -fdx",
                             "git stash drop",
                             "git stash clear",
                             "git branch -D x",
                             "git branch -M x y",
                             "git branch -C x y",
                             "git am --skip",
                             "git cherry-pick --skip",
                             "git push --prune origin",
                             "git push --force",
                             "git push -f origin main",
                             "git push origin +main",
                             "git push origin :old",
                             "git push --force-with-lease",
                             "git rebase main",
                             "git reflog expire --expire=now --all",
                             "git gc --prune=now",
                             "git update-ref -d refs/heads/x",
                             "git rm -rf src",
                             "git switch --discard-changes main",
                             "git worktree remove -f w",
                             "make && (cd x; git reset --hard)",
                             "bash -c 'git clean -f'",
                             "sudo git clean -f",
                             "find . | xargs git checkout --",
                             "rm -rf .git",
                             "rm -rf ./sub/.git/",
                             "mv .git /tmp/x",
                             "git $sub",
                             "git \"$@\"",
                             "git checkout $x",
                             "eval 'git reset --hard'",
                             "true; A=b git reset --hard # why",
                             "git reset --har",
                             "git -c alias.x='reset --hard' x",
                             "env -S 'git reset --hard'",
                             "bash -ce 'git clean -f'",
                             "bash -c -- 'git clean -f'",
                             "echo 'git reset --hard' | sh",
                             "bash <<E\ngit reset --hard\nE",
                             "bash <<< 'git reset --hard'",
                             "find . -exec git checkout -- {} +",
                             "flock f git reset --hard",
                             "echo --hard | xargs git reset",
                             "x=git; $x reset --hard",
                             "git branch -qD f",
                             "git checkout -qB m",
                             "git clean -fd -enode",
                             "rm -rf .git*",
                             "python3 -c 'import os; os.system(\"git reset --hard\")'",
                             "git restore --worktree --staged a",
                             "git clean -fde n"})
    EXPECT_TRUE(destructive_git(shell_commands(script))) << script;
}

TEST(DestructiveGit, LeavesAloneWhatLosesNothing) {
  for (const char* script : {"git status",
                             "git diff HEAD~1 -- a.cc",
                             "git log --hard",
                             "git add .",
                             "git commit -m 'git reset --hard'",
                             "git checkout main",
                             "git checkout -b feature/x",
                             "git checkout feature/login",
                             "git reset",
                             "git reset HEAD a.cc",
                             "git restore --staged a.cc",
                             "git clean -n",
                             "git clean --dry-run -d",
                             "git stash",
                             "git stash pop",
                             "git branch",
                             "git branch new",
                             "git push",
                             "git push origin main",
                             "git rm --cached a",
                             "git fetch",
                             "git diff $x",
                             "echo git reset --hard",
                             "rm -rf build",
                             "cat .gitignore",
                             "rm .gitignore.bak",
                             "grep -r 'git clean -f' .",
                             "git -C sub status"})
    EXPECT_EQ(destructive_git(shell_commands(script)), std::nullopt) << script;
  const auto is_path = [](const std::string& name) { return name == "src"; };
  EXPECT_TRUE(destructive_git(shell_commands("git checkout src"), is_path));
  EXPECT_FALSE(destructive_git(shell_commands("git checkout -b src"), is_path));
  EXPECT_FALSE(destructive_git(shell_commands("bash build.sh")));
  EXPECT_EQ(destructive_git(shell_commands("git reset --hard")).value(),
            "git reset --hard throws away uncommitted changes");
}

}  // namespace
}  // namespace lares::tools
