// What a model takes, from arithmetic, and what of it may stay in memory.
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "engine/model/checkpoint/weights.h"

namespace lares::engine {

// Bytes. All but the routed experts is needed for every token.
struct MemoryNeeds {
  std::uint64_t dense = 0;        // weights that every token meets, the embedding included
  std::uint64_t experts = 0;      // the routed ones
  std::uint64_t experts_min = 0;  // those of one layer: a chunk of a prompt may ask for all of them
  std::uint64_t tiles = 0;        // all matrices once more, in the order the kernels read them
  std::uint64_t sequence = 0;  // caches of one sequence that fills the context, with its snapshots
  std::uint64_t sequence_min = 0;  // of a short one
  std::uint64_t work = 0;          // of the forward pass: buffers for one chunk, and each thread's
};
MemoryNeeds memory_needs(const Weights& weights, bool exact, std::int64_t n_context, int chunk,
                         int n_threads);

struct MemoryPlan {
  bool tiles = false;             // build them in memory
  std::uint64_t experts_max = 0;  // of routed experts in memory; 0: all
  // Of all sequences; beyond what experts_max leaves them, experts make way
  std::uint64_t sequences_max = 0;
};
// How to live with `limit` bytes; no_memory, with the numbers, where that cannot be. Tiles are
// built up to `tiles_max` bytes.
Result<MemoryPlan> plan_memory(const MemoryNeeds& needs, std::uint64_t limit,
                               std::uint64_t tiles_max, const std::string& directory);

}  // namespace lares::engine
