#include "tools/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/temporary_directory.h"
#include "tools/fd.h"

namespace {

std::string watched;            // a file
std::vector<std::string> seen;  // what it held when something was synced, and what that was

std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

// In the place of the C library's.
extern "C" int fsync(int fd) {
  struct stat st {};
  ::fstat(fd, &st);
  seen.push_back(text_of(watched) +
                 (S_ISDIR(st.st_mode) ? ", directory" : ", " + std::to_string(st.st_size)));
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

TEST(AtomicFile, KnowsItsOwnTemporariesFromFilesOfOthers) {
  EXPECT_TRUE(is_temporary_name(temporary_name()));
  EXPECT_TRUE(is_temporary_name(".lares-0123456789abcdef.tmp"));
  for (const char* other :
       {".lares-notes.tmp", ".lares-.tmp", ".lares-0123456789ABCDEF.tmp", ".lares-.tmp.tmp",
        ".lares-0123456789abcdef0.tmp", ".lares-0123456789abcdef", "x.lares-0123456789abcdef.tmp"})
    EXPECT_FALSE(is_temporary_name(other)) << other;
}

TEST(AtomicFile, IsOnTheDiskBeforeItTakesItsPlaceAndLeavesNothing) {
  const TemporaryDirectory made;
  const fs::path directory = made.path();
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  watched = directory / "a";
  EXPECT_EQ(put_file(fd.get(), "a", "one"), 0);
  EXPECT_EQ(put_file(fd.get(), "a", "other"), 0);
  EXPECT_THAT(seen, ElementsAre(", 3", "one, directory", "one, 5", "other, directory"));
  EXPECT_EQ(text_of(watched), "other");
  fs::create_directory(directory / "taken");
  EXPECT_NE(put_file(fd.get(), "taken", "x"), 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(directory), fs::directory_iterator()), 2);
}

}  // namespace
}  // namespace lares::tools
