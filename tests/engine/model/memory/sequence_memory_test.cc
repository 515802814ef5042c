// Who gives back what, and in which order, without a model.
#include "engine/model/memory/sequence_memory.h"

#include <array>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace lares::engine {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kBound = 1000;  // bytes
constexpr auto kLong = 30s;             // what takes no time has not come by then

// Each that gives something back writes its letter.
class Waiting final : public SequenceHolder {
 public:
  Waiting(SequenceMemoryRef memory, std::string& log) : memory_(std::move(memory)), log_(log) {
    held_ = {Charge(memory_, 100), Charge(memory_, 100), Charge(memory_, 300)};
    memory_->add(this);
  }
  ~Waiting() override { memory_->remove(this); }
  bool give_back(Give what) override {
    Charge& charge = held_[static_cast<std::size_t>(what)];
    if (charge.bytes() == 0) return false;
    charge.set(0);
    log_ += "src"[static_cast<std::size_t>(what)];
    return true;
  }
  bool has_cells() const { return held_.back().bytes() > 0; }

 private:
  const SequenceMemoryRef memory_;
  std::string& log_;
  std::array<Charge, 3> held_;  // snapshots, rings, cells
};

class Cache final : public Shrinker {
 public:
  Cache(const SequenceMemoryRef& memory, char name, int rank, int n, std::string& log)
      : Shrinker(&log + name, rank), name_(name), log_(log) {
    for (int i = 0; i < n; ++i) held_.emplace_back(memory, 50);
  }
  bool shrink() override {
    if (held_.empty()) return false;
    held_.pop_back();
    log_ += name_;
    return true;
  }
  bool gone() const override { return false; }

 private:
  const char name_;
  std::string& log_;
  std::vector<Charge> held_;
};

class SequenceMemoryTest : public testing::Test {
 protected:
  // What was given back so that there is room for so much; "!" at the end: there is none.
  std::string given_for(std::uint64_t bytes) {
    log_.clear();
    const bool room = memory_->make_room(bytes, nullptr, "try").has_value();
    EXPECT_EQ(room, memory_->fits(bytes));
    return room ? log_ : log_ + "!";
  }

  void tell(char name, int rank, int n) {
    memory_->ask(std::make_shared<Cache>(memory_, name, rank, n, log_));
  }

  std::string log_;
  const SequenceMemoryRef memory_ = std::make_shared<SequenceMemory>(kBound, 0s);
};

TEST_F(SequenceMemoryTest, CachesGiveUpOneAfterTheOtherAndBeforeCellsGo) {
  const Waiting waiting(memory_, log_);
  tell('B', /*rank=*/1, 2);
  tell('A', /*rank=*/0, 3);
  ASSERT_EQ(memory_->held(), 750u);
  EXPECT_EQ(given_for(250), "");
  EXPECT_EQ(given_for(300), "s");
  EXPECT_EQ(given_for(450), "r");
  EXPECT_EQ(given_for(500), "A");  // no more than there must be
  EXPECT_EQ(given_for(650), "AAB");
  EXPECT_EQ(given_for(700), "B");
  EXPECT_EQ(given_for(1000), "c");
  EXPECT_EQ(memory_->held(), 0u);
}

TEST_F(SequenceMemoryTest, OfOneRankTheCacheToldOfLongestAgoGivesUpFirst) {
  for (const char name : {'A', 'B', 'C', 'A'}) tell(name, /*rank=*/0, 1);
  EXPECT_EQ(given_for(1000), "BCA");  // A's place was taken, with what it had
}

TEST_F(SequenceMemoryTest, CachesKeepWhatIsOfNoUseToTheOneWhoAsks) {
  tell('A', /*rank=*/0, 3);
  EXPECT_EQ(given_for(kBound + 1), "!");
  EXPECT_EQ(memory_->held(), 150u);
  EXPECT_EQ(given_for(kBound), "AAA");
}

// Who gives something back and meanwhile `does` something, which needs no memory.
class Slow final : public SequenceHolder, public Shrinker {
 public:
  Slow(SequenceMemoryRef memory, std::function<void()> does)
      : Shrinker(this, /*rank=*/0),
        memory_(std::move(memory)),
        does_(std::move(does)),
        held_{Charge(memory_, 100), Charge(memory_, 100)} {
    memory_->add(this);
  }
  ~Slow() override { memory_->remove(this); }
  bool give_back(Give what) override { return what == Give::cells && gives(held_[0]); }
  bool shrink() override { return gives(held_[1]); }
  bool gone() const override { return false; }

