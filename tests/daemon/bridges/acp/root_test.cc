#include "daemon/bridges/acp/root.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "tests/temporary_directory.h"

namespace lares::cli::acp {
namespace {

namespace fs = std::filesystem;

// A repository at real/repo, with a folder in it, a link to it and one from inside it.
class AcpRoot : public testing::Test {
 protected:
  AcpRoot() {
    fs::create_directories(home_ / "real/repo/sub/sub");
    fs::create_directory_symlink(home_ / "real/repo", home_ / "link");
    fs::create_directory_symlink("sub/sub", home_ / "real/repo/inside");
  }

  std::string at(const char* path) const { return home_ / path; }
  Root opened(const char* cwd) const { return Root(at("real/repo"), at(cwd)); }

  const TemporaryDirectory directory_;
  const fs::path home_ = directory_.path();
};

TEST_F(AcpRoot, IsWhatTheEditorOpened) {
  for (const char* cwd : {"link", "link/", "link/sub", "link/sub/sub/", "link/sub/../sub"})
    EXPECT_EQ(opened(cwd).opened(), at("link")) << cwd;
  for (const char* cwd : {"real/repo", "real/repo/sub", "real/repo/inside", "link/inside", "gone"})
    EXPECT_EQ(opened(cwd).opened(), at("real/repo")) << cwd;
}

TEST_F(AcpRoot, NamesItsPathsAsTheEditorDoes) {
  const Root root = opened("link/sub");
  for (const auto& path : {std::string("a/b"), at("real/repo/a/b"), at("link/a/b")}) {
    EXPECT_EQ(root.as_opened(path), at("link/a/b")) << path;
    EXPECT_EQ(root.below(path), "a/b") << path;
  }
  for (const auto& path : {std::string(), at("real/repo"), at("link")}) {
    EXPECT_EQ(root.as_opened(path), at("link")) << path;
    EXPECT_EQ(root.below(path), ".") << path;
  }
  for (const auto& path : {at("real/repository"), at("linked/a"), std::string("/etc/passwd")}) {
    EXPECT_EQ(root.as_opened(path), path);
    EXPECT_EQ(root.below(path), path);
  }
}

}  // namespace
}  // namespace lares::cli::acp
