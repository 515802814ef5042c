// What a step of the agent waits for: lares_snapshot_bench [DIR]
// A worktree of 20,000 files in 2,000 directories, committed, then 500 of them edited and 500 new
// ones: the first snapshot, one where nothing changed, one after 20 edits, going back over 20
// edits, and a scan where nothing changed. Beside them their floor: one thread that reads every
// directory and asks stat of every file. Medians; exit status 1 where one of the last four is above
// 150 ms and above three floors. DIR is where the worktree is made; the disk counts, for snapshots
// and restored files are synced.
#include <fmt/format.h>
#include <dirent.h>
#include <fcntl.h>
#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "tests/temporary_directory.h"
#include "tools/snapshots/snapshots.h"
#include "tools/workspace/scanner.h"

namespace {

namespace fs = std::filesystem;
using lares::tools::Snapshots;
using Clock = std::chrono::steady_clock;

constexpr double kBoundMs = 150, kFloors = 3;
constexpr int kFiles = 20'000, kPerDirectory = 10, kDirty = 500, kEdits = 20, kRounds = 15;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(2);
}
template <class T>
T must(lares::tools::SnapshotResult<T> result) {
  if (!result) fail(result.error());
  return std::move(*result);
}

class Worktree {
 public:
  explicit Worktree(const std::string& parent) : made_(parent), root_(made_.path()) {
    fs::create_directory(files());
    for (int i = 0; i < kFiles; ++i)
      write(name(i), text(100 + static_cast<int>(random_() % 16'000)));
    commit();
    for (int i = 0; i < kDirty; ++i) write(name(i * 20), text(5'000));
    for (int i = 0; i < kDirty; ++i) write(name(i * 20) + ".new", text(5'000));
  }
  std::string files() const { return root_ + "/files"; }
  std::string store() const { return root_ + "/store"; }
  void edit(int round) {
    for (int i = 0; i < kEdits; ++i) write(name(17 + i * 333), text(4'000 + round));
  }

 private:
  static std::string name(int i) {
    const int directory = i / kPerDirectory;
    return fmt::format("d{}/s{}/f{}.cc", directory / 50, directory % 50, i % kPerDirectory);
  }
  std::string text(int n) {  // compresses about as sources do
    std::string out;
    while (static_cast<int>(out.size()) < n)
      out += fmt::format("  value_{} = compute({});\n", random_() % 4096, random_() % 97);
    return out;
  }
  void write(const std::string& path, const std::string& bytes) {
    fs::create_directories(fs::path(files() + "/" + path).parent_path());
    std::ofstream(files() + "/" + path, std::ios::binary) << bytes;
  }
  void commit() {
    git_libgit2_init();
    git_repository* repository = nullptr;
    git_index* index = nullptr;
    if (git_repository_init(&repository, files().c_str(), 0) != 0 ||
        git_repository_index(&index, repository) != 0 ||
        git_index_add_all(index, nullptr, 0, nullptr, nullptr) != 0 ||
        git_index_write(index) != 0) {
      fail(std::string("make the repository: ") + git_error_last()->message);
    }
    git_index_free(index);
    git_repository_free(repository);
  }

  const lares::TemporaryDirectory made_;
  const std::string root_;
  std::mt19937_64 random_{1};
};

std::size_t walk(int parent, const char* name) {
  std::size_t n = 0;
  const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR* const dir = fd < 0 ? nullptr : ::fdopendir(fd);
  if (!dir) fail(fmt::format("read the directory {}: cannot", name));
  while (const dirent* const entry = ::readdir(dir)) {
    const std::string_view found = entry->d_name;
    if (found == "." || found == ".." || found == ".git") continue;
    struct stat st {};
    if (entry->d_type == DT_DIR)
      n += walk(fd, entry->d_name);
    else
      n += ::fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
  }
  ::closedir(dir);
  return n;
}

template <class Work>
double ms(Work work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}
double median(std::vector<double> v) {
  std::ranges::sort(v);
  return v[v.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  Worktree worktree(argc > 1 ? argv[1] : fs::temp_directory_path().string());
  ::sleep(3);  // as old as files are when a session begins: those of the last two seconds are read
               // again
  auto snapshots = must(Snapshots::open(worktree.files(), worktree.store()));
  const double cold = ms([&] { must(snapshots.take("cold")); });
  lares::tools::Scanner scanner({.root = worktree.files(), .limits = {}});
  if (!scanner.scan()) fail("scan the worktree: cannot");
  std::vector<double> floor, unchanged, changed, restored, scanned;
  for (int round = 0; round < kRounds; ++round) {
    floor.push_back(ms([&] {
      if (walk(AT_FDCWD, worktree.files().c_str()) != kFiles + kDirty) fail("files are missing");
    }));
    scanned.push_back(ms([&] { (void)scanner.scan(); }));
    unchanged.push_back(ms([&] { must(snapshots.take("unchanged")); }));
    const std::string before = must(snapshots.take("before")).id;
    worktree.edit(round);
    changed.push_back(ms([&] { must(snapshots.take("changed")); }));
    restored.push_back(ms([&] {
      const auto out = must(snapshots.restore(before, {.all = true, .paths = {}}));
      if (out.done.size() != kEdits || !out.not_done.empty()) fail("not all files went back");
    }));
  }
  std::printf("%d files, %d of them dirty, %d untracked; medians of %d\n", kFiles + kDirty, kDirty,
              kDirty, kRounds);
  std::printf("first snapshot            %7.1f ms\n", cold);
  const double least = median(floor);
  std::printf("a stat of each file       %7.1f ms\n", least);
  bool slow = false;
  const auto report = [&](const char* what, const std::vector<double>& times) {
    const double t = median(times);
    const bool is_slow = t > kBoundMs && t > kFloors * least;
    slow |= is_slow;
    std::printf("%-25s %7.1f ms  %5.2f of that  (bound %.0f ms, or %.0f)%s\n", what, t, t / least,
                kBoundMs, kFloors, is_slow ? "  TOO SLOW" : "");
  };
  report("nothing changed", unchanged);
  report("20 files changed", changed);
  report("back over 20 files", restored);
  report("scan, nothing changed", scanned);
  return slow ? 1 : 0;
}
