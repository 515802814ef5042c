#include "tools/workspace/watcher.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
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
  explicit Watched(const std::string& at,
                   WatcherLimits limits = {.quiet = 100ms, .storm_max = 1000ms})
      : root(at),
        scanner({at, {}}),
        watcher(
            io.get_executor(), at, [this](const TreeChange& change) { changes.push_back(change); },
            [this](const std::string& line) { notes.push_back(line); }, limits) {
    rewatch();
  }
  void rewatch() {
    EXPECT_TRUE(scanner.scan());
    watcher.watch(plans.watch(scanner.directories()));
  }
  // The next storm, or nothing within the time.
  std::vector<TreeChange> next(std::chrono::milliseconds time = 60'000ms) {
    changes.clear();
    const auto deadline = std::chrono::steady_clock::now() + time;
    while (changes.empty() && std::chrono::steady_clock::now() < deadline) {
      io.restart();
      io.run_one_until(deadline);
    }
    return changes;
  }

  const std::string root;
  const WatchPlans plans{root};
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

TEST(Watcher, AsksTheKernelForNewDirectoriesOnly) {
  test::Scratch dir;
  for (char c = 'a'; c <= 't'; ++c) dir.write(std::string(1, c) + "/deep/x.c", "1\n");
  Watched w(dir.root());
  EXPECT_EQ(w.watcher.n_watched(), 41u);
  EXPECT_EQ(w.watcher.n_asked(), 41u);
  for (char c = 'a'; c <= 't'; ++c) dir.write(std::string(1, c) + "/deep/x.c", "2\n");
  (void)w.next();
  w.rewatch();
  EXPECT_EQ(w.watcher.n_asked(), 42u) << "the root may be another, nothing tells of it";
  dir.write("new/deep/x.c", "1\n");
  w.rewatch();
  EXPECT_EQ(w.watcher.n_asked(), 45u);
  EXPECT_EQ(w.watcher.n_watched(), 43u);
}

// A change in every directory that there is now, and what is told of it.
void expect_all_watched(Watched& w) {
  w.io.restart();
  w.io.poll();  // what was told so far
  w.rewatch();
  const auto write = [&](const std::string& path) { std::ofstream(w.root + "/" + path) << "1\n"; };
  for (int n = 0; n < 5; ++n) {  // until the storms before are over
    const std::string last = "last" + std::to_string(n);
    write(last);
    if (const Names told = paths(w.next()); std::ranges::count(told, last) == 1) break;
  }
  const Names directories = w.scanner.directories();
  EXPECT_EQ(w.watcher.n_watched(), directories.size());
  for (const std::string& directory : directories) {
    const std::string probe = directory.empty() ? "probe" : directory + "/probe";
    write(probe);
    EXPECT_EQ(paths(w.next()), (Names{probe}));
  }
}

// A watch follows what it watches to another name. The list may be of before the events are read.
TEST(Watcher, KnowsWhichDirectoryHasANameNow) {
  struct Case {
    const char* what;
    std::function<void(const test::Scratch& dir, const test::Scratch& outside)> change;
  };
  const auto make = [](const test::Scratch& dir) {
    dir.write("a/x.c", "1\n"), dir.write("a/sub/y.c", "1\n"), dir.write("b/sub/z.c", "1\n");
  };
  const Case cases[] = {
      {"deleted and made again",
       [&](const auto& dir, const auto&) { fs::remove_all(dir.at("a")), make(dir); }},
      {"moved, another in its place",
       [&](const auto& dir, const auto&) { fs::rename(dir.at("a"), dir.at("c")), make(dir); }},
      {"moved away, another in its place",
       [&](const auto& dir, const auto& out) { fs::rename(dir.at("a"), out.at("a")), make(dir); }},
      {"moved away, and back",
       [&](const auto& dir, const auto& out) {
         fs::rename(dir.at("a"), out.at("a")), fs::rename(out.at("a"), dir.at("a"));
       }},
      {"two by turns",
       [](const auto& dir, const auto&) {
         fs::rename(dir.at("a"), dir.at("c")), fs::rename(dir.at("b"), dir.at("a"));
         fs::rename(dir.at("c"), dir.at("b"));
       }},
      {"two at once",
       [](const auto& dir, const auto&) {
         EXPECT_EQ(::renameat2(AT_FDCWD, dir.at("a").c_str(), AT_FDCWD, dir.at("b").c_str(),
                               RENAME_EXCHANGE),
                   0);
       }},
      {"moved over an empty one",
       [](const auto& dir, const auto&) {
         fs::remove_all(dir.at("b/sub/z.c")), fs::rename(dir.at("a"), dir.at("b/sub"));
       }},
      {"one below, another in its place",
       [&](const auto& dir, const auto&) {
         fs::rename(dir.at("a/sub"), dir.at("b/more")), make(dir);
       }},
      {"the root, another in its place",
       [&](const auto& dir, const auto& out) {
         fs::rename(dir.root(), out.at("root"));
         fs::create_directory(dir.root()), make(dir);
       }},
  };
  for (const bool listed_first : {false, true}) {
    for (const Case& c : cases) {
      SCOPED_TRACE(std::string(c.what) + (listed_first ? ", listed before it was told" : ""));
      test::Scratch dir, outside;
      make(dir);
      Watched w(dir.root(), {.quiet = 10ms});
      c.change(dir, outside);
      if (listed_first) w.rewatch();
      expect_all_watched(w);
    }
  }
}

