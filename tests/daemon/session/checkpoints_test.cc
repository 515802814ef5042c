#include "daemon/session/checkpoints.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include "tests/tools/scratch.h"

namespace lares::daemon {
namespace {

// The first look is taken while the model thinks, and no other is.
TEST(Checkpoints, LookAheadWhereNothingWasAskedYet) {
  const tools::test::Scratch scratch;
  const std::string root = scratch.at("work");
  scratch.write("work/a.txt", "1\n");
  asio::io_context io;
  asio::thread_pool disk(1);
  Checkpoints checkpoints(disk, {.directory = scratch.at("snapshots"), .store_of = {}, .keep = {}});
  const auto label_of_next = [&] {
    std::string label;
    asio::co_spawn(io, checkpoints.take(root, "call"), [&](std::exception_ptr, const auto& taken) {
      label = taken ? taken->label : taken.error();
    });
    io.restart();
    io.run();
    return label;
  };
  checkpoints.look_ahead(root, "turn 1");
  EXPECT_EQ(label_of_next(), "turn 1");
  scratch.write("work/a.txt", "changed\n");
  checkpoints.look_ahead(root, "turn 2");
  EXPECT_EQ(label_of_next(), "call");
  checkpoints.look_ahead(scratch.at("none"), "turn 1");  // says nothing
  disk.join();
}

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
