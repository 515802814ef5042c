#include "daemon/session/checkpoints.h"

#include <atomic>
#include <exception>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>
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

// A repository, worktrees of it that share its store, and another repository. The next snapshot of
// the first takes as long as the test wants.
class SlowStore : public testing::Test {
 protected:
  SlowStore() {
    scratch_.write("work/a.txt", "1\n");
    scratch_.write("other/a.txt", "1\n");
    for (int i = 1; i <= kWorktrees; ++i) scratch_.write(worktree(i) + "/a.txt", "1\n");
    for (const char* text : {"1\n", "2\n"}) {  // whether the first of two is kept is asked
      scratch_.write("work/a.txt", text);
      auto before = tools::Snapshots::open(scratch_.at("work"), scratch_.at("snapshots"));
      EXPECT_TRUE(before && before->take(text));
    }
  }
  ~SlowStore() override {
    go_on_.set_value();
    disk_.join();
  }

  static std::string worktree(int i) { return fmt::format("worktree{}", i); }
  void take(const std::string& name, asio::cancellation_signal* stop = nullptr) {
    auto heard = [this, name](std::exception_ptr thrown, const auto& taken) {
      try {
        if (thrown) std::rethrow_exception(thrown);
        ended_.push_back(taken ? taken->label : taken.error());
      } catch (const boost::system::system_error& e) {
        ended_.push_back(name + (e.code() == asio::error::operation_aborted ? " stopped" : "?"));
      }
    };
    auto taking = checkpoints_.take(scratch_.at(name), name, /*anew=*/true);
    if (stop)
      asio::co_spawn(io_, std::move(taking), asio::bind_cancellation_slot(stop->slot(), heard));
    else
      asio::co_spawn(io_, std::move(taking), heard);
  }
  // Until as many have ended.
  void wait_for(std::size_t n_ended) {
    while (ended_.size() < n_ended && io_.run_one() > 0) {
    }
  }
  // One of the first, which does not end before go_on().
  void take_slowly(asio::cancellation_signal* stop = nullptr) {
    take("work", stop);
    while (!slow_ && io_.run_one() > 0) {
    }
  }
  void go_on() { std::exchange(go_on_, std::promise<void>()).set_value(); }
  std::vector<std::string> labels() const {
    const auto store = tools::Snapshots::open(scratch_.at("work"), scratch_.at("snapshots"));
    const auto taken = store.value().list();
    std::vector<std::string> out;
    for (const tools::Snapshot& snapshot : taken.value()) out.push_back(snapshot.label);
    return out;
  }

  static constexpr int kWorktrees = 4;
  std::vector<std::string> ended_;  // in this order

 private:
  const tools::test::Scratch scratch_;
  std::promise<void> go_on_;
  std::shared_future<void> may_go_on_ = go_on_.get_future().share();
  std::atomic<bool> asked_ = false;
  bool slow_ = false;  // it waits; on io_
  asio::io_context io_;
  asio::thread_pool disk_{2};
  Checkpoints checkpoints_{
      disk_,
      {.directory = scratch_.at("snapshots"),
       .store_of =
           [this](const std::string& root) {
             return root.starts_with(scratch_.at("worktree")) ? scratch_.at("work") : "";
           },
       .keep =
           [this](const tools::Snapshot&) {
             if (asked_.exchange(true)) return true;
             asio::post(io_, [this] { slow_ = true; });
             may_go_on_.wait();
             return true;
           }}};
};

TEST_F(SlowStore, EachHasItsTurnHoweverLongOneTakes) {
  take_slowly();
  for (int i = 1; i <= kWorktrees; ++i) take(worktree(i));
  take("other");
  wait_for(1);  // with two threads, of which who waits for a turn needs none
  EXPECT_EQ(ended_, (std::vector<std::string>{"other"}));
  go_on();
  wait_for(2 + kWorktrees);
  EXPECT_EQ(ended_, (std::vector<std::string>{"other", "work", "worktree1", "worktree2",
                                              "worktree3", "worktree4"}));
}

TEST_F(SlowStore, WhoIsCancelledDoesNotWait) {
  asio::cancellation_signal stop_slow, stop_waiting;
  take_slowly(&stop_slow);
  take(worktree(1), &stop_waiting);
  take(worktree(2));
  take("other");
  wait_for(1);  // by now all of them wait for their turns
  stop_waiting.emit(asio::cancellation_type::all);
  wait_for(2);
  stop_slow.emit(asio::cancellation_type::all);
  wait_for(3);
  go_on();
  wait_for(4);
  EXPECT_EQ(ended_,
            (std::vector<std::string>{"other", "worktree1 stopped", "work stopped", "worktree2"}));
  EXPECT_EQ(labels(), (std::vector<std::string>{"1\n", "2\n", "work", "worktree2"}));
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
