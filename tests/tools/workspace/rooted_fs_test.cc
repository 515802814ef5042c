// Writing a file that others may write too: what they wrote stays at whatever moment it was,
// nothing is left behind, and what is written is on the disk before it takes the file's place.
#include "tools/workspace/rooted_fs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/temporary_directory.h"

namespace {

// Called before the file system is; one that is called is not called again.
std::function<void()> before_rename, before_second_rename;
std::function<void(int)> before_sync;
// As for a user who may give a file to a group of theirs, and to no other user.
bool no_owner_given = false;

}  // namespace

// In the place of the C library's.
extern "C" int renameat2(int from_dir, const char* from, int to_dir, const char* to,
                         unsigned flags) noexcept {
  if (before_rename)
    std::exchange(before_rename, nullptr)();
  else if (before_second_rename)
    std::exchange(before_second_rename, nullptr)();
  return static_cast<int>(::syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
}
extern "C" int fsync(int fd) {
  if (before_sync) before_sync(fd);
  return static_cast<int>(::syscall(SYS_fsync, fd));
}
extern "C" int fchown(int fd, uid_t owner, gid_t group) noexcept {
  if (no_owner_given && owner != static_cast<uid_t>(-1)) return errno = EPERM, -1;
  return static_cast<int>(::syscall(SYS_fchown, fd, owner, group));
}

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kChanged = "was changed by someone else meanwhile";

class RootedFsTest : public ::testing::Test {
 protected:
  RootedFsTest() {
    fs::create_directory(root_);
    fs_.emplace(RootedFs::open(root_).value());
  }
  ~RootedFsTest() override {
    before_rename = before_second_rename = nullptr;
    before_sync = nullptr;
  }
  // As a program that opens the file and writes it.
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(root_ / name, std::ios::binary) << text;
  }
  // As an editor that puts another file in its place.
  void replace_whole(const std::string& name, const std::string& text) const {
    write(name + "~", text);
    fs::rename(root_ / (name + "~"), root_ / name);
  }
  std::string read(const std::string& name) const {
    std::ifstream in(root_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(root_)) out.push_back(entry.path().filename());
    std::ranges::sort(out);
    return out;
  }
  // "": it was replaced.
  std::string replace(const FileData& was, const std::string& text) const {
    const auto done = fs_->replace(was, text);
    return done ? "" : done.error();
  }

  const TemporaryDirectory directory_;
  const fs::path root_ = directory_ / "root";
  std::optional<RootedFs> fs_;
};

