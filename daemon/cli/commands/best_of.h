// lares run --best-of N: the same task N times, each in a worktree of its own with another seed;
// the tests say which is kept.
#pragma once

#include <string>

#include "daemon/cli/options.h"

namespace lares::cli {

inline constexpr int kAttemptsMin = 2, kAttemptsMax = 8;

struct BestOfOptions {
  int n = 0;         // 0: not asked for
  std::string test;  // a command for a shell; empty: the runner that the tool `test` finds
  bool apply = false, keep = false;

  void add_to(CLI::App& app);
  // What does not go together; empty: all does
  std::string wrong(const TurnOptions& turn, bool worktree) const;
};

int best_of(const DaemonOptions& daemon, const TurnOptions& turn, const BestOfOptions& options,
            const std::string& prompt);

}  // namespace lares::cli
