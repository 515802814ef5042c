// A file system that knows no flags of rename, as many network ones.
#include <gtest/gtest.h>
#include <stdio.h>

#include <cerrno>

#include "tests/tools/scratch.h"
#include "tools/workspace/rooted_fs.h"

// In the place of the C library's.
extern "C" int renameat2(int, const char*, int, const char*, unsigned) noexcept {
  errno = EINVAL;
  return -1;
}

namespace lares::tools {
namespace {

TEST(NoRenameFlags, AFileIsMadeAllTheSame) {
  const test::Scratch scratch;
  const auto fs = RootedFs::open(scratch.root());
  const auto made = fs->create("d/new", "text\n");
  ASSERT_TRUE(made) << made.error();
  EXPECT_EQ(scratch.read("d/new"), "text\n");
  EXPECT_FALSE(fs->create("d/new", "other\n"));
  EXPECT_EQ(scratch.read("d/new"), "text\n");
}

}  // namespace
}  // namespace lares::tools
