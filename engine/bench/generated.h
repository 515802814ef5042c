// Layers of a shape with generated weights: one CSA, one HCA and one SWA layer (which shares the
// HCA layer's matrices), the head, and caches as a long context leaves them.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "engine/bench/region.h"
#include "engine/bench/team.h"
#include "engine/model/checkpoint/weights.h"
#include "engine/model/state.h"
#include "kernels/tiles.h"

namespace lares::engine::bench {

inline constexpr int kCsaLayer = 0, kHcaLayer = 1, kSwaLayer = 2;

struct LayerPlan {
  Config config;  // the shape with three layers, and as many experts as fit
  int experts_of_shape = 0;
  std::uint64_t weight_bytes = 0, other_bytes = 0;  // other: caches and activations
};
// no_memory when even num_experts_per_tok experts a layer do not fit into memory_gb, or the whole
// does not fit the machine.
Result<LayerPlan> plan_layers(const Config& shape, double memory_gb, std::int64_t context_max,
                              int chunk, int threads);

struct GeneratedLayers {
  Region region;
  std::deque<kernels::Tiles> tiles;  // of all matrices but the f32 ones
  std::unique_ptr<Weights> weights;
};
Result<GeneratedLayers> generate_layers(const LayerPlan& plan, Team& team);

// Caches as if `position` tokens were in, with room for more; random values.
void fill_pages(const Config& c, State& state, std::int64_t position, std::int64_t room);
void fill_rings(const Config& c, const LayerWeights& w, LayerState& state, int chunk);

}  // namespace lares::engine::bench
