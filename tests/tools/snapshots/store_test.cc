// The store of snapshots: what is given up and what is kept, two at a time, and crashes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <random>
#include <set>
#include <thread>

#include "tests/tools/snapshots/snapshot_worktree.h"
#include "tools/snapshots/snapshots.h"

namespace lares::tools {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::string store_of(const Worktree& tree) {
  for (const auto& entry : fs::directory_iterator(tree.store())) return entry.path().string();
  return "";
}
std::size_t n_objects(const Worktree& tree) {
  std::size_t n = 0;
  for (const auto& entry : fs::recursive_directory_iterator(store_of(tree) + "/objects"))
    n += entry.is_regular_file();
  return n;
}
void expect_sound(const Worktree& tree) {
  git(store_of(tree), "fsck --full --strict --no-dangling");
}
std::string noise(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::string out(n, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}
std::vector<std::string> labels(const Snapshots& snapshots) {
  std::vector<std::string> out;
  const auto list = snapshots.list();
  EXPECT_TRUE(list);
  for (const Snapshot& s : *list) out.push_back(s.label);
  return out;
}

TEST(SnapshotStore, GivesUpTheOldestBeyondACount) {
  const Worktree tree;
  auto snapshots = tree.open();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    tree.write("shared.txt", "always\n");
    tree.write("a.txt", std::to_string(i));
    ids.push_back(take(snapshots, std::to_string(i)));
  }
  const std::size_t before = n_objects(tree);
  const auto pruned =
      snapshots.prune({.count = 2, .keep = [&](const Snapshot& s) { return s.id == ids[1]; }});
  ASSERT_TRUE(pruned) << pruned.error();
  EXPECT_THAT(labels(snapshots), ElementsAre("1", "4"))
      << "the newest and the one that is referred to";
  EXPECT_EQ(pruned->n_snapshots, 3u);
  EXPECT_EQ(pruned->n_objects, 9u) << "of each a commit, a tree and a content";
  EXPECT_EQ(n_objects(tree), before - 9);
  expect_sound(tree);
  restore(snapshots, ids[1]);
  EXPECT_EQ(tree.read("a.txt"), "1");
  EXPECT_THAT(snapshots.restore(ids[0], kAll).error(), HasSubstr("there is no snapshot"));
}

TEST(SnapshotStore, GivesUpByAgeButNeverTheNewest) {
  const Worktree tree;
  auto snapshots = tree.open();
  for (int i = 0; i < 3; ++i) {
    tree.write("a.txt", std::to_string(i));
    take(snapshots, std::to_string(i));
  }
  EXPECT_TRUE(snapshots.prune({.days = 1}));
  EXPECT_THAT(labels(snapshots), ElementsAre("0", "1", "2"));
  EXPECT_TRUE(snapshots.prune({.days = -1}));
  EXPECT_THAT(labels(snapshots), ElementsAre("2"));
}

TEST(SnapshotStore, GivesUpTheOldestBeyondASize) {
  const Worktree tree;
  auto snapshots = tree.open();
  for (unsigned i = 0; i < 4; ++i) {
    tree.write("a.bin", noise(100'000, i));
    take(snapshots, std::to_string(i));
  }
  const auto pruned = snapshots.prune({.store_bytes_max = 250'000});
  ASSERT_TRUE(pruned) << pruned.error();
  EXPECT_THAT(labels(snapshots), ElementsAre("2", "3"));
  EXPECT_LE(pruned->bytes_kept, 250'000u);
  EXPECT_GE(pruned->bytes_freed, 200'000u);
  expect_sound(tree);
}

TEST(SnapshotStore, GivesUpTheOldestAtOnceWhenItIsFull) {
  const Worktree tree;
  const auto began = [](const Snapshot& s) { return s.label == "0"; };
  auto snapshots = tree.open({.store_bytes_max = 1'000'000, .keep = began});
  for (unsigned i = 0; i < 30; ++i) {
    tree.write("a.bin", noise(100'000, i));
    const auto taken = snapshots.take(std::to_string(i));
    ASSERT_TRUE(taken) << taken.error();
    ASSERT_THAT(named(taken->left_out), ElementsAre()) << i;
  }
  const auto left = labels(snapshots);
  EXPECT_EQ(left.front(), "0") << "it is kept";
  EXPECT_GE(left.size(), 4u);
  EXPECT_LE(left.size(), 10u);
  expect_sound(tree);
  restore(snapshots, snapshots.list()->front().id);
  EXPECT_EQ(tree.read("a.bin"), noise(100'000, 0));
}

// The one that going back is to: it is the oldest, and the moment before has to be kept.
TEST(SnapshotStore, MakesRoomForGoingBackButNotOfWhatItGoesBackTo) {
  const Worktree tree;
  auto snapshots = tree.open({.store_bytes_max = 500'000});
  std::vector<std::string> ids;
  for (unsigned i = 0; i < 4; ++i) {
    tree.write("a.bin", noise(100'000, i));
    ids.push_back(take(snapshots, std::to_string(i)));
  }
  tree.write("a.bin", noise(100'000, 99));
  const Restored restored = restore(snapshots, ids[0]);
  EXPECT_THAT(named(restored.not_done), ElementsAre());
  EXPECT_EQ(tree.read("a.bin"), noise(100'000, 0));
  EXPECT_LT(labels(snapshots).size(), 5u);
  restore(snapshots, restored.before.id);
  EXPECT_EQ(tree.read("a.bin"), noise(100'000, 99));
}

TEST(SnapshotStore, KnowsWhatOthersWroteAndGaveUp) {
  const Worktree tree;
  const auto all = [](const Snapshot&) { return true; };
  auto ours = tree.open({.store_bytes_max = 250'000, .keep = all});
  tree.write("a.bin", noise(1'000, 0));
  take(ours);
  auto theirs = tree.open({.keep = all});
  for (unsigned i = 1; i < 3; ++i) {
    tree.write("a.bin", noise(100'000, i));
    take(theirs);
  }
  tree.write("b.bin", noise(100'000, 3));
  const auto full = ours.take("full");
  ASSERT_TRUE(full) << full.error();
  EXPECT_EQ(full->n_unkept, 1u);
  EXPECT_EQ(full->unkept.path, "b.bin");
  EXPECT_EQ(ours.take("full still")->n_unkept, 1u) << "though it is the same snapshot";
  ASSERT_TRUE(theirs.prune({.count = 1}));
  const auto again = ours.take("again");
  ASSERT_TRUE(again) << again.error();
  EXPECT_EQ(again->n_unkept, 0u);
}

TEST(SnapshotStore, TakesWholeSnapshotsAfterAnotherOnePruned) {
  const Worktree tree;
  auto ours = tree.open(), theirs = tree.open();
  tree.write("a.txt", "1");
  tree.write("d/b.txt", "1");
  take(ours);
  tree.write("a.txt", "2");
  ASSERT_TRUE(ours.compare(kWorktree, kWorktree));  // "2" is in the store now, and in no snapshot
  ASSERT_TRUE(theirs.prune({}));
  const std::string id = take(ours);
  expect_sound(tree);
  tree.write("a.txt", "3");
  EXPECT_TRUE(restore(ours, id).not_done.empty());
  EXPECT_EQ(tree.read("a.txt"), "2");
}

TEST(SnapshotStore, IsMadeAnewWhenSomebodyRemovesIt) {
  const Worktree tree;
  auto snapshots = tree.open();
  tree.write("a.txt", "1");
  take(snapshots);
  fs::remove_all(tree.store());
  const std::string id = take(snapshots);
  expect_sound(tree);
  tree.write("a.txt", "2");
  restore(snapshots, id);
  EXPECT_EQ(tree.read("a.txt"), "1");
}

TEST(SnapshotStore, SurvivesTheUsersGcOfBothRepositories) {
  const Worktree tree;
  git(tree.root(), "init -q");
  tree.write("a.txt", "committed\n");
  git(tree.root(), "add -A");
  git(tree.root(), "commit -qm first");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  tree.write("a.txt", "amended\n");
  git(tree.root(), "commit -qa --amend -m other");
  git(tree.root(), "reflog expire --expire=now --all");
  git(tree.root(), "gc -q --prune=now");
  git(store_of(tree), "gc -q --prune=now");
  tree.write("b.txt", "after\n");
  const std::string later = take(snapshots);
  EXPECT_TRUE(restore(snapshots, id).not_done.empty());
  EXPECT_EQ(tree.read("a.txt"), "committed\n");
  restore(snapshots, later);
  EXPECT_EQ(tree.read("b.txt"), "after\n");
  EXPECT_TRUE(snapshots.prune({}));
  EXPECT_EQ(labels(snapshots).size(), 3u);
  expect_sound(tree);
}

TEST(SnapshotStore, SweepsWhatACrashLeft) {
  const Worktree tree;
  tree.write("a.txt", "1");
  {
    auto snapshots = tree.open();
    take(snapshots);
  }
  const std::string store = store_of(tree);
  std::ofstream(store + "/objects/tmp_object_git2_abcdef") << "half";
  std::filesystem::remove(store + "/config");
  for (const char* lock : {"/config.lock", "/HEAD.lock"}) std::ofstream(store + lock) << "half";
  auto snapshots = tree.open();
  EXPECT_FALSE(fs::exists(store + "/objects/tmp_object_git2_abcdef"));
  std::ofstream(store + "/refs/lares/snapshots/0000000002.lock") << "half";
  tree.write("a.txt", "2");
  tree.write(".lares-0123456789abcdef.tmp", "somebody's write under way");
  EXPECT_NE(take(snapshots), "") << "a dead process's lock stops nobody";
  EXPECT_EQ(snapshots.list()->back().n_files, 1u);
  EXPECT_TRUE(tree.has(".lares-0123456789abcdef.tmp")) << "it may yet be renamed";
  EXPECT_EQ(labels(snapshots).size(), 2u);
}

TEST(SnapshotStore, LeavesADamagedSnapshotOutAndGoesOn) {
  const Worktree tree;
  tree.write("a.txt", "1");
  auto snapshots = tree.open();
  take(snapshots, "first");
  tree.write("a.txt", "2");
  take(snapshots, "second");
  std::ofstream(store_of(tree) + "/refs/lares/snapshots/0000000002", std::ios::trunc);
  EXPECT_THAT(labels(snapshots), ElementsAre("first"));
  take(snapshots, "third");
  EXPECT_THAT(labels(snapshots), ElementsAre("first", "third"));
}

// At every length that the file of a content can have been cut to.
TEST(SnapshotStore, GivesNoDamagedContentBack) {
  const Worktree tree;
  tree.write("a.txt", "one");
  tree.write("b.txt", "two");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  // Printf one | git hash-object --stdin
  const std::string object = store_of(tree) + "/objects/43/dd47ea691c90a5fa7827892c70241913351963";
  ASSERT_TRUE(fs::exists(object));
  fs::permissions(object, fs::perms::owner_all);
  for (auto n = static_cast<std::int64_t>(fs::file_size(object)) - 1; n >= 0; --n) {
    fs::resize_file(object, static_cast<std::uintmax_t>(n));
    tree.write("a.txt", "changed");
    tree.write("b.txt", "changed");
    const Restored restored = restore(snapshots, id);
    ASSERT_THAT(named(restored.not_done), ElementsAre(HasSubstr("a.txt: read a snapshot from")))
        << n;
    ASSERT_EQ(tree.read("a.txt"), "changed");
    ASSERT_EQ(tree.read("b.txt"), "two");
  }
}

TEST(SnapshotStore, PrunesBesideADamagedDirectory) {
  const Worktree tree;
  auto snapshots = tree.open();
  tree.write("d/a.txt", "1");
  const std::string commit = take(snapshots, "first");
  std::set<std::string> before;
  for (const auto& entry : fs::recursive_directory_iterator(store_of(tree) + "/objects"))
    before.insert(entry.path());
  tree.write("d/a.txt", "2");
  take(snapshots, "second");
  for (const std::string& path : before) {
    if (!fs::is_regular_file(path) || path.ends_with(commit.substr(2))) continue;
    fs::permissions(path, fs::perms::owner_all);
    fs::resize_file(path, fs::file_size(path) / 2);
  }
  auto again = tree.open();
  ASSERT_TRUE(again.prune({}));
  EXPECT_THAT(labels(again), ElementsAre("second"));
  expect_sound(tree);
}

TEST(SnapshotStore, WaitsForAnotherProcess) {
  const Worktree tree;
  tree.write("a.txt", "1");
  auto snapshots = tree.open();
  const int lock = ::open((store_of(tree) + "/lares.lock").c_str(), O_RDWR);
  ASSERT_EQ(::flock(lock, LOCK_EX), 0);
  std::atomic<bool> taken = false;
  std::jthread other([&] {
    take(snapshots);
    taken = true;
  });
  EXPECT_TRUE(snapshots.list()) << "reading waits for nobody";
  ::usleep(50'000);
  EXPECT_FALSE(taken);
  ::close(lock);
  other.join();
  EXPECT_TRUE(taken);
}

TEST(SnapshotStore, TakesSnapshotsWhileFilesChange) {
  const Worktree tree;
  for (int i = 0; i < 50; ++i) tree.write(std::to_string(i), "0");
  auto ours = tree.open(), theirs = tree.open();
  std::atomic<bool> over = false;
  std::jthread writer([&] {
    for (unsigned i = 0; !over; ++i) {
      tree.write(std::to_string(i % 50), noise(i % 5000, i));
      if (i % 7 == 0) tree.remove(std::to_string((i + 3) % 50));
    }
  });
  std::jthread second([&] {
    for (; !over; ::usleep(5000)) ASSERT_TRUE(theirs.take("theirs"));
  });
  for (int i = 0; i < 15; ++i) {
    const auto taken = ours.take("ours");
    ASSERT_TRUE(taken) << taken.error();
    ASSERT_TRUE(ours.restore(taken->id, {.all = false, .paths = {"1", "2", "3"}}));
  }
  over = true;
  writer.join();
  second.join();
  expect_sound(tree);
}

// Kills a process that takes and restores in a loop, at moments of chance.
TEST(SnapshotStore, IsSoundWhenAProcessIsKilledAtAnyMoment) {
  const Worktree tree;
  for (int i = 0; i < 20; ++i) tree.write(fmt::format("d{}/f{}", i % 4, i), "0");
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto snapshots = tree.open();
      std::string last;
      for (unsigned i = 0;; ++i) {
        for (int f = 0; f < 20; ++f)
          tree.write(fmt::format("d{}/f{}", f % 4, f), fmt::format("{} {} {}", round, i, f));
        const auto taken = snapshots.take(fmt::format("{} {}", round, i));
        if (taken && !last.empty()) (void)snapshots.restore(last, kAll);
        if (taken) last = taken->id;
        if (i % 5 == 4) (void)snapshots.prune({.count = 10});
      }
    }
    ::usleep(20'000 + random() % 60'000);
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    auto snapshots = tree.open();
    const auto list = snapshots.list();
    ASSERT_TRUE(list) << list.error();
    for (const auto& [path, what] : tree.files()) {
      if (what == "directory" || path.find(".lares-") != std::string::npos) continue;
      ASSERT_THAT(what, testing::MatchesRegex("644 ([0-9]+ [0-9]+ [0-9]+|0|)")) << path;
    }
    if (list->empty()) continue;
    const Restored restored = restore(snapshots, list->back().id);
    ASSERT_THAT(named(restored.not_done), testing::IsEmpty());
    ASSERT_THAT(compare(snapshots, kWorktree, list->back().id), testing::IsEmpty());
    git(store_of(tree), "fsck --full --no-dangling");
  }
}

}  // namespace
}  // namespace lares::tools
