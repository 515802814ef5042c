// One layer of each kind with generated weights: what a token costs at several context lengths, and
// what a prompt costs.
#pragma once

#include <memory>
#include <vector>

#include "engine/bench/generated.h"
#include "engine/bench/runner.h"

namespace lares::engine::bench {

inline constexpr std::int64_t kContexts[] = {8192, 131072, 1048576};

// The steps; what they share lives as long as they do. The first one generates the weights.
std::vector<Step> layer_steps(const LayerPlan& plan, bool decode, int prefill_tokens);

// How many of a shape's layers are SWA, CSA and HCA.
struct LayerCounts {
  int swa = 0, csa = 0, hca = 0;
};
LayerCounts count_layers(const Config& c);

}  // namespace lares::engine::bench
