// The git tool against repositories that git itself made, and where possible against git's own
// output.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "tests/tools/git/git_case.h"
#include "tools/git/view.h"

namespace lares::tools {
namespace {

using test::Git;
using test::json;
using test::sh;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST_F(Git, StatusIsGitsShortStatus) {
  repo_.write("changed.txt", "one\n");
  repo_.write("gone.txt", "two\n");
  repo_.write("staged.txt", "three\n");
  repo_.write("old name.txt",
              "a file long enough to be recognised\nwhen it moves\nto another name\n");
  repo_.write(".gitignore", "*.o\n");
  commit_all("first");
  repo_.write("changed.txt", "1\n");
  repo_.write("staged.txt", "3\n");
  repo_.write("new.txt", "four\n");
  repo_.write("dir/inner.txt", "five\n");
  repo_.write("ignored.o", "six\n");
  sh(root(), "rm gone.txt && git add staged.txt && git mv 'old name.txt' new_name.txt");
  EXPECT_EQ(git({{"command", "status"}}).text,
            sh(root(), "git -c core.quotePath=false status --short --branch | tr -d '\"'"));
}

TEST_F(Git, StatusOfACleanTreeSaysSo) {
  EXPECT_EQ(git({{"command", "status"}}).text,
            "## No commits yet on main\nnothing to commit, working tree clean\n");
  repo_.write("a", "a\n");
  commit_all("first");
  EXPECT_EQ(git({{"command", "status"}}).text, "## main\nnothing to commit, working tree clean\n");
  sh(root(), "git checkout -q --detach");
  EXPECT_THAT(git({{"command", "status"}}).text, StartsWith("## HEAD (no branch)\n"));
}

TEST_F(Git, StatusTellsWhatIsOutOfTheIndexAndStillThere) {
  repo_.write("a", "a\n");
  commit_all("first");
  sh(root(), "git rm -q --cached a");
  EXPECT_EQ(git({{"command", "status"}}).text, "## main\nD  a\n?? a\n");
}

TEST_F(Git, AConflictIsToldAsGitTellsIt) {
  const auto lines = [](const std::string& third) { return "1\n2\n" + third + "\n4\n5\n"; };
  for (const char* name : {"both", "gone", "kept", "moved", "other"})
    repo_.write(name, name + lines("3"));
  commit_all("first");
  sh(root(), "git switch -q -c topic");
  repo_.write("both", "both" + lines("three"));
  repo_.write("kept", "kept" + lines("three"));
  repo_.write("new", "theirs\n");
  sh(root(), "git rm -q gone && git mv moved theirs");
  commit_all("topic");
  sh(root(), "git switch -q main");
  repo_.write("both", "both" + lines("THREE"));
  repo_.write("gone", "gone" + lines("THREE"));
  repo_.write("new", "ours\n");
  sh(root(), "git rm -q kept && git mv moved ours");
  commit_all("main");
  sh(root(), "! git merge -q topic");
  repo_.write("other", "changed\n");
  EXPECT_EQ(git({{"command", "status"}}).text, sh(root(), "git status --short --branch"));
  EXPECT_EQ(git({{"command", "diff"}, {"path", "other"}}).text, sh(root(), "git diff HEAD other"));
  const auto diff = git({{"command", "diff"}, {"path", "both"}}).text;
  EXPECT_EQ(diff, sh(root(), "git diff HEAD both"));
  EXPECT_THAT(diff, HasSubstr("+<<<<<<< HEAD\n"));
  const auto all = git({{"command", "diff"}}).text;
  for (const char* name : {"kept", "new", "theirs"})
    EXPECT_THAT(all, HasSubstr(sh(root(), std::string("git diff HEAD ") + name)));
}

TEST_F(Git, StatusCountsAgainstTheUpstream) {
  repo_.write("a", "a\n");
  commit_all("first");
  sh(root(), "git branch base && git branch -q --set-upstream-to=base");
  repo_.write("a", "b\n");
  commit_all("second");
  EXPECT_THAT(git({{"command", "status"}}).text, StartsWith("## main...base [ahead 1]\n"));
}

TEST_F(Git, DiffIsGitsDiff) {
  repo_.write("a.c", "int f(void) {\n  return 1;\n}\n\nint g(void) {\n  return 2;\n}\n");
  repo_.write("no_newline", "x");
  repo_.write("gone", "y\n");
  commit_all("first");
  repo_.write("a.c", "int f(void) {\n  return 3;\n}\n\nint g(void) {\n  return 2;\n}\n");
  repo_.write("no_newline", "z");
  repo_.write("untracked", "not shown\n");
  sh(root(), "rm gone");
  const auto want = sh(root(), "git diff HEAD");
  EXPECT_EQ(git({{"command", "diff"}}).text, want);
  EXPECT_EQ(git({{"command", "diff"}, {"path", "a.c"}}).text, sh(root(), "git diff HEAD -- a.c"));
  EXPECT_EQ(git({{"command", "diff"}, {"path", (root() / "a.c").string()}}).text,
            sh(root(), "git diff HEAD -- a.c"));
  commit_all("second");
  EXPECT_EQ(git({{"command", "diff"}}).text, "no changes in tracked files since HEAD\n");
  EXPECT_EQ(git({{"command", "diff"}, {"rev", "HEAD~1"}}).text, sh(root(), "git diff HEAD~1"));
  EXPECT_EQ(git({{"command", "diff"}, {"rev", "HEAD..HEAD~1"}}).text,
            sh(root(), "git diff HEAD..HEAD~1"));
}

TEST_F(Git, DiffIsBoundedAndSaysWhatWasCut) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i) + "\n";
  repo_.write("big", "x\n");
  commit_all("first");
  repo_.write("big", text);
  const auto out = git({{"command", "diff"}}).text;
  EXPECT_LT(out.size(), 17'000u);
  const auto shown = static_cast<int>(std::count(out.begin(), out.end(), '\n')) - 1;
  const auto total = std::stoi(sh(root(), "git diff HEAD | wc -l"));
  EXPECT_THAT(out, HasSubstr("[cut: " + std::to_string(total - shown) +
                             " more lines, 1 files in all; name a path]"));
}

TEST_F(Git, DiffTextIsValidUtf8) {
  repo_.write("latin1", "a\n");
  commit_all("first");
  repo_.write("latin1", "caf\xe9\n");
  EXPECT_THAT(git({{"command", "diff"}}).text, HasSubstr("+caf\xef\xbf\xbd\n"));
}

TEST_F(Git, SecretsAreNeitherShownNorCommitted) {
  repo_.write(".env", "KEY=old\n");
  repo_.write("a", "a\n");
  commit_all("first");
  repo_.write(".env", "KEY=tops3cret\n");
  const auto diff = git({{"command", "diff"}}).text;
  EXPECT_THAT(diff, HasSubstr("[content withheld"));
  EXPECT_THAT(diff, Not(HasSubstr("tops3cret")));
  EXPECT_THAT(git({{"command", "show"}, {"rev", "HEAD:.env"}}).text, Not(HasSubstr("KEY")));
  EXPECT_THAT(git({{"command", "show"}}).text, Not(HasSubstr("KEY")));
  repo_.write("id_rsa", "-----BEGIN\n");
  const auto made = git({{"command", "commit"}, {"message", "second"}});
  EXPECT_TRUE(made.ok) << made.text;
  EXPECT_THAT(made.text, HasSubstr("[left out, their names are ones for secrets: id_rsa]"));
  EXPECT_EQ(sh(root(), "git ls-files"), ".env\na\n");
}

// Whatever commands are kept from is neither shown nor committed, by whichever way.
TEST_F(Git, WhatIsHiddenFromCommandsIsNotCommitted) {
  repo_.write("a", "a\n");
  commit_all("first");
  for (const char* name : {".aws/credentials", ".kube/config", ".ssh/config", "terraform.tfstate",
                           "prod.tfvars", "kubeconfig", "service-account-1.json",
                           "client_secret_2.json", "secrets.yml", "secrets.toml", "b"})
    repo_.write(name, "x\n");
  repo_.write("chain.crt", "-----BEGIN PRIVATE KEY-----\nx\n");
  repo_.write("ca.crt", "-----BEGIN CERTIFICATE-----\nx\n");
  repo_.write(".env.example", "KEY=\n");
  repo_.write("terraform.tfvars.example", "key=\n");
  EXPECT_TRUE(git({{"command", "commit"}, {"message", "second"}}).ok);
  EXPECT_EQ(sh(root(), "git ls-files"), ".env.example\na\nb\nca.crt\nterraform.tfvars.example\n");
}
TEST_F(Git, AKeyAmongCertificatesIsNotShown) {
  const std::string key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n";
  repo_.write("chain.crt", "-----BEGIN CERTIFICATE-----\nMIIDxy\n");
  repo_.write("other.crt", "one\n");
  repo_.write("z", "one\n");
  commit_all("first");
  repo_.write("chain.crt", "-----BEGIN CERTIFICATE-----\nMIIDxy\n" + key);
  repo_.write("other.crt", "two\n");
  repo_.write("z", "two\n");
  const auto diff = git({{"command", "diff"}}).text;
  EXPECT_THAT(diff, HasSubstr("+++ b/chain.crt\n[content withheld: a key]\ndiff --git"));
  EXPECT_THAT(diff, Not(HasSubstr("MIIE")));
  for (const char* name : {"other.crt", "z"})
    EXPECT_THAT(diff, HasSubstr(sh(root(), std::string("git diff HEAD ") + name)));
  commit_all("second");
  EXPECT_THAT(git({{"command", "show"}}).text, Not(HasSubstr("MIIE")));
  repo_.write("chain.crt", "gone\n");
  EXPECT_THAT(git({{"command", "diff"}}).text, Not(HasSubstr("MIIE")));
}
TEST_F(Git, ARenamedSecretStaysOne) {
  std::string text = "KEY=tops3cret\n";
  for (int i = 0; i < 50; ++i) text += "LINE=" + std::to_string(i) + "\n";
  repo_.write("prod.tfvars", text);
  commit_all("first");
  sh(root(), "git mv prod.tfvars plain && sed -i s/tops3cret/n3wsecret/ plain && git add -A");
  const auto diff = git({{"command", "diff"}, {"rev", "HEAD"}}).text;
  EXPECT_THAT(diff, HasSubstr("[content withheld"));
  EXPECT_THAT(diff, Not(HasSubstr("s3cret")));
  EXPECT_THAT(diff, Not(HasSubstr("n3wsecret")));
}

TEST_F(Git, LogListsCommitsNewestFirst) {
  EXPECT_EQ(git({{"command", "log"}}).text, "no commits yet\n");
  for (const std::string name : {"a", "b", "c"}) {
    repo_.write(name, name + "\n");
    commit_all("add " + name);
  }
  const std::string format = "git log --date=short --format='%h %ad %an  %s'";
  EXPECT_EQ(git({{"command", "log"}}).text, sh(root(), format));
  EXPECT_EQ(git({{"command", "log"}, {"n", 2}}).text, sh(root(), format + " -n 2"));
  EXPECT_EQ(git({{"command", "log"}, {"path", "b"}}).text, sh(root(), format + " -- b"));
  EXPECT_EQ(git({{"command", "log"}, {"rev", "HEAD~1"}}).text, sh(root(), format + " HEAD~1"));
  EXPECT_EQ(git({{"command", "log"}, {"rev", "HEAD~1..HEAD"}}).text,
            sh(root(), format + " HEAD~1..HEAD"));
}

TEST_F(Git, ShowIsGitsShow) {
  repo_.write("a", "one\n");
  commit_all("first");
  repo_.write("a", "two\n");
  sh(root(),
     "git add a && GIT_AUTHOR_DATE='2026-03-04T05:06:07 -0330' git commit -q -m 'second' -m 'with "
     "a body'");
  EXPECT_EQ(git({{"command", "show"}}).text, sh(root(), "git show"));
  EXPECT_EQ(git({{"command", "show"}, {"rev", "HEAD~1"}}).text, sh(root(), "git show HEAD~1"));
  EXPECT_EQ(git({{"command", "show"}, {"rev", "HEAD~1:a"}}).text, "one\n");
  const auto absent = git({{"command", "show"}, {"rev", "nowhere"}});
  EXPECT_FALSE(absent.ok);
  EXPECT_EQ(absent.text, "nowhere: no such revision; log lists commits, branch branches");
  EXPECT_EQ(git({{"command", "show"}, {"rev", "HEAD:dir/a"}}).text,
            "HEAD has no dir/a; show HEAD: lists what is there. There is a.");
  EXPECT_EQ(git({{"command", "show"}, {"rev", "nowhere:a"}}).text,
            "nowhere:a: no such revision; log lists commits, branch branches");
}

TEST_F(Git, CommitTakesChangesDeletionsAndNewFiles) {
  repo_.write("a", "a\n");
  repo_.write("b", "b\n");
  repo_.write(".gitignore", "*.o\n");
  const auto first = git({{"command", "commit"}, {"message", "first\n\nbody"}});
  ASSERT_TRUE(first.ok) << first.text;
  EXPECT_EQ(first.text, "[main (root-commit) " + sh(root(), "git log --format=%h | tr -d '\\n'") +
                            "] first\n 3 files changed, 3 insertions(+)\n create mode 100644 "
                            ".gitignore\n create mode 100644 a\n"
                            " create mode 100644 b\n");
  EXPECT_EQ(sh(root(), "git log --format='%an %ae %B'"),
            "Ann Example ann@example.invalid first\n\nbody\n\n");
  repo_.write("a", "A\n");
  repo_.write("c", "c\n");
  repo_.write("x.o", "ignored\n");
  sh(root(), "rm b");
  const auto second = git({{"command", "commit"}, {"message", "second"}});
  ASSERT_TRUE(second.ok) << second.text;
  EXPECT_EQ(sh(root(), "git show --format= --name-status --no-renames"), "M\ta\nD\tb\nA\tc\n");
  EXPECT_EQ(sh(root(), "git status --porcelain"), "");
  const auto third = git({{"command", "commit"}, {"message", "third"}});
  EXPECT_FALSE(third.ok);
  EXPECT_EQ(third.text, "nothing to commit, working tree clean\n");
}

TEST_F(Git, CommitOfAPathLeavesTheRest) {
  repo_.write("src/a", "a\n");
  repo_.write("src/[x].txt", "x\n");
  repo_.write("b", "b\n");
  commit_all("first");
  repo_.write("src/a", "A\n");
  repo_.write("src/[x].txt", "X\n");
  repo_.write("b", "B\n");
  sh(root(), "true > src/new");
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "one"}, {"path", "src/[x].txt"}}).ok);
  EXPECT_EQ(sh(root(), "git show --format= --name-only"), "src/[x].txt\n");
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "rest of src"}, {"path", "src/"}}).ok);
  EXPECT_EQ(sh(root(), "git show --format= --name-only"), "src/a\nsrc/new\n");
  EXPECT_EQ(sh(root(), "git status --porcelain"), " M b\n");
  const auto absent = git({{"command", "commit"}, {"message", "m"}, {"path", "nothing/here"}});
  EXPECT_EQ(absent.text, "commit: nothing/here does not exist");
}

