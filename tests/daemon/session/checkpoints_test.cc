#include "daemon/session/checkpoints.h"

#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

TEST(Checkpoints, SayWhatTheStoreCouldNotTake) {
  tools::Snapshot taken;
  EXPECT_EQ(unkept_told(taken), "");
  taken.n_unkept = 1;
  taken.unkept = {"a.bin", "no room"};
  EXPECT_EQ(unkept_told(taken),
            "no snapshot holds a.bin, so what this call changes there cannot be rewound: no room; "
            "snapshots are given up after 14 days, those of sessions' worktrees with `lares "
            "worktrees remove`");
  taken.n_unkept = 3;
  EXPECT_EQ(unkept_told(taken).rfind("no snapshot holds a.bin and 2 more files, so", 0), 0u);
}

}  // namespace
}  // namespace lares::daemon
