// The plainest composer: four tiers of volatility, path order in each, what is over the budget left out. It counts tokens
// and makes none, which is all that replaying a history asks of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "daemon/residency/rebase.h"

namespace lares::daemon {

inline constexpr int kTiers = 4;
inline constexpr std::int64_t kPromptHeadTokens = 1'000;  // before the tree

struct TieredOptions {
  std::int64_t budget_tokens = kLargeBudget;
  std::function<double(const std::string& path)> changes;  // of late, decayed; any unit
  CountTokens count;
};

Composer tiered_composer(TieredOptions options);

}  // namespace lares::daemon