TEST_F(Git, AddStages) {
  repo_.write("a", "a\n");
  EXPECT_EQ(git({{"command", "add"}, {"path", "a"}}).text, "## No commits yet on main\nA  a\n");
}

TEST_F(Git, WhatIsIgnoredIsNotSaidToBeAdded) {
  repo_.write(".gitignore", "build/\n*.log\n");
  repo_.write("kept.log", "kept\n");
  sh(root(), "git add -f kept.log");
  commit_all("first");
  repo_.write("build/x", "x\n");
  repo_.write("a.log", "a\n");
  repo_.write("kept.log", "changed\n");
  for (const char* path : {"build", "build/x", "a.log"}) {
    for (const char* command : {"add", "commit"}) {
      const auto out = git({{"command", command}, {"path", path}, {"message", "m"}});
      EXPECT_FALSE(out.ok);
      EXPECT_THAT(out.text, HasSubstr(std::string(path) + " is ignored")) << command;
    }
  }
  EXPECT_EQ(git({{"command", "add"}, {"path", "kept.log"}}).text, "## main\nM  kept.log\n");
}

TEST_F(Git, NothingToCommitInAPathIsNoCleanTree) {
  repo_.write("a", "a\n");
  repo_.write("b", "b\n");
  commit_all("first");
  repo_.write("a", "changed\n");
  EXPECT_EQ(git({{"command", "commit"}, {"path", "b"}, {"message", "m"}}).text,
            "nothing to commit in b\n");
}

