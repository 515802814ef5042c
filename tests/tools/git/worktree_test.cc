#include "tools/git/worktree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

using test::Git;
using test::sh;
using testing::ElementsAre;

class Worktrees : public Git {
 protected:
  std::string add() {
    const std::string path = there_.at("w");
    EXPECT_TRUE(
        add_worktree({.repository = root().string(), .path = path, .name = "w", .branch = "w"}));
    return path;
  }
  test::Scratch there_;
};

TEST_F(Worktrees, SayWhatIsUncommitted) {
  repo_.write("a", "a\n");
  repo_.write("b", "b\n");
  repo_.write(".gitignore", "*.o\n");
  commit_all("first");
  const std::string path = add();
  EXPECT_FALSE(look_at_worktree(path)->uncommitted);
  sh(path, "echo o > x.o");
  EXPECT_FALSE(look_at_worktree(path)->uncommitted);
  sh(path, "echo A > a && git rm -q --cached b && mkdir -p d/e && echo n > d/e/n");
  const auto look = look_at_worktree(path);
  EXPECT_TRUE(look->uncommitted);
  EXPECT_THAT(look->paths, ElementsAre("a", "b", "d/"));
}

// Git, too, removes none by itself: their commits may be nowhere else.
TEST_F(Worktrees, CountASubmoduleThatWasInitialised) {
  const test::Scratch up;
  sh(up.root(),
     "git init -q && echo s > s && git add s && git -c user.name=t -c user.email=t@localhost "
     "commit -qm s");
  sh(root(), "git -c protocol.file.allow=always submodule --quiet add " + up.root() + " sub");
  commit_all("first");
  const std::string path = add();
  EXPECT_FALSE(look_at_worktree(path)->uncommitted);
  sh(path, "git -c protocol.file.allow=always submodule --quiet update --init");
  sh(path, "! git worktree remove .");
  EXPECT_THAT(look_at_worktree(path)->paths, ElementsAre("sub/"));
}

}  // namespace
}  // namespace lares::tools
