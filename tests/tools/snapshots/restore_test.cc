// Going back while others write: what they wrote stays at whatever moment it was, and what is
// written is on the disk before it takes a file's place.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "tests/tools/snapshots/snapshot_worktree.h"
#include "tools/snapshots/snapshots.h"

namespace {

// Called before the file system is.
std::function<void(std::string_view from, std::string_view to)> before_rename;
std::function<void(int fd)> before_sync;
// As for a user who may give a file to a group of theirs, and to no other user.
bool no_owner_given = false;

}  // namespace

// In the place of the C library's.
extern "C" int renameat2(int from_dir, const char* from, int to_dir, const char* to,
                         unsigned flags) noexcept {
  if (const auto act = before_rename) act(from, to);  // which may ask for another
  return static_cast<int>(::syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
}
extern "C" int fsync(int fd) {
  if (const auto act = before_sync) act(fd);
  return static_cast<int>(::syscall(SYS_fsync, fd));
}
extern "C" int fchown(int fd, uid_t owner, gid_t group) noexcept {
  if (no_owner_given && owner != static_cast<uid_t>(-1)) return errno = EPERM, -1;
  return static_cast<int>(::syscall(SYS_fchown, fd, owner, group));
}

namespace lares::tools {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kChanged = "was changed by someone else meanwhile";

class Restoring : public testing::Test {
 protected:
  ~Restoring() override {
    before_rename = nullptr;
    before_sync = nullptr;
  }
  // Calls `act` when the file is about to get another name, or something else its name: the last
  // look at it was just before. Once.
  static void when_renamed(std::string name, std::function<void()> act) {
    before_rename = [name = std::move(name), act = std::move(act)](std::string_view from,
                                                                   std::string_view to) {
      if (from != name && to != name) return;
      before_rename = nullptr;
      act();
    };
  }
  // As an editor that puts another file in its place.
  void replace_whole(const std::string& path, const std::string& text) const {
    tree_.write(path + "~", text);
    std::filesystem::rename(tree_.at(path + "~"), tree_.at(path));
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, what] : tree_.files()) out.push_back(name);
    return out;
  }

  const Worktree tree_;
};

