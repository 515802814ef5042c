// How much of what an SM has for L1 and shared memory a launch asks to have as the latter. Left to
// the driver, a kernel with little of it gets a split of its own, and an SM changes its split only
// when no block is on it: then the next launch's blocks wait where they could begin early. For
// comparisons (engine_flash_gpu_bench) until a device has shown which is faster.
#pragma once

#include <atomic>

namespace lares::kernels::cuda {

enum class SharedSplit : int {
  unasked = -2,
  driver = -1,  // cudaSharedmemCarveoutDefault, which undoes the next
  most = 100    // cudaSharedmemCarveoutMaxShared
};

// Of all launches from now on, of whatever device; recordings of before are to be made anew.
inline std::atomic<SharedSplit>& shared_split() {
  static std::atomic<SharedSplit> split = SharedSplit::unasked;
  return split;
}

}  // namespace lares::kernels::cuda
