// The git tool goes on with the repository that it opened: what others do to it meanwhile it sees
// at the next call.
#include <gmock/gmock.h>

#include <fmt/format.h>

#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
using test::Git;
using test::sh;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class KeptRepository : public Git {
 protected:
  void SetUp() override {
    Git::SetUp();
    repo_.write("a", "a\n");
    commit_all("first");
    EXPECT_EQ(status(), kClean);
  }
  std::string status() { return git({{"command", "status"}}).text; }
  std::string log() { return git({{"command", "log"}}).text; }

  static constexpr const char* kClean = "## main\nnothing to commit, working tree clean\n";
};

TEST_F(KeptRepository, ACommitAndABranchOfTheUsers) {
  sh(root(), "git commit -q --allow-empty -m theirs");
  EXPECT_THAT(log(), HasSubstr("  theirs\n"));
  sh(root(), "git switch -q -c topic && git commit -q --allow-empty -m more");
  EXPECT_THAT(status(), StartsWith("## topic\n"));
  EXPECT_THAT(log(), HasSubstr("  more\n"));
  sh(root(), "git switch -q main && git branch -q -D topic");
  EXPECT_THAT(git({{"command", "branch"}}).text, Not(HasSubstr("topic")));
  EXPECT_THAT(log(), Not(HasSubstr("  more\n")));
}

TEST_F(KeptRepository, AnIndexThatIsReplaced) {
  for (int i = 0; i < 20; ++i) {  // some within one tick of the clock, and all of one size
    const std::string name = fmt::format("n{:02}", i);
    repo_.write(name, "x\n");
    sh(root(), "git add " + name);
    EXPECT_EQ(status(), fmt::format("## main\nA  {}\n", name));
    sh(root(), "git reset -q && rm " + name);
  }
  EXPECT_EQ(status(), kClean);
}

TEST_F(KeptRepository, AGcAndObjectsThatMoved) {
  for (int i = 0; i < 5; ++i) {
    repo_.write("a", fmt::format("{}\n", i));
    commit_all(fmt::format("number {}", i));
    EXPECT_EQ(git({{"command", "show"}, {"rev", "HEAD:a"}}).text, fmt::format("{}\n", i));
    sh(root(), i % 2 ? "git gc -q --prune=now" : "git repack -q -a -d && git pack-refs --all");
    EXPECT_EQ(git({{"command", "show"}, {"rev", "HEAD:a"}}).text, fmt::format("{}\n", i));
    EXPECT_THAT(log(), HasSubstr(fmt::format("  number {}\n", i)));
  }
  sh(root(), "git commit-graph write --reachable");
  EXPECT_THAT(log(), HasSubstr("  number 4\n"));
  sh(root(),
     "git reset -q --hard HEAD~2 && git reflog expire --expire=now --all && git gc -q "
     "--prune=now");
  EXPECT_THAT(log(), Not(HasSubstr("  number 4\n")));
  EXPECT_EQ(status(), kClean);
  test::Scratch other;
  sh(other.root(), "git init -q --bare b");
  const auto id = sh(other.at("b"), "echo far | git hash-object -w --stdin | tr -d '\\n'");
  EXPECT_FALSE(git({{"command", "show"}, {"rev", id}}).ok);
  repo_.write(".git/objects/info/alternates", other.at("b/objects\n"));
  EXPECT_EQ(git({{"command", "show"}, {"rev", id}}).text, "far\n");
}

TEST_F(KeptRepository, AWorktreeThatIsAddedAndRemoved) {
  test::Scratch other;
  sh(root(), "git branch topic");
  sh(root(), "git worktree add -q " + other.at("w") + " topic");
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "topic"}}).text,
              HasSubstr("checked out in another worktree"));
  sh(root(), "git worktree remove " + other.at("w"));
  EXPECT_THAT(git({{"command", "switch"}, {"rev", "topic"}}).text, StartsWith("switched to topic"));
}

TEST_F(KeptRepository, SettingsThatChange) {
  const auto author = [&] {
    repo_.write("a", repo_.read("a") + "more\n");
    EXPECT_TRUE(git({{"command", "commit"}, {"message", "m"}}).ok);
    return sh(root(), "git log -1 --format=%an");
  };
  sh(root(), "git config user.name One");
  EXPECT_EQ(author(), "One\n");
  repo_.write(".git/more", "[user]\n\tname = Two\n");
  sh(root(), "git config include.path more");
  EXPECT_EQ(author(), "Two\n");
  repo_.write(".git/more", "[user]\n\tname = Ten\n");
  EXPECT_EQ(author(), "Ten\n");
  sh(root(), "git config extensions.worktreeConfig true && git config --worktree user.name Four");
  EXPECT_EQ(author(), "Four\n");
  sh(root(), "git config --worktree user.name Five");
  EXPECT_EQ(author(), "Five\n");
  sh(root(), "git config --worktree --unset user.name");
  EXPECT_EQ(author(), "Ten\n");
  repo_.write("a", "a\r\n");
  EXPECT_THAT(git({{"command", "diff"}}).text, HasSubstr("+a\r\n"));
  repo_.write(".git/more", "[core]\n\tautocrlf = true\n");
  EXPECT_THAT(git({{"command", "diff"}}).text, Not(HasSubstr("+a\r\n")));
  sh(root(), "git config core.bare true");
  EXPECT_THAT(status(), HasSubstr("is a bare repository"));
  sh(root(),
     "git config core.bare false && git config core.repositoryFormatVersion 1 && git "
     "config extensions.refStorage reftable");
  EXPECT_THAT(status(), HasSubstr("reftable"));
}

TEST_F(KeptRepository, AnotherRepositoryInItsPlace) {
  fs::remove_all(root() / ".git");
  EXPECT_THAT(status(), HasSubstr("is not a git repository"));
  sh(root(), "git init -q -b new");
  EXPECT_EQ(status(), "## No commits yet on new\n?? a\n");
  test::Scratch other;
  sh(other.root(),
     "git init -q -b far && git -c user.name=n -c user.email=e commit -q --allow-empty -m far");
  fs::remove_all(root() / ".git");
  fs::rename(other.at(".git"), root() / ".git");
  EXPECT_THAT(log(), HasSubstr("  far\n"));
  fs::rename(root() / ".git", other.at("elsewhere"));
  repo_.write(".git", "gitdir: " + other.at("elsewhere") + "\n");
  EXPECT_THAT(log(), HasSubstr("  far\n"));
  sh(other.root(), "git init -q -b third third");
  repo_.write(".git", "gitdir: " + other.at("third/.git") + "\n");
  EXPECT_THAT(status(), StartsWith("## No commits yet on third\n"));
}

TEST_F(KeptRepository, ANearerRepository) {
  repo_.write("sub/b", "b\n");
  commit_all("second");
  work_in((root() / "sub").string());
  EXPECT_EQ(status(), kClean);
  sh(root() / "sub", "git init -q -b inner");
  EXPECT_EQ(status(), "## No commits yet on inner\n?? b\n");
  fs::remove_all(root() / "sub/.git");
  EXPECT_EQ(status(), kClean);
}

}  // namespace
}  // namespace lares::tools
