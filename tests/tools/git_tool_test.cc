// The git tool against repositories that git itself made, and where possible against git's own
// output.
#include "tools/git_tool.h"

#include <fcntl.h>
#include <git2.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "scratch.h"

namespace lares::tools {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Output of a shell command in `directory`; its failure is the test's.
std::string sh(const std::filesystem::path& directory, const std::string& command) {
  FILE* pipe = ::popen(("cd '" + directory.string() + "' && { " + command + "; } 2>&1").c_str(),
                       "r");
  std::string out;
  for (char buffer[4096]; const auto n = std::fread(buffer, 1, sizeof buffer, pipe);)
    out.append(buffer, n);
  EXPECT_EQ(::pclose(pipe), 0) << command << "\n" << out;
  return out;
}

class Git : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("HOME", std::filesystem::path(home_.root()).c_str(), 1);
    ::setenv("XDG_CONFIG_HOME", (std::filesystem::path(home_.root()) / ".config").c_str(), 1);
    ::setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    sh(root(),
       "git init -q -b main && git config user.name 'Ann Example' && git config user.email "
       "ann@example.invalid");
    tool_ = make({});
    // libgit2 asks for $HOME once in a process.
    git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_GLOBAL, home_.root().c_str());
    git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_XDG,
                     home_.at(".config/git").c_str());
  }
  std::unique_ptr<Tool> make(const std::string& below) {
    BuiltinOptions options;
    options.root = below.empty() ? root().string() : (root() / below).string();
    return make_git_tool({}, options);
  }
  std::filesystem::path root() const { return std::filesystem::path(repo_.root()); }
  Outcome git(json args) {
    asio::io_context io;
    return test::call(io, *tool_, std::move(args))
        .value_or(Outcome{.text = "the harness broke", .ok = false, .changes = {}});
  }
  void commit_all(const std::string& message) {
    sh(root(), "git add -A && git commit -q -m '" + message + "'");
  }

  test::Scratch home_, repo_;
  std::unique_ptr<Tool> tool_;
};

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
  tool_ = make("sub");
  EXPECT_EQ(git({{"command", "diff"}}).text, sh(root(), "git diff HEAD -- sub"));
  EXPECT_EQ(git({{"command", "diff"}, {"path", "../b"}}).text,
            "../b is outside the repository " + (root() / "sub").string());
  EXPECT_TRUE(git({{"command", "commit"}, {"message", "m"}}).ok);
  EXPECT_EQ(sh(root(), "git status --porcelain"), " M b\n");
}