TEST_F(Git, HooksAreToldWhereverTheyAre) {
  repo_.write("a", "a\n");
  commit_all("first");
  for (const char* where : {".husky", "absolute"}) {
    const std::string hook = std::string(where) + "/commit-msg";
    repo_.write(hook, "#!/bin/sh\nexit 1\n");
    ::chmod((root() / hook).c_str(), 0755);
    const std::string path = *where == '.' ? where : (root() / where).string();
    sh(root(), "git config core.hooksPath '" + path + "'");
    const auto made = git({{"command", "commit"}, {"message", where}});
    EXPECT_TRUE(made.ok) << made.text;
    EXPECT_THAT(made.text, HasSubstr("[hooks were not run: commit-msg]")) << where;
  }
}

TEST_F(Git, NothingOfTheRepositoryRuns) {
  const auto marker = (std::filesystem::path(home_.root()) / "ran").string();
  repo_.write("a", "a\n");
  commit_all("first");
  repo_.write(".git/hooks/pre-commit", "#!/bin/sh\ntouch '" + marker + "'\n");
  ::chmod((root() / ".git/hooks/pre-commit").c_str(), 0755);
  sh(root(), "git config core.fsmonitor \"touch '" + marker +
                 "'\" && git config diff.external \"touch '" + marker +
                 "'\" && git config filter.evil.clean \"touch '" + marker + "'; cat\"");
  repo_.write("a", "b\n");
  repo_.write(".gitattributes", "*.bin filter=evil\n");
  for (const char* command : {"status", "diff", "log", "show"})
    EXPECT_TRUE(git({{"command", command}}).ok) << command;
  const auto made = git({{"command", "commit"}, {"message", "second"}});
  EXPECT_TRUE(made.ok);
  EXPECT_THAT(made.text, HasSubstr("[hooks were not run: pre-commit]"));
  repo_.write("x.bin", "x\n");
  const auto refused = git({{"command", "commit"}, {"message", "third"}});
  EXPECT_FALSE(refused.ok);
  EXPECT_THAT(refused.text, HasSubstr("x.bin is stored through the filter `evil`"));
  EXPECT_FALSE(std::filesystem::exists(marker));
}

