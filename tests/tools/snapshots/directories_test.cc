// What becomes of directories when files go back: git's trees have none of their own, so the
// snapshot says beside its tree which there were, and what their permissions were.
#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/tools/snapshots/snapshot_worktree.h"
#include "tools/snapshots/directories.h"
#include "tools/snapshots/snapshots.h"
#include "tools/snapshots/store.h"
#include "tools/workspace/file_stamp.h"
#include "tools/workspace/tree_listing.h"

namespace lares::tools {
namespace {

using namespace test;
using testing::IsEmpty;
namespace fs = std::filesystem;

void make(const Worktree& w, const std::string& path, mode_t mode = 0755) {
  fs::create_directories(w.at(path));
  ASSERT_EQ(::chmod(w.at(path).c_str(), mode), 0);
}
unsigned mode_of(const Worktree& w, const std::string& path) {
  struct stat st {};
  return ::lstat(w.at(path).c_str(), &st) == 0 ? st.st_mode & 07777 : 0;
}
RestoreStep to(const std::string& id, std::vector<std::string> paths) {
  return {id, {.all = false, .paths = std::move(paths)}};
}
void go_back(Snapshots& snapshots, const std::vector<RestoreStep>& steps) {
  const auto out = snapshots.go_back(steps);
  ASSERT_TRUE(out) << out.error();
  EXPECT_THAT(named(out->not_done), IsEmpty());
}

TEST(SnapshotDirectories, WhatWasEmptyStaysAndWhatWasMadeGoes) {
  const Worktree w;
  w.write("a.txt", "a\n");
  make(w, "empty");
  make(w, "outer/empty");
  auto snapshots = w.open();
  const std::string id = take(snapshots);
  w.write("empty/made/x", "x\n");
  w.write("outer/empty/x", "x\n");
  w.write("made/deep/x", "x\n");
  const Files after = w.files();
  const auto out = snapshots.go_back({{id, kAll}});
  ASSERT_TRUE(out) << out.error();
  EXPECT_EQ(w.files(), (Files{{"a.txt", "644 a\n"},
                              {"empty", "directory"},
                              {"outer", "directory"},
                              {"outer/empty", "directory"}}));
  go_back(snapshots, {{out->before.id, kAll}});
  EXPECT_EQ(w.files(), after);
}

TEST(SnapshotDirectories, OneThatIsMadeBetweenTwoSnapshotsIsKnown) {
  const Worktree w;
  w.write("a.txt", "a\n");
  auto snapshots = w.open();
  const std::string before = take(snapshots);
  make(w, "theirs");
  const std::string id = take(snapshots);
  EXPECT_NE(id, before) << "no file of it is another one";
  EXPECT_EQ(take(snapshots), id);
  w.write("theirs/x", "x\n");
  auto again = w.open();
  go_back(again, {to(id, {"theirs/x"})});
  EXPECT_TRUE(w.has("theirs"));
  EXPECT_FALSE(w.has("theirs/x"));
}

TEST(SnapshotDirectories, OneThatHeldIgnoredFilesStays) {
  const Worktree w;
  test::git(w.root(), "init -q");
  w.write(".gitignore", "*.log\n");
  w.write("logs/1.log", "1\n");
  auto snapshots = w.open();
  const std::string id = take(snapshots);
  w.remove("logs/1.log");
  w.write("logs/x", "x\n");
  go_back(snapshots, {to(id, {"logs/x"})});
  EXPECT_TRUE(w.has("logs"));
  EXPECT_FALSE(w.has("logs/x"));
}

TEST(SnapshotDirectories, OneThatOthersEmptiedStays) {
  const Worktree w;
  w.write("d/theirs", "a\n");
  auto snapshots = w.open();
  const std::string id = take(snapshots);
  w.remove("d/theirs");
  w.write("d/x", "x\n");
  go_back(snapshots, {to(id, {"d/x"})});
  EXPECT_EQ(w.files(), (Files{{"d", "directory"}}));
}

TEST(SnapshotDirectories, OneThatWasMadeInSeveralStepsGoes) {
  const Worktree w;
  w.write("a.txt", "a\n");
  auto snapshots = w.open();
  const std::string first = take(snapshots);
  w.write("made/x", "x\n");
  const std::string second = take(snapshots);
  w.write("made/y", "y\n");
  go_back(snapshots, {to(second, {"made/y"}), to(first, {"made/x"})});
  EXPECT_EQ(w.files(), (Files{{"a.txt", "644 a\n"}}));
}

// It was empty at the later moment, and a file at the earlier one.
TEST(SnapshotDirectories, OneInTheWayOfAFileGoes) {
  const Worktree w;
  w.write("f", "f\n");
  auto snapshots = w.open();
  const std::string first = take(snapshots);
  w.remove("f");
  make(w, "f/inner");
  const std::string second = take(snapshots);
  w.write("f/inner/x", "x\n");
  go_back(snapshots, {to(second, {"f/inner/x"}), to(first, {"f"})});
  EXPECT_EQ(w.files(), (Files{{"f", "644 f\n"}}));
}

TEST(SnapshotDirectories, OneThatCameBackHasItsPermissions) {
  const Worktree w;
  w.write("usual/a", "a\n");
  w.write("usual/too/a", "a\n");
  w.write("secret/inner/a", "a\n");
  w.write("closed/inner/a", "a\n");
  w.write("a%\nb/a", "a\n");
  for (const char* path : {"", "usual", "usual/too", "closed/inner"}) make(w, path, 0775);
  make(w, "secret", 0700);
  make(w, "secret/inner", 0750);
  make(w, "closed", 0555);
  make(w, "a%\nb", 01777);
  auto snapshots = w.open();
  const std::string id = take(snapshots);
  make(w, "closed");
  const Files before = w.files();
  for (const char* path : {"usual", "secret", "closed", "a%\nb"}) w.remove(path);
  auto again = w.open();
  go_back(again, {{id, kAll}});
  EXPECT_EQ(w.files(), before);
  EXPECT_EQ(mode_of(w, "usual"), 0775u);
  EXPECT_EQ(mode_of(w, "usual/too"), 0775u);
  EXPECT_EQ(mode_of(w, "secret"), 0700u);
  EXPECT_EQ(mode_of(w, "secret/inner"), 0750u);
  EXPECT_EQ(mode_of(w, "closed"), 0555u);
  EXPECT_EQ(mode_of(w, "closed/inner"), 0775u);
  EXPECT_EQ(mode_of(w, "a%\nb"), 01777u);
  make(w, "closed");  // for whoever removes all this
}

// When the directory was made, in ms; 0 where the file system does not know.
std::int64_t born_ms(const std::string& path) {
  struct statx stx {};
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_BTIME, &stx) != 0 || !(stx.stx_mask & STATX_BTIME))
    return 0;
  return stx.stx_btime.tv_sec * 1000 + stx.stx_btime.tv_nsec / 1'000'000;
}

