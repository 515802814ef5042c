#include "sandbox/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "tests/temporary_directory.h"

namespace lares::sandbox::test {
namespace {

namespace fs = std::filesystem;

// As on a kernel that has none; of the calling thread.
void forbid_openat2() {
  const sock_filter rows[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(rows), const_cast<sock_filter*>(rows)};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

class Beneath : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(top_ / "root/dir/deep");
    std::ofstream(top_ / "root/dir/file") << "inside";
    std::ofstream(top_ / "secret") << "outside";
    fs::create_symlink("dir", top_ / "root/link");
    fs::create_symlink("..", top_ / "root/up");
    fs::create_symlink(top_ / "secret", top_ / "root/away");
    fs::create_symlink("/proc/self/fd", top_ / "root/magic");
    root_ = Fd(::open((top_ / "root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(root_);
  }
  bool opens(const std::string& path, Links links, int flags = O_RDONLY) const {
    return static_cast<bool>(open_beneath(root_.get(), path, flags, links));
  }
  // Whether there is openat2 or not.
  void expect_no_way_out() const {
    for (const auto links : {Links::refused, Links::followed}) {
      for (const char* path : {"..", "../secret", "dir/../../secret", "up", "up/secret", "away",
                               "/etc/passwd", "magic/0", "dir/file/..", "nothing"})
        EXPECT_FALSE(opens(path, links)) << path;
      for (const char* path : {"", "dir", "dir/file", "dir//file", "dir/deep/", "./dir/./file"})
        EXPECT_TRUE(opens(path, links)) << path;
      EXPECT_FALSE(opens("dir/file", links, O_RDONLY | O_DIRECTORY));
      EXPECT_TRUE(opens("dir", links, O_PATH | O_DIRECTORY));
    }
    EXPECT_FALSE(opens("link", Links::refused));
    EXPECT_FALSE(opens("link/file", Links::refused));
    const Fd file = open_beneath(root_.get(), "dir/file", O_RDONLY, Links::refused);
    EXPECT_TRUE(::fcntl(file.get(), F_GETFD) & FD_CLOEXEC);
    const Fd made = open_beneath(root_.get(), "dir/new", O_WRONLY | O_CREAT | O_EXCL,
                                 Links::refused, 0600);
    struct stat status {};
    ASSERT_EQ(::fstat(made.get(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u);
    fs::remove(top_ / "root/dir/new");
  }

  const TemporaryDirectory made_;
  const fs::path top_ = made_.path();
  Fd root_;
};

TEST_F(Beneath, NothingLeadsOut) {
  expect_no_way_out();
  EXPECT_TRUE(opens("link/file", Links::followed));
}

TEST_F(Beneath, WithoutTheSystemCallNeither) {
  std::thread([&] {
    forbid_openat2();
    expect_no_way_out();
    EXPECT_FALSE(opens("link/file", Links::followed));
  }).join();
}

}  // namespace
}  // namespace lares::sandbox::test