// git converts it; libgit2 would store its bytes.
TEST_F(Git, AFileInAnotherEncodingIsLeftToGit) {
  repo_.write(".gitattributes",
              "*.rc working-tree-encoding=UTF-16LE\n*.txt working-tree-encoding=utf-8\n");
  repo_.write("a", "a\n");
  commit_all("first");
  repo_.write("x.rc", std::string("h\0i\0\n\0", 6));
  repo_.write("a", "b\n");
  for (const char* command : {"add", "commit"}) {
    const auto refused = git({{"command", command}, {"message", "second"}});
    EXPECT_FALSE(refused.ok);
    EXPECT_THAT(refused.text, HasSubstr("x.rc lies here as UTF-16LE")) << command;
    EXPECT_THAT(refused.text, HasSubstr("ask the user to run: git ")) << command;
  }
  EXPECT_EQ(sh(root(), "git diff --cached --name-only"), "");
  EXPECT_TRUE(git({{"command", "commit"}, {"path", "a"}, {"message", "second"}}).ok);
  repo_.write("b.txt", "b\n");
  EXPECT_TRUE(git({{"command", "add"}, {"path", "b.txt"}}).ok);

  sh(root(),
     "git switch -q -c other && git add x.rc && git commit -q -m third && git switch -q main");
  const auto refused = git({{"command", "switch"}, {"rev", "other"}});
  EXPECT_FALSE(refused.ok);
  EXPECT_THAT(refused.text, HasSubstr("switch: x.rc is written in another encoding"));
}

