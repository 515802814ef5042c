#include "daemon/session/worktree_records.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/temporary_directory.h"

namespace lares::daemon {
namespace {

WorktreeRecord::Applied applied(int n) {
  return {fmt::format("before {}", n), fmt::format("after {}", n), fmt::format("theirs {}", n), {}};
}

TEST(WorktreeRecords, KeepsTheSnapshotsThatItsWorktreesBeganAndWereAppliedAs) {
  const TemporaryDirectory directory;
  const WorktreeRecords records(directory.path());
  WorktreeRecord record{.session_id = "s1", .root = records.root_of("/repo", "s1")};
  const tools::Snapshot began{.id = "began", .label = began_label(record.root)};
  const auto was_applied = [&](const char* id) {
    return records.needs({.id = id, .label = applied_label(record.root)});
  };
  EXPECT_FALSE(records.needs(began));
  EXPECT_FALSE(was_applied("theirs 1"));
  record.apply(applied(1));
  record.apply(applied(2));
  ASSERT_TRUE(records.write(record));
  EXPECT_TRUE(records.needs(began));
  EXPECT_TRUE(was_applied("theirs 1"));
  EXPECT_TRUE(was_applied("theirs 2"));
  EXPECT_FALSE(was_applied("theirs 3"));
  EXPECT_FALSE(records.needs({.id = "theirs 1", .label = "s1 applied"}));
  record.take_back();
  ASSERT_TRUE(records.write(record));
  EXPECT_TRUE(was_applied("theirs 1"));
  EXPECT_FALSE(was_applied("theirs 2"));
  records.remove(record);
  EXPECT_FALSE(was_applied("theirs 1"));
}

TEST(WorktreeRecords, RemembersTheLastTimesThatOneWasApplied) {
  WorktreeRecord record;
  for (std::size_t n = 0; n < kAppliedMax + 2; ++n) record.apply(applied(static_cast<int>(n)));
  for (std::size_t n = kAppliedMax + 1; n >= 2; --n) {
    EXPECT_EQ(record.applied.theirs, fmt::format("theirs {}", n));
    record.take_back();
  }
  EXPECT_TRUE(record.applied.before.empty());
}

}  // namespace
}  // namespace lares::daemon
