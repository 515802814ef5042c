// Where the tiles of each matrix lie, one behind the other, in memory and in a file alike.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/checkpoint/weights.h"
#include "kernels/thread_pool.h"
#include "kernels/tiles.h"

namespace lares::engine {

// Where a matrix's tiles and, for fp8, their scales lie from the beginning of the data. Bytes.
struct Slot {
  const NamedMatrix* of;
  std::uint64_t at, scale_at, end;
};
// The one for `of` behind those that end at `end`.
Slot slot_after(std::uint64_t end, const NamedMatrix& of);
// One for every matrix that tiles can hold, in order. Reads all weights.
std::vector<Slot> plan_slots(const Weights& weights, kernels::ThreadPool& pool);
// Writes the tiles of `slot` into `data`, which slot.at is an offset in.
void fill(const Slot& slot, std::uint8_t* data, kernels::ThreadPool& pool);
kernels::Tiles tiles_at(const Slot& slot, const std::uint8_t* data);

}  // namespace lares::engine
