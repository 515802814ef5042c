// Repositories as people have them beside the usual one: shallow clones, submodules, borrowed
// objects, replaced commits, and what an index may hold.
#include <gmock/gmock.h>

#include <fmt/format.h>

#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

using test::Git;
using test::sh;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class GitForms : public Git {
 protected:
  void commits(int n) {
    for (int i = 1; i <= n; ++i) {
      repo_.write("a", repo_.read("a") + std::to_string(i) + "\n");
      sh(root(),
         fmt::format("git add -A && GIT_COMMITTER_DATE='2026-01-0{} 12:00' git commit -q -m c{}", i,
                     i));
    }
  }
  test::Scratch other_;
};

TEST_F(GitForms, AShallowClonesHistoryIsToldToItsEnd) {
  repo_.write("old", "old\n");
  commits(4);
  sh(root(),
     "git switch -q -c side HEAD~1 && echo s > s && git add s && git commit -qm s && git "
     "switch -q main && git merge -q --no-edit side");
  sh(other_.root(), "git clone -q --depth 3 file://" + root().string() + " c");
  work_in(other_.at("c"));
  // As whole subjects: an abbreviated id may well read "6c2efbe".
  const auto subjects = [](const std::string& log) {
    std::string out;
    for (const std::string subject : {"c1", "c2", "c3", "c4", "s", "Merge branch 'side'"})
      if (log.find("  " + subject + "\n") != std::string::npos) out += subject + ' ';
    return out;
  };
  const auto log = git({{"command", "log"}});
  EXPECT_EQ(subjects(log.text), "c3 c4 s Merge branch 'side' ") << log.text;
  EXPECT_THAT(log.text, EndsWith("[older commits are not here, for this is a shallow clone]\n"));
  EXPECT_EQ(subjects(git({{"command", "log"}, {"path", "old"}}).text), "c3 ");
  EXPECT_EQ(subjects(git({{"command", "log"}, {"n", 1}}).text), "Merge branch 'side' ");
  const auto blame = git({{"command", "blame"}, {"path", "a"}});
  EXPECT_TRUE(blame.ok) << blame.text;
  const auto id = sh(other_.at("c"), "git rev-parse --short HEAD~2 | tr -d '\\n'");
  EXPECT_THAT(blame.text, StartsWith(id));
  work_in(root().string());
  EXPECT_THAT(git({{"command", "log"}}).text, Not(HasSubstr("shallow")));
}

TEST_F(GitForms, OrderOfAShallowClonesCommitsIsGits) {
  commits(3);
  sh(root(),
     "for b in x y; do git switch -q -c $b main~1 && for i in 1 2; do echo $i > $b && git add "
     "$b && git commit -qm $b$i; done; done; git switch -q main && git merge -q --no-edit x && "
     "git merge -q --no-edit y");
  sh(other_.root(), "git clone -q --depth 5 file://" + root().string() + " c");
  work_in(other_.at("c"));
  EXPECT_EQ(git({{"command", "log"}, {"n", 200}}).text,
            sh(other_.at("c"), "git log --date=short --format='%h %ad %an  %s'") +
                "[older commits are not here, for this is a shallow clone]\n");
}

TEST_F(GitForms, OfReplacedCommitsItIsSaidThatTheyAreNotHeeded) {
  commits(3);
  EXPECT_THAT(git({{"command", "log"}}).text, Not(HasSubstr("heeded")));
  sh(root(), "git replace --graft HEAD~1");
  EXPECT_THAT(git({{"command", "log"}}).text, HasSubstr("refs/replace"));
}