TEST_F(Git, OutsideARepositoryItSaysSo) {
  BuiltinOptions options;
  options.root = home_.root();
  tool_ = make_git_tool({}, options);
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

TEST_F(Git, BlameIsGitsBlame) {
  repo_.write("a.c", "one\ntwo\nthree\nfour\nfive\n");
  commit_all("first");
  repo_.write("a.c", "zero\none\nTWO\nthree\nfour\nfive\n");
  commit_all("second");
  const auto first = sh(root(), "git log --format='%h %ad %an' --date=short -1 HEAD~1");
  const auto second = sh(root(), "git log --format='%h %ad %an' --date=short -1 HEAD");
  EXPECT_EQ(git({{"command", "blame"}, {"path", "a.c"}}).text,
            second + "     1  zero\n" + first + "     2  one\n" + second + "     3  TWO\n" + first +
                "     4  three\n     5  four\n     6  five\n");
  EXPECT_EQ(git({{"command", "blame"}, {"path", "a.c:4-5"}}).text,
            first + "     4  three\n     5  four\n");
  EXPECT_EQ(git({{"command", "blame"}, {"path", "a.c:1"}}).text, second + "     1  zero\n");
  EXPECT_EQ(git({{"command", "blame"}, {"path", "a.c:5-99"}, {"rev", "HEAD~1"}}).text,
            first + "     5  five\n");
  repo_.write("a.c", "zero\none\nTWO\nnew\nthree\nfour\nfive\n");
  EXPECT_EQ(git({{"command", "blame"}, {"path", "a.c:3-5"}}).text,
            second + "     3  TWO\nnot committed yet\n     4  new\n" + first + "     5  three\n");
}

// Every line is unique, so that there is one answer: merges, deletions, renames.
TEST_F(Git, BlameAgreesWithGitOnARandomHistory) {
  std::mt19937 random(7);
  std::vector<std::string> lines;
  int n = 0;
  const auto edit = [&](std::vector<std::string>& text) {
    for (int i = 0; i < 4; ++i) {
      const std::size_t at = random() % (text.size() + 1);
      if (random() % 3 == 0 && at < text.size())
        text.erase(text.begin() + static_cast<std::ptrdiff_t>(at));
      else
        text.insert(text.begin() + static_cast<std::ptrdiff_t>(at), "line " + std::to_string(n++));
    }
  };
  const auto write = [&](const std::string& name) {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    repo_.write(name, text);
  };
  for (int i = 0; i < 60; ++i) lines.push_back("line " + std::to_string(n++));
  std::string name = "a";
  for (int i = 0; i < 25; ++i) {
    if (i == 12) {
      sh(root(), "git mv a b");
      name = "b";
    }
    edit(lines);
    write(name);
    commit_all("number " + std::to_string(i));
  }
  std::istringstream ids(sh(root(), "git blame -l -s b | sed 's/^^//' | cut -c1-7"));
  std::string want, before;
  for (std::size_t i = 1; i <= lines.size(); ++i) {
    std::string id;
    ids >> id;
    if (id != before) want += sh(root(), "git log -1 --date=short --format='%h %ad %an' " + id);
    before = id;
    want += std::string(6 - std::to_string(i).size(), ' ') + std::to_string(i) + "  " +
            lines[i - 1] + "\n";
  }
  EXPECT_EQ(git({{"command", "blame"}, {"path", "b"}}).text, want);
}

TEST_F(Git, BlameSaysWhatItCannotTell) {
  repo_.write("a", "1\n");
  repo_.write(".env", "KEY=tops3cret\n");
  repo_.write("bin", std::string("a\0b", 3));
  repo_.write("empty", "");
  repo_.write("dir/x:1", "x\n");
  commit_all("first");
  repo_.write("new", "1\n");
  const auto blame = [&](const char* path) {
    return git({{"command", "blame"}, {"path", path}}).text;
  };
  EXPECT_THAT(git({{"command", "blame"}}).text, StartsWith("blame: `path` is missing"));
  EXPECT_EQ(blame("a:3-4"), "blame: a has the lines 1-1, not 3-4");
  EXPECT_THAT(blame(".env"), StartsWith("blame: .env is not shown"));
  EXPECT_EQ(blame("bin"), "blame: bin is binary");
  EXPECT_EQ(blame("empty"), "empty is empty\n");
  EXPECT_EQ(blame("dir"), "blame: dir is a directory; name a file");
  EXPECT_THAT(blame("new"), StartsWith("blame: new is not in that commit"));
  EXPECT_THAT(blame("../a"), HasSubstr("outside the repository"));
  EXPECT_THAT(blame("dir/x:1"), HasSubstr("     1  x\n"));
}

TEST_F(Git, BlameKeepsToItsBoundAndToLfInACheckoutWithCrlf) {
  std::string text, crlf;
  for (int i = 0; i < 3000; ++i)
    text += "line " + std::to_string(i) + "\n", crlf += "line " + std::to_string(i) + "\r\n";
  repo_.write("a", text);
  commit_all("first");
  repo_.write("a", crlf);
  const auto out = git({{"command", "blame"}, {"path", "a"}}).text;
  EXPECT_THAT(out, Not(HasSubstr("not committed yet")));
  EXPECT_LT(out.size(), 16'200u);
  EXPECT_THAT(out, HasSubstr("more lines; give the lines you mean, as a:10-60]\n"));
}

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
  tool_ = make("sub");
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "topic"}}).text,
              StartsWith("switch: it would change b, outside the directory"));
  tool_ = make({});
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
  BuiltinOptions options;
  options.root = other.at("c");
  tool_ = make_git_tool({}, options);
  EXPECT_THAT(git({{"command", "show"}, {"rev", "HEAD~3:a"}}).text, "16\n");
  tool_ = make({});
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