TEST_F(Git, ASwitchThatBringsAnEncodingIsLeftToGit) {
  repo_.write("a", "a\n");
  commit_all("first");
  sh(root(), "git switch -q -c other");
  repo_.write(".gitattributes", "*.rc working-tree-encoding=UTF-16LE\n");
  repo_.write("x.rc", std::string("h\0i\0\n\0", 6));
  commit_all("second");
  sh(root(), "git switch -q main");
  const auto refused = git({{"command", "switch"}, {"rev", "other"}});
  EXPECT_FALSE(refused.ok);
  EXPECT_THAT(refused.text, HasSubstr("in another encoding"));
}

TEST_F(Git, CommitNeedsAnIdentityAndAMessage) {
  repo_.write("a", "a\n");
  EXPECT_EQ(git({{"command", "commit"}}).text,
            "commit: `message` is missing; say what was changed and why");
  sh(root(), "git config --unset user.name && git config --unset user.email");
  const auto out = git({{"command", "commit"}, {"message", "m"}});
  EXPECT_FALSE(out.ok);
  EXPECT_THAT(out.text, StartsWith("commit: no author identity is configured"));
  EXPECT_EQ(sh(root(), "git status --porcelain"), "?? a\n");
}

TEST_F(Git, CommitWaitsForAMergeAndForTheIndexLock) {
  repo_.write("a", "a\n");
  commit_all("first");
  repo_.write("a", "b\n");
  repo_.write(".git/index.lock", "");
  EXPECT_EQ(git({{"command", "commit"}, {"message", "m"}}).text,
            "commit: another git process holds the index; try again");
  std::filesystem::remove(root() / ".git/index.lock");
  sh(root(), "git rev-parse HEAD > .git/MERGE_HEAD");
  EXPECT_THAT(git({{"command", "commit"}, {"message", "m"}}).text, HasSubstr("under way"));
}

