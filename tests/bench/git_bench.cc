// What calls cost in a repository that is there, which stays as it is but for one file that is
// written and removed again: lares_git_bench DIR [ONLY]
// The git tool's status, log and diff, an outline of one directory and one by a name, and a
// snapshot after one changed file. Beside them what each call begins with: opening the repository,
// and reading its index. Medians of 21. ONLY those whose names hold it.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/temporary_directory.h"
#include "tools/git/git_tool.h"
#include "tools/git/index_file.h"
#include "tools/git/library.h"
#include "tools/git/repo.h"
#include "tools/outline/outline_tool.h"
#include "tools/snapshots/snapshots.h"

namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
namespace tools = lares::tools;
using nlohmann::json;

constexpr int kRounds = 21;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(2);
}

void run(tools::Tool& tool, json args) {
  asio::io_context io;
  std::string why = "the call did not end";
  asio::co_spawn(io, tool.run(std::move(args), {}),
                 [&](std::exception_ptr thrown, tools::Result<tools::Outcome> result) {
                   why = thrown || !result ? "the call broke" : result->ok ? "" : result->text;
                 });
  io.run();
  if (!why.empty()) fail(why);
}

// Of all threads, the kernel's work for them included; as much on a machine that others use.
double cpu_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}
double wall_ms() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
double median(std::vector<double> v) {
  std::ranges::sort(v);
  return v[v.size() / 2];
}

std::string only;  // what is measured, by a piece of its name

void report(std::string_view what, const std::function<void(int)>& work) {
  if (what.find(only) == std::string_view::npos) return;
  std::vector<double> wall, cpu;
  for (int i = 0; i < kRounds; ++i) {
    const double began = wall_ms(), used = cpu_ms();
    work(i);
    cpu.push_back(cpu_ms() - used);
    wall.push_back(wall_ms() - began);
  }
  fmt::print("{:<28} {:8.2f} ms, {:8.2f} of CPU\n", what, median(wall), median(cpu));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) fail("usage: lares_git_bench DIR [ONLY], DIR a git repository");
  if (argc == 3) only = argv[2];
  tools::BuiltinOptions options;
  options.root = fs::canonical(argv[1]);
  tools::git::start_library();
  const auto git = tools::make_git_tool({}, options);
  const auto outline = tools::make_outline_tool({}, options);
  report("open the repository", [&](int) {
    if (const auto opened = tools::git::open_repository(options.root); !opened)
      fail(opened.error());
  });
  report("read the index", [&](int) {
    const auto opened = tools::git::open_repository(options.root);
    if (!opened || !tools::git::read_index_file(opened->repo.get())) fail("read the index");
  });
  report("git log", [&](int) { run(*git, {{"command", "log"}}); });
  report("git show HEAD", [&](int) { run(*git, {{"command", "show"}, {"rev", "HEAD"}}); });
  report("git branch", [&](int) { run(*git, {{"command", "branch"}}); });
  report("git status", [&](int) { run(*git, {{"command", "status"}}); });
  report("git diff", [&](int) { run(*git, {{"command", "diff"}}); });
  std::string one;  // a directory with sources, the first in the walk
  for (fs::recursive_directory_iterator at(options.root), end; at != end && one.empty(); ++at)
    if (at->path().filename() == ".git")
      at.disable_recursion_pending();
    else if (at->is_regular_file() && at->path().extension() == ".cc")
      one = at->path().parent_path().lexically_relative(options.root);
  report("outline of one directory", [&](int) { run(*outline, {{"path", one}}); });
  report("outline: choices of names", [&](int) { (void)outline->choices("name", {}); });
  if (std::string_view("snapshot, nothing changed, one file changed").find(only) ==
      std::string_view::npos)
    return 0;  // for the first takes seconds
  const lares::TemporaryDirectory store;
  auto snapshots = tools::Snapshots::open(options.root, store.path());
  if (!snapshots) fail(snapshots.error());
  if (const auto first = snapshots->take("first"); !first) fail(first.error());
  report("snapshot, nothing changed", [&](int) {
    if (!snapshots->take("same")) fail("take a snapshot");
  });
  const std::string changed = options.root + "/lares-git-bench.tmp.cc";
  report("snapshot, one file changed", [&](int i) {
    std::ofstream(changed) << i;
    if (!snapshots->take("one")) fail("take a snapshot");
  });
  fs::remove(changed);
}
