#include "tools/git/index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

using git::IndexToWrite;
using test::Git;
using test::sh;
using testing::HasSubstr;

class GitIndex : public Git {
 protected:
  void SetUp() override {
    Git::SetUp();
    repo_.write("a", "a\n");
    repo_.write("d/b", "b\n");
    commit_all("first");
    repo_.write("mine", "mine\n");
    repo_.write("d/b", "B\n");
  }
  git::GitResult<git::Opened> opened() { return git::open_repository(root().string()); }
};

TEST_F(GitIndex, NobodyStagesWhatWouldBeWrittenOver) {
  const auto repo = opened();
  {
    auto index = IndexToWrite::open(repo->repo.get());
    ASSERT_TRUE(index) << index.error();
    EXPECT_THAT(sh(root(), "! git add mine"), HasSubstr("index.lock"));
    EXPECT_FALSE(IndexToWrite::open(opened()->repo.get()));
    ASSERT_EQ(git_index_add_bypath(index->get(), "d/b"), 0);
    ASSERT_TRUE(index->write());
    sh(root(), "git add mine");
  }
  EXPECT_EQ(sh(root(), "git status --porcelain && ls .git | grep -E 'lock|tmp' || true"),
            "M  d/b\nA  mine\n");
}
TEST_F(GitIndex, LeavesNothingBehindThatIsNotWritten) {
  const std::string before = repo_.read(".git/index");
  const auto repo = opened();
  {
    auto index = IndexToWrite::open(repo->repo.get());
    ASSERT_EQ(git_index_add_bypath(index->get(), "mine"), 0);
  }
  EXPECT_EQ(repo_.read(".git/index"), before);
  EXPECT_EQ(sh(root(), "ls .git | grep -E 'lock|tmp' || true"), "");
  git_index* raw = nullptr;
  ASSERT_EQ(git_repository_index(&raw, repo->repo.get()), 0);
  EXPECT_EQ(git_index_entrycount(git::Index(raw).get()), 2u);
}
TEST_F(GitIndex, KeepsWhatItHasBesideItsEntries) {
  sh(root(), "git update-index --index-version 4 && git write-tree");
  ASSERT_THAT(repo_.read(".git/index"), HasSubstr("TREE"));
  const auto repo = opened();
  auto index = IndexToWrite::open(repo->repo.get());
  ASSERT_EQ(git_index_add_bypath(index->get(), "d/b"), 0);
  ASSERT_TRUE(index->write());
  const std::string after = repo_.read(".git/index");
  EXPECT_EQ(after.substr(4, 4), std::string("\0\0\0\4", 4));
  EXPECT_THAT(after, HasSubstr("TREE"));
  EXPECT_EQ(sh(root(), "git status --porcelain && git fsck"), "M  d/b\n?? mine\n");
}

}  // namespace
}  // namespace lares::tools