TEST_F(Git, CommitPassesNestedRepositoriesBy) {
  repo_.write("nested/x", "x\n");
  repo_.write("a", "a\n");
  sh(root() / "nested",
     "git init -q -b main && git config user.name n && git config user.email n && git add x && git "
     "commit -q -m x");
  const auto out = git({{"command", "commit"}, {"message", "first"}});
  EXPECT_TRUE(out.ok) << out.text;
  EXPECT_EQ(sh(root(), "git ls-files"), "a\n");
}

// b is changed in the second it was committed in, and keeps its size.
TEST_F(Git, CommitHidesNoChangeOfTheSameSecond) {
  repo_.write("a", "a\n");
  repo_.write("b", "b\n");
  sh(root(), "git config core.trustctime false && touch -d '2026-01-01 00:00:00.1' a b");
  commit_all("first");
  repo_.write("a", "A\n");
  repo_.write("b", "B\n");
  sh(root(), "touch -d '2026-01-01 00:00:00.2' .git/index && touch -d '2026-01-01 00:00:00.8' b");
  EXPECT_TRUE(git({{"command", "commit"}, {"message", "m"}, {"path", "a"}}).ok);
  EXPECT_EQ(sh(root(), "git status --porcelain"), " M b\n");
}

TEST_F(Git, ASubdirectoryAsRootKeepsToItself) {
  repo_.write("sub/a", "a\n");
  repo_.write("b", "b\n");
  commit_all("first");
  repo_.write("sub/a", "A\n");
  repo_.write("b", "B\n");
  work_in((root() / "sub").string());
  EXPECT_EQ(git({{"command", "diff"}}).text, sh(root(), "git diff HEAD -- sub"));
  EXPECT_EQ(git({{"command", "diff"}, {"path", "../b"}}).text,
            "../b is outside the repository " + (root() / "sub").string());
  EXPECT_TRUE(git({{"command", "commit"}, {"message", "m"}}).ok);
  EXPECT_EQ(sh(root(), "git status --porcelain"), " M b\n");
}