TEST_F(Restoring, OwnerAndGroupStayWhereTheyCannotBeGiven) {
  constexpr uid_t kOther = 54321, kTeam = 54322;
  if (::geteuid() != 0) GTEST_SKIP() << "only root makes files of others";
  for (const char* name : {"a", "b"}) tree_.write(name, "as it was\n");
  auto snapshots = tree_.open();
  const std::string then = take(snapshots);
  tree_.write("a", "x\n");
  tree_.write("b", "x\n");
  ASSERT_EQ(::chown(tree_.at("a").c_str(), kOther, kTeam), 0);
  ASSERT_EQ(::chown(tree_.at("b").c_str(), ::geteuid(), kTeam), 0);
  no_owner_given = true;
  const Restored done = restore(snapshots, then);
  no_owner_given = false;
  EXPECT_THAT(named(done.not_done), IsEmpty());
  EXPECT_THAT(names(), ElementsAre("a", "b"));
  struct stat st {};
  for (const auto& [name, owner] : {std::pair("a", kOther), std::pair("b", ::geteuid())}) {
    EXPECT_EQ(tree_.read(name), "as it was\n");
    ASSERT_EQ(::stat(tree_.at(name).c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, owner) << name;
    EXPECT_EQ(st.st_gid, kTeam) << name;
  }
}

TEST_F(Restoring, AFileThatIsSeenToBeAnotherIsNotTouched) {
  tree_.write("old", "old\n");
  auto snapshots = tree_.open();
  const std::string then = take(snapshots);
  for (const char* name : {"a", "b"}) tree_.write(name, "mine\n");
  std::vector<std::string> renamed;
  before_rename = [&](std::string_view from, std::string_view) {
    if (renamed.empty()) tree_.write("b", "their\n");
    renamed.emplace_back(from);
  };
  const Restored done = restore(snapshots, then);
  EXPECT_THAT(lines(done.done), ElementsAre("removed a 5 0"));
  EXPECT_THAT(named(done.not_done), ElementsAre(HasSubstr(kChanged)));
  EXPECT_EQ(tree_.read("b"), "their\n");
  EXPECT_THAT(renamed, ElementsAre("a"));
}

TEST_F(Restoring, WhatChangesInTheLastMomentBeforeARemovalStays) {
  tree_.write("keep", "1\n");
  auto snapshots = tree_.open();
  const std::string then = take(snapshots);
  const std::function<void()> theirs[] = {[this] { replace_whole("d/a", "their\n"); },
                                          [this] { tree_.write("d/a", "enim\n"); },  // as long
                                          [this] { ::chmod(tree_.at("d/a").c_str(), 0755); },
                                          [this] { tree_.link("keep", "d/a"); }};
  for (const auto& act : theirs) {
    tree_.remove("d");
    tree_.write("d/a", "mine\n");
    take(snapshots);
    Files now;
    when_renamed("a", [&] {
      act();
      now = tree_.files();
    });
    const Restored done = restore(snapshots, then);
    EXPECT_THAT(named(done.not_done), ElementsAre(HasSubstr(kChanged)));
    EXPECT_THAT(lines(done.done), IsEmpty());
    EXPECT_EQ(tree_.files(), now);
  }
}

TEST_F(Restoring, WhatAppearsWhileARemovalIsTakenBackStays) {
  tree_.write("keep", "1\n");
  auto snapshots = tree_.open();
  const std::string then = take(snapshots);
  tree_.write("a", "mine\n");
  when_renamed("a", [this] {
    tree_.write("a", "their\n");
    when_renamed("a", [this] { tree_.write("a", "their second\n"); });
  });
  EXPECT_THAT(named(restore(snapshots, then).not_done), ElementsAre(HasSubstr(kChanged)));
  EXPECT_EQ(tree_.read("a"), "their second\n");
  EXPECT_THAT(names(), ElementsAre("a", "keep"));
}

TEST_F(Restoring, WhatChangesInTheLastMomentBeforeAReplacementStays) {
  tree_.write("a", "then\n");
  auto snapshots = tree_.open();
  const std::string then = take(snapshots);
  const std::function<void()> theirs[] = {[this] { replace_whole("a", "their\n"); },
                                          [this] { tree_.write("a", "enim\n"); }};
  for (const auto& act : theirs) {
    tree_.write("a", "mine\n");
    Files now;
    when_renamed("a", [&] {
      act();
      now = tree_.files();
    });
    const Restored done = restore(snapshots, then);
    EXPECT_THAT(named(done.not_done), ElementsAre(HasSubstr(kChanged)));
    EXPECT_THAT(lines(done.done), IsEmpty());
    now.erase(std::ranges::find_if(now, [](const auto& file) { return file.first != "a"; })->first);
    EXPECT_EQ(tree_.files(), now);
  }
}

TEST_F(Restoring, WhatAppearsInTheLastMomentStays) {
  tree_.write("a", "then\n");
  auto snapshots = tree_.open();
  const std::string then = take(snapshots);
  tree_.remove("a");
  when_renamed("a", [this] { tree_.write("a", "their\n"); });
  EXPECT_THAT(named(restore(snapshots, then).not_done), ElementsAre(HasSubstr(kChanged)));
  EXPECT_EQ(tree_.read("a"), "their\n");
  EXPECT_THAT(names(), ElementsAre("a"));
}

// Where there is a power loss, each file is as it was or as it is to be, and whole.
TEST_F(Restoring, FilesAreOnTheDiskBeforeTheyTakeTheirPlaceAndDirectoriesAfterThat) {
  tree_.write("d/a", "then\n");
  tree_.write("gone/deep/b", "then\n");
  auto snapshots = tree_.open();
  const std::string then = take(snapshots);
  tree_.write("d/a", "and now\n");
  tree_.remove("gone");
  tree_.write("d/new/c", "new\n");
  std::vector<std::string> synced;  // with what the three files were then
  before_sync = [&](int fd) {
    char where[4096];
    const ssize_t n = ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), where, sizeof where);
    const std::string path(where, n > 0 ? static_cast<std::size_t>(n) : 0);
    if (!path.starts_with(tree_.root())) return;  // the store's
    struct stat st {};
    ::fstat(fd, &st);
    const std::string what = S_ISREG(st.st_mode) ? fmt::format("{} bytes", st.st_size)
                                                 : path.substr(tree_.root().size());
    synced.push_back(fmt::format(
        "{}: {}, {}, {}", what, tree_.read("d/a").starts_with("and") ? "now" : "then",
        tree_.has("gone/deep/b") ? "there" : "gone", tree_.has("d/new") ? "new" : "removed"));
  };
  EXPECT_THAT(named(restore(snapshots, then).not_done), IsEmpty());
  // The two files, in either order; then the directories, once each, those above new ones too.
  ASSERT_EQ(synced.size(), 6u) << testing::PrintToString(synced);
  std::sort(synced.begin() + 2, synced.end());
  EXPECT_THAT(synced, ElementsAre("5 bytes: now, gone, removed", "5 bytes: now, gone, removed",
                                  "/d: then, there, removed", "/gone/deep: then, there, removed",
                                  "/gone: then, there, removed", ": then, there, removed"));
}

}  // namespace
}  // namespace lares::tools
