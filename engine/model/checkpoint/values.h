// Every value of a checkpoint, read once: what is not a number, and a digest of all bytes.
#pragma once

#include <cstdint>
#include <string>

#include "engine/model/checkpoint/checkpoint.h"
#include "kernels/thread_pool.h"

namespace lares::engine {

struct Values {
  std::uint64_t bytes = 0, bad = 0;  // bad: NaN and infinite values, NaN scales
  std::string first_bad;             // tensor and place of the first, in the order of names
  // Of names and bytes; the same for the same tensors, however they are cut into shards
  std::uint64_t digest = 0;
};
Values read_values(const Checkpoint& checkpoint, kernels::ThreadPool& pool,
                   const Progress& progress);

}  // namespace lares::engine