TEST_F(Git, OutsideARepositoryItSaysSo) {
  work_in(home_.root());
  const auto out = git({{"command", "status"}});
  EXPECT_FALSE(out.ok);
  EXPECT_EQ(out.text, home_.root() + " is not a git repository; run git init there to make it one");
}

TEST_F(Git, AnotherUsersRepositoryNeedsSafeDirectory) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give the repository to another user";
  repo_.write("a", "a\n");
  sh(root(), "chown -R 54321 .");
  const auto refused = git({{"command", "status"}});
  EXPECT_FALSE(refused.ok);
  EXPECT_THAT(refused.text, HasSubstr("belongs to user 54321"));
  EXPECT_THAT(refused.text,
              HasSubstr("git config --global --add safe.directory " + root().string()));
  sh(root(), "git config --global --add safe.directory " + root().string());
  EXPECT_TRUE(git({{"command", "status"}}).ok);
}

// Whether somebody used git before makes no difference to whoever lists the files.
TEST_F(Git, AnotherUsersRepositoryIsNotListedEither) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give the repository to another user";
  repo_.write("a", "a\n");
  EXPECT_TRUE(git({{"command", "status"}}).ok);
  EXPECT_TRUE(GitView::open(root()));
  sh(root(), "chown -R 54321 .");
  const auto refused = GitView::open(root());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("belongs to user 54321"));
  EXPECT_THAT(refused.error().message,
              HasSubstr("git config --global --add safe.directory " + root().string()));
  sh(root(), "git config --global --add safe.directory " + root().string());
  EXPECT_TRUE(GitView::open(root()));
}

TEST_F(Git, AWorktreeElsewhereIsRefused) {
  sh(root(), "git config core.worktree " + home_.root());
  EXPECT_THAT(git({{"command", "status"}}).text, HasSubstr("keeps its files elsewhere"));
}

TEST_F(Git, BadArgumentsAreAnswered) {
  EXPECT_THAT(git({{"command", "push"}}).text, StartsWith("git: no command `push`"));
  EXPECT_EQ(git({{"command", 1}}).text, "git: `command` must be a string");
  EXPECT_EQ(git(json::array()).text, "git: the arguments must be an object");
  EXPECT_EQ(git({{"command", "show"}, {"rev", std::string("HEAD\0x", 6)}}).text,
            "git: `rev` contains a NUL byte");
  EXPECT_EQ(git({{"command", "log"}, {"n", "many"}}).text, "git: `n` must be an integer");
}

// .git is read-only for commands, unless they run without a sandbox.
TEST_F(Git, WhatCommandsCannotDoTheUserIsAskedFor) {
  EXPECT_THAT(git({{"command", "stash"}}).text,
              EndsWith("others that only read run in bash; ask the user to run those that write"));
  BuiltinOptions options;
  options.root = root().string();
  options.no_sandbox = true;
  tool_ = make_git_tool({}, options);
  EXPECT_THAT(git({{"command", "stash"}}).text, EndsWith("switch, others run in bash"));
  sh(root(), "rm -r .git");
  EXPECT_THAT(git({{"command", "status"}}).text, EndsWith("run git init there to make it one"));
  sh(root(), "mkdir .git");
  EXPECT_THAT(git({{"command", "status"}}).text,
              EndsWith("ask the user to remove it or to run git init there"));
}

