// What the forward pass takes beside weights and sequences, from arithmetic: the buffers of
// forward.h, which stay as large as they ever were, and what each thread keeps for itself.
#pragma once

#include <cstdint>

#include "engine/model/checkpoint/weights.h"

namespace lares::engine {

struct WorkShape {
  bool exact = false;
  std::int64_t n_context = 0;  // tokens of the longest sequence
  int chunk = 0;               // tokens evaluated at a time
  int n_threads = 1;
};
// Bytes, at most, while some of another's chunk comes between its layers: streams of up to half a
// chunk.
std::uint64_t work_bytes(const Weights& weights, const WorkShape& shape);

}  // namespace lares::engine
