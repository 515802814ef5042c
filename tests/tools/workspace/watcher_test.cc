#include "tools/workspace/watcher.h"

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "tests/tools/git/git_command.h"
#include "tests/tools/scratch.h"
#include "tools/workspace/scanner.h"

namespace lares::tools {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Names = std::vector<std::string>;

struct Watched {
  explicit Watched(const std::string& root,
                   WatcherLimits limits = {.quiet = 100ms, .storm_max = 1000ms})
      : scanner({root, {}}),
        watcher(
            io.get_executor(), root,
            [this](const TreeChange& change) { changes.push_back(change); },
            [this](const std::string& line) { notes.push_back(line); }, limits) {
    rewatch();
  }
  void rewatch() {
    EXPECT_TRUE(scanner.scan());
    watcher.watch(scanner.directories());
  }
  // The next storm, or nothing within the time.
  std::vector<TreeChange> next(std::chrono::milliseconds time = 5000ms) {
    changes.clear();
    const auto deadline = std::chrono::steady_clock::now() + time;
    while (changes.empty() && std::chrono::steady_clock::now() < deadline) {
      io.restart();
      io.run_one_until(deadline);
    }
    return changes;
  }

  boost::asio::io_context io;
  Scanner scanner;
  std::vector<TreeChange> changes;
  Names notes;
  Watcher watcher;
};

Names paths(const std::vector<TreeChange>& changes) {
  if (changes.empty()) return {"nothing"};
  return changes.front().everything ? Names{"everything"} : changes.front().paths;
}

TEST(Watcher, TellsOneStormOnce) {
  test::Scratch dir;
  dir.write("a/x.c", "1\n");
  dir.write("b.c", "1\n");
  Watched w(dir.root());
  EXPECT_EQ(w.watcher.n_watched(), 2u);
  for (int i = 0; i < 50; ++i) dir.write("a/x.c", std::to_string(i));
  fs::remove(dir.at("b.c"));
  dir.write("c.c", "1\n");
  EXPECT_EQ(paths(w.next()), (Names{"a/x.c", "b.c", "c.c"}));
  EXPECT_EQ(w.changes.size(), 1u);
  EXPECT_EQ(paths(w.next(400ms)), (Names{"nothing"}));
  dir.write("a/x.c", "again");
  EXPECT_EQ(paths(w.next()), (Names{"a/x.c"}));
}

TEST(Watcher, FollowsNewAndMovedDirectories) {
  test::Scratch dir;
  Watched w(dir.root());
  dir.write("new/deep/x.c", "1\n");  // may be there before the watch is
  EXPECT_EQ(paths(w.next()), (Names{"new", "new/deep", "new/deep/x.c"}));
  dir.write("new/deep/x.c", "2\n");
  EXPECT_EQ(paths(w.next()), (Names{"new/deep/x.c"}));
  fs::rename(dir.at("new"), dir.at("old"));
  EXPECT_EQ(paths(w.next()), (Names{"new", "old", "old/deep", "old/deep/x.c"}));
  dir.write("old/deep/y.c", "1\n");
  EXPECT_EQ(paths(w.next()), (Names{"old/deep/y.c"}));
  EXPECT_EQ(w.watcher.n_watched(), 3u);
  fs::remove_all(dir.at("old"));
  (void)w.next();
  EXPECT_EQ(w.watcher.n_watched(), 1u);
}

TEST(Watcher, LeavesIgnoredFilesAlone) {
  test::Scratch dir;
  test::git(dir.root(), "init -q");
  dir.write(".gitignore", "*.o\nout/\n");
  dir.write("a.c", "1\n");
  Watched w(dir.root());
  dir.write("a.o", "1\n");
  dir.write("out/b.c", "1\n");
  dir.write("node_modules/p/i.js", "1\n");
  test::git(dir.root(), "add a.c");
  EXPECT_EQ(paths(w.next(500ms)), (Names{"nothing"}));
  dir.write("a.c", "2\n");
  EXPECT_EQ(paths(w.next()), (Names{"a.c"}));
  EXPECT_EQ(w.watcher.n_watched(), 1u);
}

TEST(Watcher, AsksForAScanOfAllWhereItLostCount) {
  test::Scratch dir;
  dir.write("a.c", "1\n");
  Watched w(dir.root());
  std::size_t queue = 16'384;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> queue;
  if (queue > 100'000) GTEST_SKIP() << "a queue of " << queue << " events takes too long to fill";
  // Two files by turns, for equal events in a row are one.
  for (std::size_t i = 0; i <= queue; ++i) {
    ::utimensat(AT_FDCWD, dir.at("a.c").c_str(), nullptr, 0);
    if (i == 0) dir.write("b.c", "1\n");
    ::utimensat(AT_FDCWD, dir.at("b.c").c_str(), nullptr, 0);
  }
  EXPECT_EQ(paths(w.next()), (Names{"everything"}));
  dir.write("a.c", "2\n");
  EXPECT_EQ(paths(w.next()), (Names{"a.c"})) << "and counts again afterwards";
}

TEST(Watcher, AsksForAScanOfAllWhereManyFilesChanged) {
  test::Scratch dir;
  Watched w(dir.root(), {.quiet = 100ms, .paths_max = 3});
  for (const char* name : {"a", "b", "c", "d"}) dir.write(name, "1\n");
  EXPECT_EQ(paths(w.next()), (Names{"everything"}));
}

TEST(Watcher, GoesOnWithoutWhatItMayNotWatch) {
  test::Scratch dir;
  for (const char* name : {"a/x", "b/x", "c/x"}) dir.write(name, "1\n");
  Watched w(dir.root(), {.quiet = 100ms, .directories_max = 2});
  ASSERT_EQ(w.notes.size(), 1u);
  EXPECT_NE(w.notes[0].find("2 directories are watched and no more can be"), std::string::npos)
      << w.notes[0];
  EXPECT_NE(w.notes[0].find("fs.inotify.max_user_watches is "), std::string::npos) << w.notes[0];
  dir.write("a/x", "2\n");
  EXPECT_EQ(paths(w.next()), (Names{"everything"})) << "what is elsewhere may have changed as well";
  w.rewatch();
  EXPECT_EQ(w.notes.size(), 1u) << "said once";
}

TEST(Watcher, ReportsAStormThatDoesNotEnd) {
  test::Scratch dir;
  dir.write("a.c", "1\n");
  Watched w(dir.root(), {.quiet = 300ms, .storm_max = 600ms});
  const auto start = std::chrono::steady_clock::now();
  while (w.changes.empty() && std::chrono::steady_clock::now() - start < 5s) {
    dir.write("a.c", "more\n");
    w.io.restart();
    w.io.run_for(20ms);
  }
  EXPECT_EQ(paths(w.changes), (Names{"a.c"}));
}

TEST(Watcher, IsSilentOnceDestroyed) {
  test::Scratch dir;
  boost::asio::io_context io;
  int n = 0;
  {
    Watcher watcher(io.get_executor(), dir.root(), [&](const TreeChange&) { ++n; }, {},
                    {.quiet = 1ms});
    watcher.watch({""});
    dir.write("a.c", "1\n");
    io.run_for(20ms);
    dir.write("b.c", "1\n");
    n = 0;
  }
  io.restart();
  io.run_for(100ms);
  EXPECT_EQ(n, 0);
}

}  // namespace
}  // namespace lares::tools
