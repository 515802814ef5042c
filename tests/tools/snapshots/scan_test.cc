#include "tools/snapshots/scan.h"

#include <atomic>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "tests/tools/snapshots/snapshot_worktree.h"
#include "tools/snapshots/progress.h"
#include "tools/snapshots/stop.h"

namespace lares::tools {
namespace {

using test::Worktree;

// As if everything had lain there for a while. ctime cannot be set: so the clock is waited for.
void let_age() { ::usleep(2'100'000); }

class SnapshotScan : public testing::Test {
 protected:
  // How many files were read to say what the worktree holds.
  std::size_t reads() {
    const auto lock = store->lock();
    const auto scan = scanner.scan(*store);
    EXPECT_TRUE(lock && scan);
    if (scan) last = oid_text(scan->tree);
    return scanner.n_read();
  }
  const Worktree tree;
  SnapshotResult<SnapshotStore> store = SnapshotStore::open(tree.root(), tree.store());
  SnapshotScanner scanner{tree.root(), {}};
  std::string last;
};

TEST_F(SnapshotScan, ReadsNothingWhereNothingChanged) {
  for (int i = 0; i < 20; ++i) tree.write(fmt::format("d/{}", i), "text\n");
  tree.link("d/1", "link");
  let_age();
  EXPECT_EQ(reads(), 21u);
  const std::string first = last;
  EXPECT_EQ(reads(), 0u);
  EXPECT_EQ(last, first);
  tree.write("d/7", "TEXT\n");  // as long as before
  EXPECT_EQ(reads(), 1u);
  EXPECT_NE(last, first);
  ::chmod(tree.at("d/9").c_str(), 0755);
  EXPECT_EQ(reads(), 2u) << "d/7 is fresh still";
}

// Whoever waits for it hears how far it is, and of nothing before and after.
TEST_F(SnapshotScan, SaysHowFarItIs) {
  constexpr std::size_t kFiles = 3000;
  for (std::size_t i = 0; i < kFiles; ++i) tree.write(fmt::format("d/{}", i), "text\n");
  EXPECT_FALSE(scan_progress(tree.root()));
  std::atomic<bool> over = false;
  std::vector<ScanProgress> seen;
  std::thread looks([&] {
    while (!over)
      if (const auto so_far = scan_progress(tree.root())) seen.push_back(*so_far);
  });
  EXPECT_EQ(reads(), kFiles);
  over = true;
  looks.join();
  EXPECT_FALSE(scan_progress(tree.root()));
  std::size_t n_between = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_TRUE(seen[i].total == 0 || seen[i].total == kFiles) << seen[i].total;
    EXPECT_GE(seen[i].done, i > 0 ? seen[i - 1].done : 0);
    n_between += seen[i].done > 0 && seen[i].done < kFiles;
  }
  EXPECT_GT(n_between, 0u);
}

TEST_F(SnapshotScan, TrustsNoFileThatChangedJustNow) {
  tree.write("a.txt", "one\n");
  EXPECT_EQ(reads(), 1u);
  EXPECT_EQ(reads(), 1u) << "it may have changed again within the grain of the clock";
  let_age();
  EXPECT_EQ(reads(), 1u) << "once more, and then never again";
  EXPECT_EQ(reads(), 0u);
}

TEST_F(SnapshotScan, LooksAgainBeforeItSaysAFileIsTheSame) {
  using Still = SnapshotScanner::Still;
  tree.write("fresh", "one\n");
  reads();
  const PlainTree& files = scanner.files();
  EXPECT_EQ(scanner.still(files, "fresh"), Still::same);
  tree.write("fresh", "two\n");
  EXPECT_EQ(scanner.still(files, "fresh"), Still::other);
  tree.write("fresh", "one\n");
  EXPECT_EQ(scanner.still(files, "fresh"), Still::same) << "by its content, whatever its times";
  tree.remove("fresh");
  EXPECT_EQ(scanner.still(files, "fresh"), Still::gone);
  tree.write("unknown", "x");
  EXPECT_EQ(scanner.still(files, "unknown"), Still::other);
}

TEST_F(SnapshotScan, GivesUpWhereTheProcessEnds) {
  for (int i = 0; i < 9; ++i) tree.write("d/" + std::to_string(i), "text\n");
  reads();
  const std::string whole = last;
  const auto lock = store->lock();
  stop_snapshots();
  EXPECT_FALSE(scanner.scan(*store));
  stop_snapshots(false);
  const auto again = scanner.scan(*store);
  ASSERT_TRUE(again);
  EXPECT_EQ(oid_text(again->tree), whole);
}

// Directories without a change are not written again, so the others must be.
TEST_F(SnapshotScan, SeesWhatOneSeesThatRemembersNothing) {
  std::mt19937 random(1);
  const auto path = [&] {
    std::string out = fmt::format("d{}", random() % 4);
    while (random() % 3 != 0) out += fmt::format("/d{}", random() % 3);
    return out;
  };
  for (int round = 0; round < 150; ++round) {
    for (int i = 0; i < 2; ++i) {
      const std::string at = path();
      for (std::size_t slash = at.find('/'); slash != std::string::npos;
           slash = at.find('/', slash + 1))
        if (std::filesystem::is_regular_file(tree.at(at.substr(0, slash))))
          tree.remove(at.substr(0, slash));
      tree.remove(at);  // a file or a directory
      if (random() % 3 != 0) tree.write(at, std::to_string(random() % 3));
    }
    reads();
    const auto lock = store->lock();
    const auto anew = SnapshotScanner(tree.root(), {}).scan(*store);
    ASSERT_TRUE(lock && anew);
    ASSERT_EQ(last, oid_text(anew->tree)) << round;
  }
}

}  // namespace
}  // namespace lares::tools
