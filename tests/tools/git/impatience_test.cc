#include "tools/git/impatience.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "tests/tools/scratch.h"

namespace lares::tools::git {
namespace {

TEST(Impatience, EndsAWaitForWhoeverWritesToAPipe) {
  const test::Scratch dir;
  const auto pipe = dir.at("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (int i = 0; i < 2; ++i) {
    const Impatience here;
    EXPECT_EQ(::open(pipe.c_str(), O_RDONLY | O_CLOEXEC), -1);
    EXPECT_EQ(errno, EINTR);
  }
}

TEST(Impatience, LastsAsLongAsTheOutermost) {
  const test::Scratch dir;
  const auto pipe = dir.at("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const Impatience here;
  { const Impatience again; }
  EXPECT_EQ(::open(pipe.c_str(), O_RDONLY | O_CLOEXEC), -1);
  EXPECT_EQ(errno, EINTR);
}

}  // namespace
}  // namespace lares::tools::git
