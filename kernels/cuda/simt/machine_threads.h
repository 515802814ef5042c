// How emulated threads (simt_host.h) take their turns: a fiber each, which goes on until it waits.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "simt_host.h"

namespace lares::kernels::cuda::simt {

inline void Machine::run_ahead(const Launch& launch, Order order, Dim first) {
  prepare(launch, order);
  begin(first);
  inputs_there_ = false;
  go_on();
  for (const Block& b : blocks_)
    if (b.live == 0) {
      std::fprintf(stderr, "emulated kernel: block %d %d %d waits for no inputs\n", b.at.x, b.at.y,
                   b.at.z);
      std::abort();
    }
  inputs_there_ = true;
}
inline void Machine::prepare(const Launch& launch, Order order) {
  const int cluster = launch.cluster;
  if (launch.grid.x % cluster != 0) {
    std::fprintf(stderr, "emulated kernel: %d blocks are no clusters of %d\n", launch.grid.x,
                 cluster);
    std::abort();
  }
  grid_ = launch.grid;
  threads_ = launch.threads;
  shared_bytes_ = launch.shared_bytes;
  greedy_ = order == Order::greedy;
  body_ = &launch.body;
  place_ = launch.place;
  const int n = threads_ * cluster;
  while (static_cast<int>(fibers_.size()) < n) fibers_.push_back(std::make_unique<Fiber>());
  blocks_.resize(static_cast<std::size_t>(cluster));
  turn_.resize(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i)
    turn_[static_cast<std::size_t>(i)] = order == Order::ascending || greedy_ ? i
                                         : order == Order::descending
                                             ? n - 1 - i
                                             : static_cast<int>((i * 7919LL + 13) % n);
}
inline void Machine::begin(Dim first) {
  cluster_number_ = races::begin_cluster(place_, static_cast<int>(turn_.size()));
  for (int i = 0; i < static_cast<int>(blocks_.size()); ++i) begin_block(i, first);
  live_ = cluster_missing_ = static_cast<int>(turn_.size());
  cluster_ = {};
  cluster_gathered_ = cluster_known_ = {};
  engines_ = 0;
  stores_.clear();
  phases_.clear();
}
inline void Machine::check_guard(const Block& b) {
  const auto* const end = reinterpret_cast<const unsigned char*>(b.shared.data() + b.shared.size());
  for (const unsigned char* p = static_cast<unsigned char*>(b.memory) + shared_bytes_; p < end; ++p)
    if (*p != 0xFF) {
      std::fprintf(stderr,
                   "emulated kernel: block %d %d %d: wrote beyond its %zu bytes of shared memory\n",
                   b.at.x, b.at.y, b.at.z, shared_bytes_);
      std::abort();
    }
}
inline void Machine::check_copies() const {
  for (const auto& [at, p] : phases_)
    if (!p.copies.empty()) {
      const Dim first = blocks_.front().at;
      std::fprintf(stderr,
                   "emulated kernel: block %d %d %d: ends before copies onto its barriers have\n",
                   first.x, first.y, first.z);
      std::abort();
    }
}
inline void Machine::fail(const char* what) const {
  const Dim at = block();
  std::fprintf(stderr, "emulated kernel: block %d %d %d: thread %d %s\n", at.x, at.y, at.z,
               thread(), what);
  std::abort();
}
inline void Machine::enter() {
  Machine& m = get();
  for (;;) {
    {
      const races::Running running(m.fiber().race);
      (*m.body_)();
    }
    Fiber& f = m.fiber();
    if (f.arrived) m.fail("ends before it has waited at its cluster's barrier");
    if (!f.copies.empty()) m.fail("ends before it has waited for its copies");
    if (!f.later.empty()) m.fail("ends before it has waited for its products");
    Block& b = *m.own_;
    f.done = true;
    --m.live_;
    --b.live;
    if (b.barrier.arrived > 0 && b.barrier.arrived == b.live)
      m.open(b.barrier);  // those left over need not wait for it
    if (f.arrivals == m.cluster_.generation && --m.cluster_missing_ == 0) m.open_cluster();
    if (!_setjmp(f.at)) _longjmp(m.scheduler_, 1);
  }
}
inline void Machine::begin_block(int i, Dim first) {
  Block& b = blocks_[static_cast<std::size_t>(i)];
  b.at = {first.x + i, first.y, first.z};
  races::forget(b.shared.data(), b.shared.size() * sizeof(Words));  // which may go elsewhere
  // NaN, whatever it is read as
  b.shared.assign(shared_bytes_ / 16 + kSharedGuard,
                  {0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu});
  races::forget(b.shared.data(), b.shared.size() * sizeof(Words));
  // Aligned as on a device.
  b.memory = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(b.shared.data()) + 1023) /
                                     1024 * 1024);
  b.warps.assign(static_cast<std::size_t>((threads_ + 31) / 32), {});
  b.barrier = {};
  for (Barrier& named : b.named) named = {};
  b.live = threads_;
  for (int t = 0; t < threads_; ++t) {
    Fiber& f = *fibers_[static_cast<std::size_t>(i * threads_ + t)];
    f.done = false;
    f.waits = nullptr;
    f.phase = nullptr;
    f.copies.clear();
    f.later.clear();
    f.groups = f.copy_groups = 0;
    f.arrivals = 0;
    f.arrived = f.met = f.stored = f.for_inputs = false;
    const auto& words = b.warps[static_cast<std::size_t>(t / 32)].words;
    races::begin(f.race, cluster_number_, i * threads_ + t, place_, {f.stack.get(), Fiber::kStack},
                 {words, sizeof words}, {b.memory, shared_bytes_});
  }
}
inline void Machine::go_on() {
  running() = this;
  while (live_ > 0) {
    progress_ = false;
    for (next_ = 0; next_ < turn_.size(); ++next_) {
      Fiber& f = *fibers_[static_cast<std::size_t>(turn_[next_])];
      if (f.done || (f.for_inputs && !inputs_there_) ||
          (f.waits && f.waits->generation == f.generation))
        continue;
      if (f.phase) over(*f.phase);
      if (f.phase && f.phase->parity == f.parity) continue;
      f.waits = nullptr;
      f.phase = nullptr;
      f.for_inputs = false;
      progress_ = true;
      current_ = turn_[next_];
      thread_ = current_ % threads_;
      own_ = &blocks_[static_cast<std::size_t>(current_ / threads_)];
      if (!_setjmp(scheduler_)) resume(f);
      if (greedy_) next_ = static_cast<std::size_t>(-1);  // from the first one again
    }
    if (!progress_ && !inputs_there_) break;
    if (!progress_) {
      const Dim at = blocks_.front().at;
      std::fprintf(stderr,
                   "emulated kernel: block %d %d %d: %d threads wait at a barrier that the "
                   "others do not reach\n",
                   at.x, at.y, at.z, live_);
      std::abort();
    }
  }
  running() = nullptr;
}
inline void Machine::resume(Fiber& f) {
  if (f.started) _longjmp(f.at, 1);
  f.started = true;
  getcontext(&f.start);
  f.start.uc_stack.ss_sp = f.stack.get();
  f.start.uc_stack.ss_size = Fiber::kStack;
  f.start.uc_link = nullptr;
  makecontext(&f.start, &Machine::enter, 0);
  setcontext(&f.start);
}

}  // namespace lares::kernels::cuda::simt