TEST_F(GitForms, OfASubmoduleItIsSaidWhatIsChanged) {
  commits(1);
  sh(other_.root(),
     "git init -q lib && cd lib && git config user.name n && git config user.email n && "
     "echo l > l && git add l && git commit -qm l");
  sh(root(), "git -c protocol.file.allow=always submodule --quiet add " + other_.at("lib") +
                 " lib && git commit -qm sub && git -C lib config user.name n && git -C lib config "
                 "user.email n");
  const auto as_gits = [&] {
    EXPECT_EQ(git({{"command", "status"}}).text, sh(root(), "git status --short --branch"));
  };
  repo_.write("lib/new", "n\n");
  as_gits();
  repo_.write("lib/l", "changed\n");
  as_gits();
  EXPECT_FALSE(git({{"command", "commit"}, {"message", "none"}}).ok);
  sh(root() / "lib", "git add -A && git commit -qm m");
  as_gits();
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "bump"}}).ok);
  EXPECT_EQ(sh(root(), "git status --porcelain && git ls-tree HEAD lib | cut -c1-13"),
            "160000 commit\n");
  sh(root(), "git submodule --quiet deinit -f lib");
  EXPECT_THAT(git({{"command", "status"}}).text, HasSubstr("nothing to commit"));
  repo_.write("a", "more\n");
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "without it"}}).ok);
  EXPECT_EQ(sh(root(), "git ls-tree HEAD lib | cut -c1-13"), "160000 commit\n");
}

TEST_F(GitForms, AFileThatIsOnlyToBeAddedIsNotCommittedEmpty) {
  commits(1);
  repo_.write("new", "text\n");
  repo_.write("gone", "text\n");
  sh(root(), "git add -N new gone && rm gone");
  EXPECT_EQ(git({{"command", "status"}}).text, sh(root(), "git status --short --branch"));
  repo_.write("a", "changed\n");
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "m"}, {"path", "a"}}).ok);
  EXPECT_EQ(sh(root(), "git ls-tree -r --name-only HEAD && git status --short"),
            "a\n D gone\n A new\n");
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "m"}}).ok);
  EXPECT_EQ(sh(root(), "git show HEAD:new && git status --short"), "text\n");
}

// To libgit2 the one file is the other then.
TEST_F(GitForms, NamesThatDifferByTheirCaseAloneAreNotMixedUp) {
  repo_.write("A", "big\n");
  repo_.write("a", "small\n");
  commit_all("first");
  sh(root(), "git config core.ignoreCase true");
  repo_.write("A", "changed\n");
  for (const char* command : {"add", "commit"}) {
    const auto refused = git({{"command", command}, {"message", "m"}});
    EXPECT_FALSE(refused.ok);
    EXPECT_THAT(refused.text, HasSubstr("A and a differ by their case alone"));
  }
  EXPECT_EQ(sh(root(), "git status --short && git show HEAD:a"), " M A\nsmall\n");
  sh(root(), "git rm -q --cached a && git commit -qm 'without a' && rm a");
  ASSERT_TRUE(git({{"command", "commit"}, {"message", "m"}}).ok);
}

TEST_F(GitForms, ObjectsAreFoundInEveryStoreThatIsBorrowedFrom) {
  commits(1);
  std::string stores;
  for (int i = 0; i < 40; ++i) {
    sh(other_.root(), fmt::format("git init -q --bare {}", i));
    stores += other_.at(fmt::format("{}/objects\n", i));
  }
  repo_.write(".git/objects/info/alternates", stores);
  const auto id = sh(other_.at("39"), "echo far | git hash-object -w --stdin | tr -d '\\n'");
  EXPECT_EQ(git({{"command", "show"}, {"rev", id}}).text, "far\n");
  // The first borrows from the others as well, and from itself.
  std::string more = other_.at("0/objects\n");
  for (int i = 0; i < 1100; ++i) {
    std::filesystem::create_directories(other_.at(fmt::format("x{}/pack", i)));
    more += other_.at(fmt::format("x{}\n", i));
  }
  other_.write("0/objects/info/alternates", more);
  EXPECT_THAT(git({{"command", "show"}, {"rev", id}}).text,
              HasSubstr("borrows from more than 1024 object stores"));
}

}  // namespace
}  // namespace lares::tools
