// What git says of a tree in which a command puts other things in the place of what was looked at.
#include "tools/git/view.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <string>

#include "tests/tools/git/git_case.h"
#include "tools/workspace/tree_listing.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;

using View = test::Git;

// Whoever waits for somebody to write to `pipe` is let go then, so that a test ends.
bool ends(const std::string& pipe, const std::function<void()>& work) {
  auto done = std::async(std::launch::async, work);
  const bool ended = done.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  while (!ended && done.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
    const int fd = ::open(pipe.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) ::close(fd);
  }
  return ended;
}

// A job in the background may make them of a repository that a command has made.
TEST_F(View, PipesInAGitDirectoryHoldNobodyUp) {
  repo_.write("a", "a\n");
  commit_all("first");
  for (const char* name : {"config", "HEAD", "commondir", "info/exclude"}) {
    const auto pipe = (root() / ".git" / name).string();
    if (fs::exists(pipe)) fs::rename(pipe, pipe + ".kept");
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_TRUE(ends(pipe, [&] { (void)GitView::open(root()); })) << name;
    EXPECT_TRUE(ends(pipe, [&] { (void)TreeLister(root()).list(); })) << name;
    if (name != std::string("info/exclude")) {  // which the tool waits for as long as for anything
      EXPECT_TRUE(ends(pipe, [&] { (void)git({{"command", "status"}}); })) << name;
    }
    fs::remove(pipe);
    if (fs::exists(pipe + ".kept")) fs::rename(pipe + ".kept", pipe);
  }
  EXPECT_EQ(TreeLister(root()).list()->files.size(), 1u);
}

TEST_F(View, RulesThatBecomeAPipeHoldNobodyUp) {
  repo_.write("a", "a\n");
  repo_.write(".gitignore", "b\n");
  commit_all("first");
  repo_.write("c", "c\n");
  const auto view = GitView::open(root());
  ASSERT_TRUE(view);
  const auto pipe = (root() / ".gitignore").string();
  fs::remove(pipe);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(ends(pipe, [&] { (void)view->ignored("c", false); }));
  const auto attributes = (root() / ".gitattributes").string();
  ASSERT_EQ(::mkfifo(attributes.c_str(), 0600), 0);
  EXPECT_TRUE(ends(attributes, [&] { (void)view->attributes("c"); }));
}

// Where a job leads it elsewhere between two looks, what is there is not told.
TEST_F(View, OfAnothersRepositoryNoNameIsTold) {
  const test::Scratch other;
  other.write("payroll", "x\n");
  other.write("a", "x\n");
  test::sh(other.root(),
           "git init -q && git add . && git -c user.name=a -c user.email=a@b "
           "commit -q -m private && echo 'c*' > .git/info/exclude");
  fs::remove_all(root() / ".git");
  repo_.write(".git", "gitdir: " + other.at(".git") + "\n");
  for (const char* name : {"a", "b", "c"}) repo_.write(name, "mine\n");
  const auto tree = TreeLister(root()).list();
  ASSERT_TRUE(tree);
  for (const auto& file : tree->files) EXPECT_TRUE(fs::exists(root() / file.path)) << file.path;
}

}  // namespace
}  // namespace lares::tools
