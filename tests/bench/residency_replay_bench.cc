// What keeping a repository resident costs: made-up histories, and those of the git repositories
// named.
//   lares_residency_replay_bench [--budget TOKENS] [--commits N] [--full-only] [REPOSITORY...]
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/daemon/residency/replay/git_history.h"
#include "tests/daemon/residency/replay/replay.h"
#include "tests/daemon/residency/synthetic_history.h"

namespace lares::daemon {
namespace {

using Open = std::function<std::unique_ptr<History>()>;

void show(const std::string& name, const ReplayOptions& options, const Open& open) {
  const auto start = std::chrono::steady_clock::now();
  const auto history = open();
  if (!history) return;
  fmt::print("{}", replay_row(name, replay(*history, options, /*check_every=*/10)));
  const auto events = open();
  HunkByHunk hunks(*events);
  const ReplayResult by_hunk = replay(hunks, options);
  fmt::print("{}", replay_row(name + ", hunk by hunk", by_hunk));
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  fmt::print(stderr, "{}: {:.1f} s\n", name, time.count());
}

int run(int argc, char** argv) {
  std::int64_t budget = kLargeBudget;
  std::size_t n_commits = 400;
  bool full_only = false;
  std::vector<std::string> repositories;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--budget" && i + 1 < argc) {
      budget = std::atoll(argv[++i]);
    } else if (arg == "--commits" && i + 1 < argc) {
      n_commits = static_cast<std::size_t>(std::atoll(argv[++i]));
    } else if (arg == "--full-only") {
      full_only = true;
    } else {
      repositories.push_back(arg);
    }
  }
  const ReplayOptions options{
      .budget_tokens = budget, .count = test::by_bytes, .full_only = full_only};
  fmt::print("{}", replay_header());
  for (const int n_files : {300, 900}) {
    show(fmt::format("made up, {} files", n_files), options, [&] {
      return std::make_unique<test::SyntheticHistory>(
          test::SyntheticOptions{.n_files = n_files, .n_commits = static_cast<int>(n_commits)});
    });
  }
  for (const std::string& path : repositories) {
    show(path.substr(path.find_last_of('/') + 1), options, [&]() -> std::unique_ptr<History> {
      auto opened = open_git_history(path, n_commits);
      if (!opened) fmt::print(stderr, "{}\n", opened.error());
      return opened ? std::move(*opened) : nullptr;
    });
  }
  return 0;
}

}  // namespace
}  // namespace lares::daemon

int main(int argc, char** argv) { return lares::daemon::run(argc, argv); }
