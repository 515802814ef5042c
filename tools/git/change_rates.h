// How often the files of a repository change, from its history: what tells the cold part of a
// prefix from the hot one.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "tools/workspace/source_file.h"

namespace lares::tools {

struct ChangeRateOptions {
  int commits_max = 2000;  // the newest ones, first parents only
  std::chrono::milliseconds time_max{3000};
  double half_life = 200;  // commits after which a change counts half
  // a commit that touches more (reformatting, an import) says nothing of each
  std::size_t bulk_files_min = 500;
};

struct ChangeRates {
  // By path below the root: sum of 2^(-age / half_life); a file that is not here has 0
  std::map<std::string, double> of;
  std::string head;   // the commit it starts from, 40 hex digits; "" without one
  int n_commits = 0;  // that were counted
  // The time ran out. What was counted then is a power of two of commits, so that two runs rarely
  // differ; without it, the result depends on the commit and the options alone.
  bool cut_short = false;
};

// Without a repository or a commit, nothing changes. A file that was only renamed keeps its
// history.
ChangeRates change_rates(const std::string& root,
                         const ChangeRateOptions& options = ChangeRateOptions());

// Cold to hot, by changes per byte of text: what is cheap to render again and often changes goes
// last, which is Smith's rule. The hottest sixteenth of all text is tier 3, up to a quarter tier 2,
// what else ever changed tier 1.
std::map<std::string, int> volatility_tiers(const ChangeRates& rates, const Workspace& files);

}  // namespace lares::tools
