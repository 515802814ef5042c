// What is deleted of the stores that nobody uses: never one that is in use, and no more than is
// asked for.
#include "daemon/resident/unused_stores.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/scratch.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::size_t kBytes = 100'000;

class UnusedStores : public ::testing::Test {
 protected:
  void make(const std::string& name, std::chrono::hours unused) {
    fs::create_directories(stores_ + "/" + name + "/ext/ab");
    std::ofstream(stores_ + "/" + name + "/LOCK").put('x');
    std::ofstream(stores_ + "/" + name + "/ext/ab/one.ext") << std::string(kBytes, 'x');
    fs::last_write_time(stores_ + "/" + name + "/LOCK", fs::file_time_type::clock::now() - unused);
  }
  bool there(const std::string& name) const { return fs::exists(stores_ + "/" + name); }

  tools::test::Scratch scratch_;
  const std::string stores_ = scratch_.at("prefixes");
};

TEST_F(UnusedStores, WhatWasUsedLatelyStays) {
  make("old", std::chrono::hours(24 * 31));
  make("new", std::chrono::hours(24 * 29));
  std::ofstream(stores_ + "/note.txt") << "not a store";
  EXPECT_THAT(remove_unused_stores(stores_, {}),
              ElementsAre(HasSubstr("removed the store old (0 MB): not used for 30 days")));
  EXPECT_FALSE(there("old"));
  EXPECT_FALSE(there("old.unused"));
  EXPECT_TRUE(there("new"));
  EXPECT_TRUE(there("note.txt"));
  mark_store_used(stores_ + "/new");
  EXPECT_LT(fs::file_time_type::clock::now() - fs::last_write_time(stores_ + "/new/LOCK"),
            std::chrono::hours(1));
}

TEST_F(UnusedStores, OverTheCapTheOldestGoFirst) {
  for (int i = 0; i < 5; ++i) make("store" + std::to_string(i), std::chrono::hours(5 - i));
  EXPECT_THAT(remove_unused_stores(stores_, {.bytes_max = 3 * kBytes + 10}),
              ElementsAre(HasSubstr("store0"), HasSubstr("store1")));
  EXPECT_TRUE(there("store2"));
  EXPECT_THAT(remove_unused_stores(stores_, {.bytes_max = 3 * kBytes + 10}), IsEmpty());
}

TEST_F(UnusedStores, OneInUseStaysHoweverOldItLooks) {
  make("used", std::chrono::hours(24 * 300));
  const int lock = ::open((stores_ + "/used/LOCK").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(lock, LOCK_EX | LOCK_NB), 0);
  EXPECT_THAT(remove_unused_stores(stores_, {.bytes_max = 1}), IsEmpty());
  EXPECT_TRUE(there("used/ext/ab/one.ext"));
  ::close(lock);
  EXPECT_EQ(remove_unused_stores(stores_, {.bytes_max = 1}).size(), 1u);
  EXPECT_FALSE(there("used"));
}

// A daemon died while it deleted one; nothing outside is followed.
TEST_F(UnusedStores, WhatWasBegunIsFinishedAndLinksAreLeftAlone) {
  make("half", std::chrono::hours(1));
  fs::rename(stores_ + "/half", stores_ + "/half.unused");
  fs::remove(stores_ + "/half.unused/LOCK");
  fs::create_directories(scratch_.at("outside"));
  std::ofstream(scratch_.at("outside/LOCK")).put('x');
  fs::create_directory_symlink(scratch_.at("outside"), stores_ + "/link");
  EXPECT_EQ(remove_unused_stores(stores_, {}).size(), 1u);
  EXPECT_FALSE(there("half.unused"));
  EXPECT_TRUE(fs::exists(scratch_.at("outside/LOCK")));
  EXPECT_THAT(remove_unused_stores(stores_ + "/nowhere", {}), IsEmpty());
}

}  // namespace
}  // namespace lares::daemon
