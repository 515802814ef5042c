// What a long shared beginning takes and what it costs to begin with it: pages and frontier of the
// shape, no weights.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/bench/runner.h"

namespace lares::engine::bench {

inline constexpr std::int64_t kPrefixTokens = 1'000'000;

std::vector<Step> prefix_steps();

}  // namespace lares::engine::bench
