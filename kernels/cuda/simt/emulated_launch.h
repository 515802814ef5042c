// A launch as the emulation takes it (simt_host.h), and what it says of a kernel's code to a race
// detector, where there is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#ifdef LARES_RACES
#include "races.h"
#define LARES_UNSEEN __attribute__((no_sanitize("thread")))
#define LARES_APART __attribute__((noinline))
#else
#include "no_races.h"
#define LARES_UNSEEN
#define LARES_APART
#endif
// In what a kernel's code calls: from here on it is the emulation that works. LARES_APART, so that
// there is somebody who calls; what only looks something up is LARES_UNSEEN instead.
#define LARES_INSIDE const races::Inside inside(__builtin_return_address(0))

namespace lares::kernels::cuda::simt {

struct Dim {
  int x = 1, y = 1, z = 1;
};
enum class Order {
  ascending,
  descending,
  scattered,
  greedy
};  // greedy: the first thread that can go on does, so warps drift apart

struct Launch {
  Dim grid;
  int threads = 0;
  std::size_t shared_bytes = 0;
  int cluster = 1;  // how many blocks, consecutive along x, make a cluster
  std::function<void()> body;
  races::Place place = {};  // where launches overlap

  int clusters() const { return grid.x / cluster * grid.y * grid.z; }
  Dim first_of(int i) const {  // its first block
    const int along = grid.x / cluster;
    return {i % along * cluster, i / along % grid.y, i / along / grid.y};
  }
};

}  // namespace lares::kernels::cuda::simt