 private:
  bool gives(Charge& charge) {
    if (charge.bytes() == 0) return false;
    does_();
    charge.set(0);
    return true;
  }

  const SequenceMemoryRef memory_;
  const std::function<void()> does_;
  std::array<Charge, 2> held_;
};

// Those who come, go and go on are events of a thread that others' requests wait for.
TEST_F(SequenceMemoryTest, WhoNeedsNoMemoryDoesNotWaitForWhatOthersGiveBack) {
  std::vector<std::future<void>> all;
  const auto slow = std::make_shared<Slow>(memory_, [&] {
    all.push_back(std::async(std::launch::async, [&] {
      tell('A', /*rank=*/0, 0);
      Waiting comes(memory_, log_);
      memory_->used(&comes);
    }));
    EXPECT_EQ(all.back().wait_for(kLong), std::future_status::ready);
  });
  memory_->ask(slow);
  EXPECT_EQ(given_for(kBound), "");
  EXPECT_EQ(all.size(), 2u) << "as a cache, and as one that waits";
}

// Who is between two tokens keeps what it has; who rests, or evaluates what nobody waits for, does
// without before anybody is refused.
TEST_F(SequenceMemoryTest, OfThoseUsedJustNowTheOnesThatRestGiveUpTheirCells) {
  const auto memory = std::make_shared<SequenceMemory>(2 * kBound, 3600s);
  Waiting first(memory, log_), works(memory, log_), second(memory, log_), unasked(memory, log_);
  memory->ask(std::make_shared<Cache>(memory, 'A', /*rank=*/0, 1, log_));
  const auto given_for = [&](std::uint64_t bytes) {
    log_.clear();
    return memory->make_room(bytes, nullptr, "try") ? log_ : log_ + "!";
  };
  ASSERT_EQ(given_for(750), "ssssrrrr");
  first.resting = second.resting = Rest::turns, unasked.resting = Rest::spare;
  memory->used(&first);
  EXPECT_EQ(first.resting, Rest::none);
  first.resting = Rest::turns;
  EXPECT_EQ(given_for(2 * kBound + 1), "!") << "it is of no use to the one who asks";
  EXPECT_EQ(given_for(1050), "c");
  EXPECT_FALSE(unasked.has_cells());
  EXPECT_EQ(given_for(1100), "A");
  EXPECT_EQ(given_for(1400), "c");
  EXPECT_FALSE(second.has_cells()) << "used longest ago";
  EXPECT_EQ(given_for(1700), "c");
  EXPECT_FALSE(first.has_cells());
  EXPECT_EQ(given_for(1701), "!");
  EXPECT_TRUE(works.has_cells());
}

class OnDevice final : public SequenceHolder {
 public:
  OnDevice(SequenceMemoryRef memory, char name, Rest how, std::string& log)
      : memory_(std::move(memory)), name_(name), log_(log) {
    memory_->add(this);
    resting = how;
  }
  ~OnDevice() override { memory_->remove(this); }
  bool give_back(Give) override { return false; }
  std::optional<std::uint64_t> bytes_to_leave() const override {
    return has_left_ ? std::nullopt : std::optional<std::uint64_t>(1);
  }
  void leave(bool with_cells) override {
    has_left_ = true;
    log_ += name_;
    if (with_cells) log_ += '+';
  }

 private:
  const SequenceMemoryRef memory_;
  const char name_;
  std::string& log_;
  bool has_left_ = false;
};

TEST_F(SequenceMemoryTest, WhatNobodyWaitsForLeavesADeviceBeforeWhatRestsBetweenTwoTurns) {
  using Cleared = SequenceMemory::Cleared;
  const auto memory = std::make_shared<SequenceMemory>(kBound, 3600s);
  const Charge full(memory, kBound);
  OnDevice turns(memory, 't', Rest::turns, log_), works(memory, 'w', Rest::none, log_),
      spare(memory, 's', Rest::spare, log_), asker(memory, 'a', Rest::none, log_);
  EXPECT_EQ(memory->clear_device(&asker), Cleared::one);
  EXPECT_EQ(log_, "s");
  EXPECT_EQ(memory->clear_device(&asker), Cleared::one);
  EXPECT_EQ(log_, "st");
  EXPECT_EQ(memory->clear_device(&asker), Cleared::no_room);
  EXPECT_EQ(log_, "st");
}

}  // namespace
}  // namespace lares::engine
