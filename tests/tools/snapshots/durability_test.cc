// What of a snapshot is there after the power was cut.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "tests/tools/snapshots/snapshot_worktree.h"
#include "tools/snapshots/snapshots.h"
#include "tools/snapshots/store.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
using test::named;
using test::restore;
using test::take;
using test::Worktree;

// On ext4, say, a file whose content was not on its way yet is there and empty.
TEST(SnapshotDurability, StoresAnewWhatAPowerCutLeftEmpty) {
  const Worktree tree;
  tree.write("before.txt", "before");
  auto running = tree.open();
  take(running);
  for (const std::uintmax_t left : {0, 5}) {
    const std::string text = fmt::format("put by one that was cut at {}", left);
    auto store = SnapshotStore::open(tree.root(), tree.store());
    {
      const auto lock = store->lock();
      git_oid oid;
      ASSERT_EQ(git_odb_hash(&oid, text.data(), text.size(), GIT_OBJECT_BLOB), 0);
      ASSERT_TRUE(store->put(oid, text, GIT_OBJECT_BLOB));
      const std::string name = oid_text(oid);
      const std::string object = fmt::format("{}/objects/{}/{}", store->path(), name.substr(0, 2),
                                             name.substr(2));
      fs::permissions(object, fs::perms::owner_all);
      fs::resize_file(object, left);
    }
    tree.write("a.txt", text);
    if (left > 0) running = tree.open();  // else the one that was there all the while finds it
    const std::string id = take(running);
    tree.remove("a.txt");
    EXPECT_THAT(named(restore(running, id).not_done), testing::IsEmpty());
    EXPECT_EQ(tree.read("a.txt"), text);
    test::git(store->path(), "fsck --full --strict --no-dangling");
  }
}

TEST(SnapshotDurability, IsSyncedWithFewDescriptors) {
  const Worktree tree;
  for (int i = 0; i < 200; ++i) tree.write(fmt::format("f{}", i), fmt::format("{}", i));
  auto snapshots = tree.open();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{100, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const auto taken = snapshots.take("all");
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(taken) << taken.error();
  EXPECT_EQ(taken->n_files, 200u);
}

}  // namespace
}  // namespace lares::tools
