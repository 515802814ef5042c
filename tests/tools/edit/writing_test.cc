// How an edit comes to the disk: whole or not at all, as the file was.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "tests/tools/edit/edit_case.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;

TEST_F(Edit, ModeLineEndsBomAndFinalNewlineStay) {
  const auto path = dir_.write("run.sh", "\xef\xbb\xbf#!/bin/sh\r\necho a\r\necho b");
  fs::permissions(path, fs::perms(0755));
  const bool xattr = ::setxattr(path.c_str(), "user.note", "kept", 4, 0) == 0;
  EXPECT_EQ(view(path).text, "     1  #!/bin/sh\n     2  echo a\n     3  echo b\n");
  const auto out = replace(path, "echo a\necho b", "echo c\necho b");
  EXPECT_TRUE(out.ok);
  EXPECT_EQ(dir_.read("run.sh"), "\xef\xbb\xbf#!/bin/sh\r\necho c\r\necho b");
  EXPECT_EQ(out.changes.at(0).after, blob_sha(dir_.read("run.sh")));
  // What a scan calls it
  EXPECT_EQ(out.changes.at(0).shown, blob_sha("#!/bin/sh\necho c\necho b"));
  struct stat st {};
  ::stat(path.c_str(), &st);
  EXPECT_EQ(st.st_mode & 07777, 0755u);
  char value[8] = {};
  if (xattr) {
    EXPECT_EQ(::getxattr(path.c_str(), "user.note", value, sizeof value), 4);
  }
}

TEST_F(Edit, ReadOnlyFileIsRefused) {
  const auto path = dir_.write("a", "1\n");
  fs::permissions(path, fs::perms(0444));
  EXPECT_NE(replace(path, "1", "2").text.find("read-only (mode 0444)"), std::string::npos);
  EXPECT_EQ(dir_.read("a"), "1\n");
}

TEST_F(Edit, HardLinksStayOneFile) {
  const auto path = dir_.write("a", "1234\n");
  fs::create_hard_link(path, dir_.at("b"));
  EXPECT_TRUE(replace(path, "1234", "2").ok);
  EXPECT_EQ(dir_.read("b"), "2\n");
}

// As a full disk: the write fails half-way.
TEST_F(Edit, AWriteThatFailsLeavesTheFileAndNothingElse) {
  const std::string old = "one\n" + std::string(100, 'x');
  const auto path = dir_.write("a", old);
  struct rlimit was {};
  ::getrlimit(RLIMIT_FSIZE, &was);
  ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 512, was.rlim_max };
  ::setrlimit(RLIMIT_FSIZE, &small);
  const Outcome edited = replace(path, "one", std::string(5000, 'y')),
                made = run({{"command", "create"},
                            {"path", dir_.at("b")},
                            {"file_text", std::string(5000, 'y')}});
  ::setrlimit(RLIMIT_FSIZE, &was);
  EXPECT_EQ(edited.text,
            "The file " + path + " could not be written: File too large. Nothing was changed.");
  EXPECT_FALSE(made.ok);
  EXPECT_EQ(dir_.read("a"), old);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_.root()), {}), 1);
  EXPECT_TRUE(replace(path, "one", "two").ok);
}

// In a thread of its own, where this call of the system's fails.
bool without(int system_call, int error, const std::function<void()>& work) {
  bool denied = false;
  std::thread([&] {
    sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(system_call), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog filter{4, steps};
    denied = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
             ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
    if (denied) work();
  }).join();
  return denied;
}

// As a full disk.
class EditInPlace : public Edit {
 protected:
  void SetUp() override {
    fs::create_hard_link(path_, dir_.at("b"));
    ::getrlimit(RLIMIT_FSIZE, &was_);
    ::signal(SIGXFSZ, SIG_IGN);
  }
  void TearDown() override { ::setrlimit(RLIMIT_FSIZE, &was_); }
  Outcome grow() {
    const struct rlimit small { 512, was_.rlim_max };
    ::setrlimit(RLIMIT_FSIZE, &small);
    auto out = replace(path_, "one", std::string(5000, 'y'));
    ::setrlimit(RLIMIT_FSIZE, &was_);
    return out;
  }
  void expect_nothing_changed(const Outcome& out) {
    EXPECT_EQ(out.text,
              "The file " + path_ + " could not be written: File too large. Nothing was changed.");
    EXPECT_EQ(dir_.read("a"), old_);
    EXPECT_EQ(dir_.read("b"), old_);
    EXPECT_EQ(fs::hard_link_count(path_), 2u);
  }
  const std::string old_ = "one\n" + std::string(100, 'x');
  const std::string path_ = dir_.write("a", old_);
  struct rlimit was_ {};
};

