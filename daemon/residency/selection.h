// Which files are shown in full, which as an outline, and which by name only, when not all of them
// fit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/residency/token_cache.h"
#include "tools/git/change_rates.h"
#include "tools/workspace/source_file.h"

namespace lares::daemon {

inline constexpr std::string_view kOverBudget = "over budget";

struct Candidate {
  tools::SourceFile source;  // with its text; `shown` and `reason` are the selection's answer
  double rate = 0;           // of change
  // Tokens it costs when only its name is shown: 0 where the tree does that
  std::int64_t n_if_path = 0;
  Tokens tokens;  // rendered; null when only its name is shown
};

// Greedy by changes per byte, for what changes is what is worked on: pins first, then README and
// AGENTS.md, then the rest in full; then outlines. Answers how many of `n_tokens` are used, names
// included. Deterministic.
std::int64_t select_shown(std::vector<Candidate>& candidates, std::int64_t n_tokens,
                          const std::vector<std::string>& pins, TokenCache& cache);

}  // namespace lares::daemon
