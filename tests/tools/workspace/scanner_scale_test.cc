// A tree of 100,000 files, without git and with it: bounded, and quick to look at again. Prints
// what it took.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>

#include "tests/tools/git/git_command.h"
#include "tests/tools/scratch.h"
#include "tools/workspace/scanner.h"

namespace lares::tools {
namespace {

constexpr int kFiles = 100'000, kDirectories = 400;

void fill(const std::string& root) {
  for (int d = 0; d < kDirectories; ++d) {
    const std::string directory = root + "/d" + std::to_string(d);
    ASSERT_EQ(::mkdir(directory.c_str(), 0755), 0);
    for (int i = 0; i < kFiles / kDirectories; ++i) {
      const int fd = ::open((directory + "/f" + std::to_string(i) + ".c").c_str(),
                            O_WRONLY | O_CREAT, 0644);
      const std::string text = "int f" + std::to_string(d) + "_" + std::to_string(i) + ";\n";
      ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
      ::close(fd);
    }
  }
}

// A scan that reads `n_read` files. The bound is many times what it takes, for machines that do
// something else as well.
void timed(const char* what, Scanner& scanner, std::size_t n_read) {
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t cpu = std::clock();
  const auto done = scanner.scan();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                      std::chrono::steady_clock::now() - start)
                      .count();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_GE(scanner.files().size(), static_cast<std::size_t>(kFiles));
  EXPECT_EQ(scanner.figures().n_read, n_read) << what;
  EXPECT_LT(ms, 60'000) << what;
  std::printf("%-20s %6ld ms, %6ld ms of CPU\n", what, static_cast<long>(ms),
              static_cast<long>((std::clock() - cpu) * 1000 / CLOCKS_PER_SEC));
}

TEST(ScannerScale, AHundredThousandFiles) {
  if (::access("/dev/shm", W_OK) == 0)
    ::setenv("TMPDIR", "/dev/shm", 1);  // the disk is not what is measured
  test::Scratch dir;
  fill(dir.root());
  ::sleep(3);  // until nothing is too fresh to be trusted
  Scanner plain({dir.root(), {}});
  timed("no git, first", plain, kFiles);
  timed("no git, again", plain, 0);
  test::git(dir.root(), "init -q");
  dir.write(".gitignore", "*.o\nbuild/\n");
  ::sleep(3);
  Scanner scanner({dir.root(), {}});
  timed("untracked, first", scanner, kFiles + 1);
  timed("untracked, again", scanner, 0);
  test::git(dir.root(), "add .");
  timed("tracked, again", scanner, 0);
}

}  // namespace
}  // namespace lares::tools