TEST(Watcher, AsksForADirectoryAgainWhereItsParentIsNotWatched) {
  test::Scratch dir, outside;
  test::git(dir.root(), "init -q");
  const auto make = [&] {
    dir.write("node_modules/p/x.js", "1\n"), dir.write("node_modules/p/q/y.js", "1\n");
  };
  make();
  test::git(dir.root(), "add -f .");
  Watched w(dir.root());
  EXPECT_EQ(w.scanner.directories(), (Names{"", "node_modules/p", "node_modules/p/q"}));
  fs::rename(dir.at("node_modules/p"), outside.at("p")), make();
  w.rewatch();
  for (const char* file : {"node_modules/p/x.js", "node_modules/p/q/y.js"}) {
    dir.write(file, "2\n");
    EXPECT_EQ(paths(w.next()), (Names{file}));
  }
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

// The thread that hears of changes is everybody's.
TEST(Watcher, APipeInARulesFilesPlaceHoldsNothingUp) {
  test::Scratch dir;
  test::git(dir.root(), "init -q");
  dir.write("sub/a.c", "1\n");
  Watched w(dir.root());
  ASSERT_EQ(::mkfifo(dir.at("sub/.gitignore").c_str(), 0600), 0);
  dir.write("sub/a.c", "2\n");
  const auto told = paths(w.next());
  EXPECT_NE(std::find(told.begin(), told.end(), "sub/a.c"), told.end());
}

std::size_t queue_length() {
  std::size_t queue = 16'384;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> queue;
  return queue;
}
constexpr std::size_t kQueueMax = 100'000;  // more take too long to fill

// By changes of the files a.c and b.c: by turns, for equal events in a row are one.
void fill_queue(const test::Scratch& dir) {
  const std::size_t queue = queue_length();
  for (std::size_t i = 0; i <= queue; ++i) {
    ::utimensat(AT_FDCWD, dir.at("a.c").c_str(), nullptr, 0);
    if (i == 0) dir.write("b.c", "1\n");
    ::utimensat(AT_FDCWD, dir.at("b.c").c_str(), nullptr, 0);
  }
}

// A long queue may be read in several storms; that it overflowed stands at its end.
Names end_of_queue(Watched& w) {
  Names told;
  do told = paths(w.next());
  while (told != Names{"everything"} && told != Names{"nothing"});
  return told;
}

TEST(Watcher, AsksForAScanOfAllWhereItLostCount) {
  if (queue_length() > kQueueMax) GTEST_SKIP() << "a queue of " << queue_length() << " events";
  test::Scratch dir;
  dir.write("a.c", "1\n");
  Watched w(dir.root());
  fill_queue(dir);
  EXPECT_EQ(end_of_queue(w), (Names{"everything"}));
  dir.write("a.c", "2\n");
  EXPECT_EQ(paths(w.next()), (Names{"a.c"})) << "and counts again afterwards";
}

TEST(Watcher, AsksForAllAgainWhereItLostCount) {
  if (queue_length() > kQueueMax) GTEST_SKIP() << "a queue of " << queue_length() << " events";
  test::Scratch dir, outside;
  for (const char* file : {"a.c", "a/x.c", "a/sub/y.c", "b/z.c"}) dir.write(file, "1\n");
  Watched w(dir.root());
  fill_queue(dir);
  fs::rename(dir.at("a"), outside.at("a"));
  fs::rename(dir.at("b"), dir.at("a"));
  for (const char* file : {"a/sub/y.c", "b/z.c"}) dir.write(file, "1\n");
  EXPECT_EQ(end_of_queue(w), (Names{"everything"}));
  w.rewatch();
  expect_all_watched(w);
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
  while (w.changes.empty() && std::chrono::steady_clock::now() - start < 60s) {
    dir.write("a.c", "more\n");
    w.io.restart();
    w.io.run_for(20ms);
  }
  EXPECT_EQ(paths(w.changes), (Names{"a.c"}));
}

// By the view that it asked before, which another plan has brought up to date.
TEST(Watcher, KeepsToTheRulesOfNow) {
  test::Scratch dir, elsewhere;
  test::git(dir.root(), "init -q");
  dir.write("a.c", "1\n");
  elsewhere.write("mine", "*.mine\n");
  Watched w(dir.root());
  const auto told_of = [&](const std::string& name) {
    w.rewatch();
    w.rewatch();
    dir.write(name, "1\n"), dir.write("last", "1\n");
    const Names told = paths(w.next());
    return std::ranges::count(told, name) == 1;
  };
  EXPECT_TRUE(told_of("x.o"));
  dir.write(".gitignore", "*.o\n");
  (void)w.next();
  EXPECT_FALSE(told_of("x.o"));
  EXPECT_TRUE(told_of("x.mine"));
  test::git(dir.root(), "config core.excludesFile " + elsewhere.at("mine"));
  EXPECT_FALSE(told_of("x.mine"));
  dir.write(".git/info/exclude", "*.out\n");
  EXPECT_FALSE(told_of("x.out"));
  fs::remove_all(dir.at(".git"));
  EXPECT_TRUE(told_of("x.o"));
  test::git(dir.root(), "init -q");
  EXPECT_FALSE(told_of("x.o"));
}

TEST(Watcher, IsSilentOnceDestroyed) {
  test::Scratch dir;
  boost::asio::io_context io;
  int n = 0;
  {
    Watcher watcher(io.get_executor(), dir.root(), [&](const TreeChange&) { ++n; }, {},
                    {.quiet = 1ms});
    watcher.watch(WatchPlans(dir.root()).watch({""}));
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