TEST_F(RootedFsTest, AFileStaysWhatItIsBesideItsText) {
  write("a", "one");
  ::chmod((root_ / "a").c_str(), 0751);
  const bool has_xattrs = ::setxattr((root_ / "a").c_str(), "user.lares", "x", 1, 0) == 0;
  EXPECT_EQ(replace(fs_->read("a").value(), "two"), "");
  EXPECT_EQ(read("a"), "two");
  struct stat st {};
  ASSERT_EQ(::stat((root_ / "a").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0751u);
  char value = 0;
  if (has_xattrs) {
    EXPECT_EQ(::getxattr((root_ / "a").c_str(), "user.lares", &value, 1), 1);
  }
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(RootedFsTest, AllNamesOfAFileStayOne) {
  write("a", "a longer text");
  fs::create_hard_link(root_ / "a", root_ / "b");
  EXPECT_EQ(replace(fs_->read("a").value(), "short"), "");
  EXPECT_EQ(read("a"), "short");
  EXPECT_EQ(read("b"), "short");
  EXPECT_EQ(fs::hard_link_count(root_ / "a"), 2u);
}

// Of a team's file, 0664 and their group's, which each of them edits.
TEST_F(RootedFsTest, OwnerAndGroupStayWhereTheyCannotBeGiven) {
  constexpr uid_t kOther = 54321, kTeam = 54322;
  if (::geteuid() != 0) GTEST_SKIP() << "only root makes files of others";
  struct stat was {
  }, now{};
  for (const uid_t owner : {kOther, ::geteuid()}) {
    write("a", "a longer text");
    ASSERT_EQ(::chown((root_ / "a").c_str(), owner, kTeam), 0);
    ASSERT_EQ(::chmod((root_ / "a").c_str(), 0664), 0);
    ASSERT_EQ(::stat((root_ / "a").c_str(), &was), 0);
    no_owner_given = true;
    EXPECT_EQ(replace(fs_->read("a").value(), "short"), "");
    no_owner_given = false;
    EXPECT_EQ(read("a"), "short");
    ASSERT_EQ(::stat((root_ / "a").c_str(), &now), 0);
    EXPECT_EQ(now.st_uid, owner);
    EXPECT_EQ(now.st_gid, kTeam);
    EXPECT_EQ(now.st_mode & 07777, 0664u);
    EXPECT_EQ(now.st_ino == was.st_ino, owner == kOther) << "in place, or whole";
    EXPECT_THAT(names(), ElementsAre("a"));
  }
}

TEST_F(RootedFsTest, AReadOnlyFileIsNotReplaced) {
  write("a", "one");
  ::chmod((root_ / "a").c_str(), 0444);
  EXPECT_THAT(replace(fs_->read("a").value(), "two"), HasSubstr("read-only"));
  EXPECT_EQ(read("a"), "one");
}

TEST_F(RootedFsTest, WhatChangedSinceItWasReadStays) {
  write("a", "one");
  const auto was = fs_->read("a").value();
  replace_whole("a", "their");
  EXPECT_THAT(replace(was, "two"), HasSubstr(kChanged));
  EXPECT_FALSE(fs_->remove(was));
  EXPECT_EQ(read("a"), "their");
  fs::create_hard_link(root_ / "a", root_ / "b");  // which is written in place
  const auto linked = fs_->read("a").value();
  write("b", "theirs again");
  EXPECT_THAT(replace(linked, "two"), HasSubstr(kChanged));
  EXPECT_EQ(read("a"), "theirs again");
}

TEST_F(RootedFsTest, WhatChangesWhileItIsWrittenStays) {
  write("a", "one");
  const auto was = fs_->read("a").value();
  before_sync = [this](int) {
    before_sync = nullptr;
    replace_whole("a", "their");
  };
  EXPECT_THAT(replace(was, "two"), HasSubstr(kChanged));
  EXPECT_EQ(read("a"), "their");
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(RootedFsTest, WhatChangesInTheLastMomentStays) {
  write("a", "one");
  const auto was = fs_->read("a").value();
  before_rename = [this] { replace_whole("a", "their"); };
  EXPECT_THAT(replace(was, "two"), HasSubstr(kChanged));
  EXPECT_EQ(read("a"), "their");
  EXPECT_THAT(names(), ElementsAre("a"));

  write("b", "one");
  const auto same_size = fs_->read("b").value();
  before_rename = [this] { write("b", "eno"); };  // the same file, and as long
  EXPECT_THAT(replace(same_size, "two"), HasSubstr(kChanged));
  EXPECT_EQ(read("b"), "eno");

  write("c", "one");
  const auto twice = fs_->read("c").value();
  before_rename = [this] { replace_whole("c", "their"); };
  before_second_rename = [this] { replace_whole("c", "their second"); };  // before theirs goes back
  EXPECT_THAT(replace(twice, "two"), HasSubstr(kChanged));
  EXPECT_EQ(read("c"), "their second");
  EXPECT_THAT(names(), ElementsAre("a", "b", "c"));
}

TEST_F(RootedFsTest, WhatAppearsInTheLastMomentStays) {
  before_rename = [this] { write("new", "their"); };
  EXPECT_FALSE(fs_->create("new", "mine"));
  EXPECT_EQ(read("new"), "their");
  EXPECT_THAT(names(), ElementsAre("new"));
}

// Where there is a power loss, the file is the old one or the new one, and whole.
TEST_F(RootedFsTest, ATextIsOnTheDiskBeforeItTakesItsPlace) {
  std::vector<std::string> seen;  // what the file was when something was synced, and what was
  const auto note = [&](int fd) {
    struct stat st {};
    ::fstat(fd, &st);
    const bool is_directory = S_ISDIR(st.st_mode);
    seen.push_back(read("a") + (is_directory ? ", directory" : ", " + std::to_string(st.st_size)));
  };
  before_sync = note;
  EXPECT_TRUE(fs_->create("a", "one"));
  EXPECT_THAT(seen, ElementsAre(", 3", "one, directory"));
  seen.clear();
  EXPECT_EQ(replace(fs_->read("a").value(), "other"), "");
  EXPECT_THAT(seen, ElementsAre("one, 5", "other, directory"));
  fs::create_hard_link(root_ / "a", root_ / "b");
  seen.clear();
  EXPECT_EQ(replace(fs_->read("a").value(), "in place"), "");
  EXPECT_THAT(seen, ElementsAre("in place, 8"));
}

TEST_F(RootedFsTest, NothingLeadsOutOfTheRoot) {
  const auto outside = root_.parent_path() / "outside";
  std::ofstream(outside) << "secret";
  fs::create_symlink(outside, root_ / "absolute");
  fs::create_symlink("../outside", root_ / "dots");
  fs::create_directory_symlink("..", root_ / "up");
  fs::create_directory(root_ / "sub");
  for (const char* path : {"absolute", "dots", "up/outside", "../outside", "sub/../../outside"}) {
    EXPECT_FALSE(fs_->read(path)) << path;
    EXPECT_FALSE(fs_->create(path, "x")) << path;
  }
  EXPECT_FALSE(fs_->create("up/new", "x"));
  // a name that ends before it does
  EXPECT_FALSE(fs_->create(std::string("sub/.git\0x", 10), "x"));
  EXPECT_FALSE(fs_->create(std::string("a\0b/c", 5), "x"));
  EXPECT_TRUE(fs::is_empty(root_ / "sub"));
  std::ifstream in(outside);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "secret");
  EXPECT_FALSE(fs::exists(root_.parent_path() / "new"));
  EXPECT_EQ(fs_->relative((root_ / "sub//x").native()), "sub//x");
  EXPECT_EQ(fs_->relative(root_.native() + "x/y"), std::nullopt);
}

}  // namespace
}  // namespace lares::tools
