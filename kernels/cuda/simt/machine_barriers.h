// How emulated threads (simt_host.h) wait for each other: barriers of a block, of some of its
// threads, of a warp and of a cluster, atomics, and lanes that exchange words.
#pragma once

#include <cstring>
#include <utility>

#include "simt_host.h"

namespace lares::kernels::cuda::simt {

LARES_APART inline void Machine::wait_for_inputs() {
  LARES_INSIDE;
  races::waited(inside, place_);
  if (inputs_there_) return;
  fiber().for_inputs = true;
  if (!_setjmp(fiber().at)) _longjmp(scheduler_, 1);
}
LARES_APART inline void Machine::sync_block() {
  LARES_INSIDE;
  own_->barrier.meeting.arrive(inside, /*waits=*/true);
  wait(own_->barrier, own_->live);
}
LARES_APART inline void Machine::sync_warp() {
  LARES_INSIDE;
  warp().barrier.meeting.arrive(inside, /*waits=*/true);
  wait(warp().barrier, warp_size());
}
LARES_APART inline void Machine::sync_some(int barrier, int n) {
  LARES_INSIDE;
  own_->named[barrier].meeting.arrive(inside, /*waits=*/true);
  wait(own_->named[barrier], n);
}
LARES_APART inline void Machine::arrive_some(int barrier, int n) {
  LARES_INSIDE;
  own_->named[barrier].meeting.arrive(inside, /*waits=*/false);
  if (++own_->named[barrier].arrived == n) open(own_->named[barrier]);
}
LARES_APART inline std::uint32_t Machine::add(std::uint32_t* to, std::uint32_t v) {
  LARES_INSIDE;
  races::atomic(inside, to, 4);
  const std::uint32_t before = *to;
  *to += v;
  return before;
}
LARES_APART inline bool Machine::arrive_last(std::uint32_t* count, std::uint32_t n) {
  LARES_INSIDE;
  races::atomic(inside, count, 4);
  races::acquire_release(inside, count);
  if (++*count != n) return false;
  races::store(inside, count, 4);
  *count = 0;
  return true;
}
LARES_APART inline void Machine::arrive_cluster(bool publishes) {
  LARES_INSIDE;
  if (publishes) races::release(inside, cluster_gathered_);
  Fiber& f = fiber();
  if (f.arrived) fail("arrives at its cluster's barrier once more before it has waited");
  if (!publishes && f.stored) fail("does not publish what it has stored in other blocks");
  f.stored = false;
  f.arrived = true;
  ++f.arrivals;
  if (--cluster_missing_ == 0) open_cluster();
}
LARES_APART inline void Machine::wait_cluster() {
  LARES_INSIDE;
  Fiber& f = fiber();
  if (!f.arrived) fail("waits at its cluster's barrier before it has arrived");
  f.arrived = false;
  f.met = true;
  if (f.arrivals != cluster_.generation) {  // what it arrived at is not over
    f.waits = &cluster_;
    f.generation = cluster_.generation;
    if (!_setjmp(f.at)) _longjmp(scheduler_, 1);
  }
  races::acquire(inside, cluster_known_);
}
LARES_APART inline void Machine::store_in(int rank, void* at, std::uint32_t word) {
  LARES_INSIDE;
  if (!fiber().met) fail("stores into a block that may not have begun");
  const auto offset =
      static_cast<std::size_t>(static_cast<char*>(at) - static_cast<char*>(own_->memory));
  if (rank < 0 || rank >= static_cast<int>(blocks_.size()) || offset + 4 > shared_bytes_)
    fail("stores outside of its cluster's shared memory");
  const Block& other = blocks_[static_cast<std::size_t>(rank)];
  if (other.live == 0) fail("stores into a block that has ended");
  void* const to = static_cast<char*>(other.memory) + offset;
  races::store(inside, to, 4);
  std::memset(to, 0xFF, 4);
  stores_.push_back({to, word, &other, fiber().arrivals});
  fiber().stored = true;
}
LARES_APART inline const std::uint32_t (*Machine::exchange(const std::uint32_t* mine, int n))[8] {
  LARES_INSIDE;
  Warp& w = warp();
  wait(w.barrier, warp_size());  // nobody reads the last ones any more
  for (int i = 0; i < n; ++i) w.words[thread_ % 32][i] = mine[i];
  wait(w.barrier, warp_size());
  return w.words;
}
inline void Machine::open(Barrier& b) {
  b.meeting.open();
  b.arrived = 0;
  ++b.generation;
}
inline void Machine::wait(Barrier& b, int n) {
  if (++b.arrived == n) return open(b);
  Fiber& f = fiber();
  f.waits = &b;
  f.generation = b.generation;
  if (!_setjmp(f.at)) _longjmp(scheduler_, 1);
}
inline void Machine::open_cluster() {
  std::erase_if(stores_, [&](const Store& store) {
    if (store.in->live == 0) fail("meets others that store into a block that has ended");
    if (store.after > cluster_.generation) return false;
    std::memcpy(store.to, &store.word, 4);
    return true;
  });
  cluster_known_ = std::exchange(cluster_gathered_, {});
  open(cluster_);
  cluster_missing_ = live_;
}

}  // namespace lares::kernels::cuda::simt