// libgit2 1.5 reads on for ever where the file ends before its zlib stream does.
TEST_F(Git, ALooseObjectThatWasCutShortIsAnErrorThatNamesIt) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i * 7919) + "\n";
  repo_.write("a", text);
  commit_all("first");
  for (const std::string what : {"HEAD:a", "HEAD^{tree}", "HEAD"}) {
    const auto id = sh(root(), "git rev-parse '" + what + "' | tr -d '\\n'");
    const auto name = ".git/objects/" + id.substr(0, 2) + "/" + id.substr(2);
    const auto whole = repo_.read(name);
    std::filesystem::permissions(root() / name, std::filesystem::perms(0644));
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{5}, whole.size() / 2,
                                whole.size() - 8, whole.size() - 4, whole.size() - 1}) {
      repo_.write(name, whole.substr(0, n));
      const auto shown = git({{"command", "show"}, {"rev", id}});
      EXPECT_FALSE(shown.ok) << what << " " << n << shown.text;
      EXPECT_THAT(shown.text, HasSubstr(name + " is damaged: ")) << n;
      EXPECT_FALSE(git({{"command", "show"}, {"rev", id.substr(0, 8)}}).ok) << n;
      if (what == "HEAD:a") continue;
      EXPECT_THAT(git({{"command", "status"}}).text, HasSubstr("is damaged: ")) << n;
      EXPECT_FALSE(git({{"command", "blame"}, {"path", "a"}}).ok);
      EXPECT_FALSE(git({{"command", "log"}, {"path", "a"}}).ok);
      EXPECT_FALSE(git({{"command", "switch"}, {"rev", "new"}}).ok);
    }
    repo_.write(name, whole);
    EXPECT_TRUE(git({{"command", "show"}, {"rev", id}}).ok);
    EXPECT_TRUE(git({{"command", "show"}, {"rev", id.substr(0, 8)}}).ok);
  }
}

TEST_F(Git, ALooseObjectWithABitFlippedIsAnError) {
  std::string text;
  for (int i = 0; i < 50; ++i) text += std::to_string(i * 7919 % 1009);
  repo_.write("a", text);
  commit_all("first");
  const auto id = sh(root(), "git rev-parse HEAD:a | tr -d '\\n'");
  const auto name = ".git/objects/" + id.substr(0, 2) + "/" + id.substr(2);
  std::filesystem::permissions(root() / name, std::filesystem::perms(0644));
  const auto whole = repo_.read(name);
  std::size_t failed = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    auto bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x10);
    repo_.write(name, bytes);
    const auto shown = git({{"command", "show"}, {"rev", "HEAD:a"}});
    EXPECT_TRUE(!shown.ok || shown.text == text) << i;  // a few bits of deflate mean nothing
    failed += !shown.ok;
  }
  EXPECT_GT(failed, whole.size() * 9 / 10);
  std::filesystem::remove(root() / name);
  ::mkfifo((root() / name).c_str(), 0600);
  EXPECT_THAT(git({{"command", "show"}, {"rev", "HEAD:a"}}).text, HasSubstr("no plain file"));
}

TEST_F(Git, ObjectsAreFoundInPacksAndAlternates) {
  for (int i = 0; i < 20; ++i) {
    repo_.write("a", std::to_string(i) + "\n");
    commit_all("number " + std::to_string(i));
  }
  test::Scratch other;
  sh(other.root(), "git clone -q --shared '" + root().string() + "' c");
  work_in(other.at("c"));
  EXPECT_THAT(git({{"command", "show"}, {"rev", "HEAD~3:a"}}).text, "16\n");
  work_in(root().string());
  sh(root(), "git gc -q");
  EXPECT_THAT(git({{"command", "show"}, {"rev", "HEAD~3:a"}}).text, "16\n");
  EXPECT_THAT(git({{"command", "show"},
                   {"rev", sh(root(), "git rev-parse --short HEAD~3:a | tr -d '\\n'")}})
                  .text,
              HasSubstr("16\n"));
}

TEST_F(Git, OnlyWhatWritesMutates) {
  for (const char* command : {"status", "diff", "log", "show", "blame", "branch"})
    EXPECT_FALSE(tool_->mutates({{"command", command}})) << command;
  for (const char* command : {"add", "commit", "switch", "unheard of"})
    EXPECT_TRUE(tool_->mutates({{"command", command}})) << command;
  EXPECT_TRUE(tool_->mutates({{"command", "branch"}, {"rev", "x"}}));
  EXPECT_TRUE(tool_->mutates({{"command", "branch"}, {"rev", 1}}));
  EXPECT_TRUE(tool_->mutates(json()));
  EXPECT_FALSE(tool_->tells_changes({{"command", "switch"}}));
  EXPECT_TRUE(tool_->tells_changes({{"command", "commit"}}));
}

}  // namespace
}  // namespace lares::tools