// A snapshot of this moment with the files of another, as older versions took them.
std::string take_as_older_versions(const Worktree& w, const std::string& id, std::int64_t time_ms) {
  auto store = SnapshotStore::open(w.root(), w.store());
  if (!store) return store.error();
  const auto lock = store->lock();
  auto stored = store->find(id);
  if (!lock || !stored) return "not found";
  EXPECT_TRUE(stored->directories.known());
  stored->snapshot.worktree.clear();  // then its moment is when it was made
  stored->snapshot.time_ms = time_ms;
  const auto added = store->add(stored->tree, stored->snapshot);
  return added ? added->id : added.error();
}

TEST(SnapshotDirectories, WhereNoneAreKnownTheOlderOnesStay) {
  const Worktree w;
  w.write("a.txt", "a\n");
  auto snapshots = w.open();
  const std::string id = take(snapshots);
  make(w, "empty");
  const std::int64_t born = born_ms(w.at("empty"));
  if (born == 0) GTEST_SKIP() << "the file system does not know when a directory was made";
  const std::string older = take_as_older_versions(w, id, born + 1);
  do {
    w.remove("made");
    make(w, "made");
  } while (born_ms(w.at("made")) <= born + 1);
  w.write("empty/x", "x\n");
  w.write("made/x", "x\n");
  go_back(snapshots, {to(older, {"empty/x", "made/x"})});
  EXPECT_EQ(w.files(), (Files{{"a.txt", "644 a\n"}, {"empty", "directory"}}));
}

TEST(SnapshotDirectories, NamesOnlySoManyAndTheEmptyOnesFirst) {
  std::vector<ListedDirectory> listed{{"", 040755}};
  const auto none_empty = [](const std::string&) { return true; };
  const auto all_empty = [](const std::string&) { return false; };
  for (std::size_t i = 0; i < kSnapshotDirectoriesMax; ++i)
    listed.push_back({fmt::format("d{:04}", i), i < 3 ? 040700u : 040755u});
  EXPECT_EQ(directories_of(listed, none_empty).named.size(), 3u);
  EXPECT_EQ(directories_of(listed, none_empty).mode_of("d0002"), 0700u);
  EXPECT_EQ(directories_of(listed, none_empty).mode_of("d0003"), 0755u);
  EXPECT_EQ(directories_of(listed, all_empty).named.size(), kSnapshotDirectoriesMax);
  listed.push_back({"e", 040700});
  EXPECT_FALSE(directories_of(listed, all_empty).known());
  const auto all_but_e = directories_of(listed, [](const std::string& p) { return p == "e/"; });
  EXPECT_TRUE(all_but_e.known());
  EXPECT_EQ(all_but_e.named.size(), kSnapshotDirectoriesMax);
  EXPECT_EQ(all_but_e.find("e"), nullptr);
  EXPECT_EQ(all_but_e.mode_of("e"), 0u);  // not what most have
  Snapshot snapshot;
  snapshot.time_ms = 1;
  SnapshotDirectories read;
  ASSERT_TRUE(read_note(write_note(snapshot, all_but_e), snapshot, read));
  EXPECT_EQ(read, all_but_e);
}

}  // namespace
}  // namespace lares::tools