TEST_F(EditInPlace, AWriteThatFailsLeavesTheFile) {
  expect_nothing_changed(grow());
  EXPECT_TRUE(replace(path_, "one", "two").ok);
}

TEST_F(EditInPlace, TheRoomIsThereBeforeTheFirstByteIsWritten) {
  if (!without(SYS_write, EIO, [&] { expect_nothing_changed(grow()); }))
    GTEST_SKIP() << "no seccomp here";
}

TEST_F(EditInPlace, WhereNoRoomCanBeReservedTheOldBytesArePutBack) {
  if (!without(SYS_fallocate, ENOSYS, [&] { expect_nothing_changed(grow()); }))
    GTEST_SKIP() << "no seccomp here";
}

TEST_F(EditInPlace, WhatCannotBePutBackIsSaid) {
  const auto shrink = [&] {
    EXPECT_EQ(replace(path_, "one", "1").text,
              "The file " + path_ +
                  " may be partly written now, view it; it could not be written: "
                  "Input/output error.");
  };
  if (!without(SYS_ftruncate, EIO, shrink)) GTEST_SKIP() << "no seccomp here";
}

TEST_F(Edit, KilledAtAnyMomentTheFileIsTheOldOrTheNewOne) {
  std::string rest;
  for (int i = 0; i < 5000; ++i) rest += "a line that stays as it is\n";
  const auto path = dir_.write("f", "old\n" + rest);
  for (int i = 0; i < 25; ++i) {
    int begun[2];
    ASSERT_EQ(::pipe(begun), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) {
        replace(path, "old\n", "new\nand longer\n");
        replace(path, "new\nand longer\n", "old\n");
        (void)!::write(begun[1], "x", 1);
      }
    }
    char byte = 0;
    EXPECT_EQ(::read(begun[0], &byte, 1), 1);
    ::usleep(static_cast<useconds_t>(977 * i));  // somewhere in one of the next edits
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(begun[0]);
    ::close(begun[1]);
    const std::string now = dir_.read("f");
    ASSERT_TRUE(now == "old\n" + rest || now == "new\nand longer\n" + rest) << now.size();
    dir_.write("f", "old\n" + rest);
  }
}

TEST_F(Edit, NoTemporaryIsLeft) {
  const auto path = dir_.write("a", "1\n");
  replace(path, "1", "2");
  replace(path, "nothing", "3");
  int n = 0;
  for (const auto& entry : fs::directory_iterator(dir_.root())) n += entry.path().filename() != "a";
  EXPECT_EQ(n, 0);
}

TEST_F(Edit, ReplaceFailsWhenTheFileChangedAfterTheRead) {
  dir_.write("a", "1\n");
  const auto rooted = RootedFs::open(dir_.root());
  const auto data = rooted->read("a");
  dir_.write("a", "22\n");
  EXPECT_FALSE(rooted->replace(*data, "x"));
  EXPECT_EQ(dir_.read("a"), "22\n");
}

// As the umask has it, which is read and never changed: other threads make files too.
TEST_F(Edit, NewFilesHaveTheModeOfTheUmask) {
  for (const mode_t mask : {mode_t{022}, mode_t{077}, mode_t{0}}) {
    const mode_t before = ::umask(mask);
    const std::string path = dir_.at(fmt::format("new{:o}", mask));
    EXPECT_TRUE(run({{"command", "create"}, {"path", path}, {"file_text", "x\n"}}).ok);
    struct stat st {};
    EXPECT_EQ(::stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0666u & ~mask);
    EXPECT_EQ(::umask(before), mask);
  }
}

}  // namespace
}  // namespace lares::tools
