// What a switch would lose, with git beside it, which refuses each of these.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

using test::Git;
using test::sh;
using testing::HasSubstr;
using testing::StartsWith;

class SwitchCheck : public Git {
 protected:
  // main and other, each with what its command makes; main is checked out.
  void make_branches(const std::string& on_main, const std::string& on_other) {
    repo_.write("a", "a\n");
    commit_all("first");
    sh(root(), "git switch -q -c other && " + on_other + " && git add -A && git commit -qm other");
    sh(root(), "git switch -q main && " + on_main + " && git add -A && git commit -qm main");
  }
  // Every file and link outside .git, with its content, and the index.
  std::string all() {
    return sh(root(),
              "git ls-files -s; find . -path ./.git -prune -o ! -type d -print0 | sort -z | "
              "xargs -0 -I@ sh -c 'echo @; cat @'");
  }
  // git's word first, in the same place, for it changes nothing.
  void expect_refused(const std::string& why) {
    const std::string before = all();
    sh(root(), "! git -c submodule.recurse=false switch --no-overwrite-ignore other");
    ASSERT_EQ(all(), before);
    const auto refused = git({{"command", "switch"}, {"rev", "other"}});
    EXPECT_FALSE(refused.ok) << refused.text;
    EXPECT_THAT(refused.text, HasSubstr(why));
    EXPECT_EQ(all(), before);
    EXPECT_EQ(sh(root(), "git branch --show-current"), "main\n");
  }
};

TEST_F(SwitchCheck, KeepsUntrackedFilesWhereALinkComes) {
  make_branches("mkdir dd && echo f > dd/f", "ln -s a dd");
  repo_.write("dd/p", "precious\n");
  repo_.write("dd/q/r", "precious\n");
  expect_refused("dd/p");
}
TEST_F(SwitchCheck, KeepsARepositoryWhereALinkComes) {
  make_branches("mkdir dd && echo f > dd/f", "ln -s a dd");
  sh(root(),
     "git init -q dd/n && cd dd/n && echo p > p && git add p && git -c user.name=t -c "
     "user.email=t@localhost commit -qm p");
  expect_refused("dd/n/");
}
TEST_F(SwitchCheck, BeginsNothingWhereAFileComesInPlaceOfADirectoryInUse) {
  make_branches("echo m > aa && mkdir dd && echo f > dd/f",
                "echo o > aa && echo o > dd && echo o > zz");
  repo_.write("dd/p", "precious\n");
  expect_refused("dd/p");
}
TEST_F(SwitchCheck, KeepsIgnoredFilesWhereALinkComes) {
  make_branches("mkdir dd && echo f > dd/f && echo '*.o' > .gitignore", "ln -s a dd");
  repo_.write("dd/x.o", "object\n");
  const std::string before = all();  // git itself would lose it
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "other"}}).text, HasSubstr("dd/x.o"));
  EXPECT_EQ(all(), before);
}
TEST_F(SwitchCheck, PutsALinkWhereADirectoryWas) {
  make_branches("mkdir -p dd/deep && echo f > dd/f && ln -s f dd/l && echo g > dd/deep/g",
                "ln -s a dd");
  std::filesystem::create_directories(root() / "dd/empty");
  EXPECT_TRUE(git({{"command", "switch"}, {"rev", "other"}}).ok);
  EXPECT_EQ(sh(root(), "git status --porcelain; readlink dd"), "a\n");
  EXPECT_TRUE(git({{"command", "switch"}, {"rev", "main"}}).ok);
  EXPECT_EQ(sh(root(), "git status --porcelain; cat dd/l dd/deep/g"), "f\ng\n");
}

TEST_F(SwitchCheck, KeepsTheDirectoryOfASubmodule) {
  const test::Scratch up;
  sh(up.root(),
     "git init -q && echo s > s && git add s && git -c user.name=t -c user.email=t@localhost "
     "commit -qm s");
  make_branches("git -c protocol.file.allow=always submodule --quiet add " + up.root() + " sub",
                "echo o > o");
  repo_.write("sub/new", "mine\n");
  const std::string before = all();
  const auto refused = git({{"command", "switch"}, {"rev", "other"}});
  EXPECT_THAT(refused.text, StartsWith("switch: sub is a submodule that other does not have"));
  EXPECT_EQ(all(), before);
  sh(root(), "git submodule --quiet deinit -f sub");  // its directory is empty then
  EXPECT_TRUE(git({{"command", "switch"}, {"rev", "other"}}).ok);
}

TEST_F(SwitchCheck, KeepsAStagedChange) {
  make_branches("echo m > c", "echo o > c");
  sh(root(), "echo staged > c && git add c && echo m > c");
  expect_refused("what is staged of c would be lost");
}
TEST_F(SwitchCheck, KeepsAStagedDeletion) {
  make_branches("echo m > c", "echo o > c");
  sh(root(), "git rm -q --cached c");
  expect_refused("what is staged of c would be lost");
}
TEST_F(SwitchCheck, KeepsWhatIsStagedBelowAFileThatComes) {
  make_branches("mkdir dd && echo f > dd/f", "echo o > dd");
  sh(root(), "echo staged > dd/new && git add dd/new && rm dd/new");
  const std::string before = all();
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "other"}}).text,
              HasSubstr("what is staged of dd/new would be lost"));
  EXPECT_EQ(all(), before);
}
TEST_F(SwitchCheck, TakesAlongWhatIsStagedWhereTheBranchesAgree) {
  make_branches("echo m > c", "echo o > c");
  sh(root(),
     "echo staged > a && git add a && echo o > c && git add c && echo new > new && "
     "git add new && echo m > c");
  EXPECT_TRUE(git({{"command", "switch"}, {"rev", "other"}}).ok);
  EXPECT_EQ(sh(root(), "git status --porcelain"), "M  a\nA  new\n");
}

}  // namespace
}  // namespace lares::tools
