// What the emulation (simt_host.h) keeps of a cluster that runs: its threads, what they wait for,
// and what goes on beside them.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "emulated_launch.h"

namespace lares::kernels::cuda::simt {

struct Barrier {
  int arrived = 0;
  unsigned generation = 0;
  races::Meeting meeting;
};
struct Warp {
  Barrier barrier;
  std::uint32_t words[32][8];
};
struct Copy {
  void* to;
  const void* from;
  int bytes, group;
  races::Begun begun;
};
template <class Who>
void land(const Who& who, const Copy& c) {
  races::landed(who, c.begun, c.to, c.from, static_cast<std::size_t>(c.bytes));
  if (c.from)
    std::memcpy(c.to, c.from, static_cast<std::size_t>(c.bytes));
  else
    std::memset(c.to, 0, static_cast<std::size_t>(c.bytes));
}
struct Phase {
  int arrivals = 0, left = 0;
  std::int64_t expected = 0, copied = 0;  // bytes
  bool parity = false;                    // of the phase that goes on
  std::vector<Copy> copies;
  races::Engine engine;
  races::Known gathered, known[2];  // of who has arrived; of the phases of both parities
};
struct Later {
  float* d;
  int n, group;
  bool chained;  // behind another one that adds to d
  std::vector<float> sums;
  std::function<void()> make;
  races::Begun begun;
};
struct Fiber {
  static constexpr std::size_t kStack = 128 << 10;
  jmp_buf at;
  ucontext_t start, back;
  bool started = false, done = true;
  const Barrier* waits = nullptr;
  unsigned generation = 0;
  Phase* phase = nullptr;
  bool parity = false;
  std::unique_ptr<char[]> stack{new char[kStack]};
  std::vector<Copy> copies;
  std::vector<Later> later;
  int groups = 0, copy_groups = 0;
  unsigned arrivals = 0;    // at the cluster's barrier
  bool arrived = false;     // ... and has not waited since
  bool met = false;         // has waited there
  bool stored = false;      // in another block, since it last arrived
  bool for_inputs = false;  // it waits for them
  races::Thread race;
};
struct Words {
  std::uint32_t w[4];
};
inline constexpr std::size_t kSharedGuard = 264;  // words of 16 bytes behind the last
struct Block {
  Dim at;
  std::vector<Words> shared;
  std::vector<Warp> warps;
  Barrier barrier, named[16];
  int live = 0;            // threads that have not ended
  void* memory = nullptr;  // aligned as on a device
};
struct Store {
  void* to;
  std::uint32_t word;
  const Block* in;
  unsigned after;  // so many arrivals of the thread
};

}  // namespace lares::kernels::cuda::simt
