#include "daemon/shown/git.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/temporary_directory.h"

namespace lares::shown {
namespace {

namespace fs = std::filesystem;

class RunGit : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::getenv("PATH");
    fs::create_directories(root_ / "repo/bin");
    fs::create_directories(root_ / "repo/.git");
    fs::create_directories(root_ / "repo/sub/bin");
    for (const char* directory : {"repo", "repo/bin", "repo/sub/bin"})
      make_program(root_ / directory / "git");
    fs::create_directory_symlink(root_ / "repo/bin", root_ / "link");
  }
  void TearDown() override { ::setenv("PATH", path_.c_str(), 1); }
  // One that leaves a trace.
  void make_program(const fs::path& path) const {
    std::ofstream(path) << "#!/bin/sh\ntouch " << root_ / "ran"
                        << "\necho another\n";
    ::chmod(path.c_str(), 0755);
  }

  const TemporaryDirectory directory_;
  const fs::path root_ = directory_.path();
  std::string path_;
};

// Commands write there, and git runs outside of their sandbox.
TEST_F(RunGit, TakesNoProgramThatLiesInTheRepository) {
  for (const std::string& first : {std::string("."), std::string("bin"), std::string("./bin/"),
                                   std::string(), (root_ / "repo/bin").string(),
                                   (root_ / "link").string(), (root_ / "repo/sub/../bin").string()})
    for (const char* directory : {"repo", "repo/sub"}) {
      ::setenv("PATH", (first + ":" + path_).c_str(), 1);
      const auto ran = run_git(root_ / directory, {"--version"}, 1000);
      ASSERT_TRUE(ran) << ran.error();
      EXPECT_TRUE(ran->out.starts_with("git version ")) << first << ": " << ran->out;
      EXPECT_FALSE(fs::exists(root_ / "ran")) << first;
    }
}

TEST_F(RunGit, SaysThatThereIsNone) {
  ::setenv("PATH", (root_ / "repo/bin").c_str(), 1);
  const auto ran = run_git(root_ / "repo", {"--version"}, 1000);
  ASSERT_FALSE(ran);
  EXPECT_EQ(ran.error(), "run git: there is no such program in PATH; install git");
}

TEST_F(RunGit, TakesTheUsersOwnProgram) {
  fs::create_directory(root_ / "own");
  make_program(root_ / "own/git");
  ::setenv("PATH", ((root_ / "own").string() + ":" + path_).c_str(), 1);
  const auto ran = run_git(root_ / "repo", {"--version"}, 1000);
  ASSERT_TRUE(ran) << ran.error();
  EXPECT_EQ(ran->out, "another\n");
}

}  // namespace
}  // namespace lares::shown
