// The prompts that are remembered, and the file they are in.
#include "daemon/cli/interactive/history.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/temporary_directory.h"

namespace lares::cli {
namespace {

namespace fs = std::filesystem;

class HistoryTest : public testing::Test {
 protected:
  const TemporaryDirectory directory_;
  const std::string path_ = History::path_of(directory_.path(), "/home/me/shop");
};

TEST_F(HistoryTest, WherePastesStandComesBackUnlessItMakesNoSense) {
  const std::vector<Pasted> pasted{{2, 3}, {5, 4}}, none;
  ASSERT_TRUE(History(path_).add("a bcd\nefg", pasted));
  ASSERT_TRUE(History(path_).add("typed", none));
  for (const char* bounds :
       {"[[2,9]]", "[[9,1]]", "[[3,2],[1,1]]", "[[-1,2]]", "[2,3]", "7", "[[1]]"})
    std::ofstream(path_, std::ios::app) << "{\"text\":\"a bcd\",\"pasted\":" << bounds << "}\n";
  std::ofstream(path_, std::ios::app) << "{\"pasted\":[]}\n{\"text\":3}\n{\"text\":\"bare\"}\n";
  const History history(path_);
  ASSERT_EQ(history.entries().size(), 10u);
  EXPECT_EQ(history.entries()[0], "a bcd\nefg");
  EXPECT_EQ(history.pasted_in(0), pasted);
  for (std::size_t i = 1; i < 10; ++i) EXPECT_EQ(history.pasted_in(i), none) << i;
  EXPECT_EQ(history.entries()[9], "bare");
}

TEST_F(HistoryTest, EntriesOfManyLinesComeBack) {
  History first(path_);
  ASSERT_TRUE(first.add("one", {}));
  ASSERT_TRUE(first.add("two\nlines \"quoted\" \xE6\xBC\xA2", {}));
  ASSERT_TRUE(first.add("two\nlines \"quoted\" \xE6\xBC\xA2", {}));
  const std::vector<std::string> expected{"one", "two\nlines \"quoted\" \xE6\xBC\xA2"};
  EXPECT_EQ(first.entries(), expected);
  EXPECT_EQ(History(path_).entries(), expected);
  struct stat s {};
  ASSERT_EQ(::stat(path_.c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777, 0600u);
}

TEST_F(HistoryTest, RepositoriesOfOneNameHaveAHistoryEach) {
  EXPECT_NE(History::path_of("/s", "/a/shop"), History::path_of("/s", "/b/shop"));
}

TEST_F(HistoryTest, DamageCostsTheLinesItIsIn) {
  ASSERT_TRUE(History(path_).add("one", {}));
  std::ofstream(path_, std::ios::app) << "\"cut\n17\n\xFF\xFF\n\n";
  ASSERT_TRUE(History(path_).add("two", {}));
  EXPECT_EQ(History(path_).entries(), (std::vector<std::string>{"one", "two"}));
}

TEST_F(HistoryTest, ItIsBounded) {
  History history(path_);
  EXPECT_TRUE(history.add(std::string(kHistoryEntryBytesMax + 1, 'x'), {}));
  EXPECT_TRUE(history.entries().empty());
  const std::string large(kHistoryEntryBytesMax / 2, 'y');
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(history.add(std::to_string(i) + large, {}));
  ASSERT_GT(fs::file_size(path_), kHistoryFileBytesMax);
  EXPECT_EQ(History(path_).entries().size(), 40u);
  EXPECT_LE(fs::file_size(path_), kHistoryFileBytesMax / 2);
  EXPECT_EQ(History(path_).entries().back(), "39" + large);
  for (std::size_t i = 0; i < kHistoryEntriesMax + 5; ++i)
    ASSERT_TRUE(history.add(std::to_string(i), {}));
  EXPECT_EQ(history.entries().size(), kHistoryEntriesMax);
}

TEST_F(HistoryTest, WhatCannotBeWrittenIsSaid) {
  History history("/dev/null/history/x");
  const auto added = history.add("one", {});
  ASSERT_FALSE(added);
  EXPECT_NE(added.error().message.find("/dev/null/history"), std::string::npos);
}

}  // namespace
}  // namespace lares::cli
