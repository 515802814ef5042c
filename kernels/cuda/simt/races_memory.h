// What races.cc keeps of memory: of each byte the last write and the reads since.
#pragma once

#include <map>

#include "kernels/cuda/simt/races.h"

namespace lares::kernels::cuda::simt::races {

struct Clock {
  int refs = 1;
  std::uint32_t cluster = 0;
  std::uint32_t over = 0;            // launches of its stream numbered below are
  std::vector<std::uint32_t> times;  // [thread or engine of the cluster]
  std::map<std::uint32_t, std::vector<std::uint32_t>> others;  // of other clusters
};
struct Cluster {
  Place place;
  std::uint32_t n_threads;
};

// A thread's or an engine's time; never 0, and its highest bit is.
using Epoch = std::uint64_t;
inline constexpr int kTimeBits = 25, kLocalBits = 14, kClusterBits = 63 - kTimeBits - kLocalBits;
[[noreturn]] void beyond(const char* what);  // a program that has more than fits
inline Epoch epoch(std::uint32_t cluster, std::uint32_t local, std::uint32_t time) {
  if (time >> kTimeBits) [[unlikely]]
    beyond("barriers and copies of a thread");
  return static_cast<Epoch>(cluster) << (kTimeBits + kLocalBits) |
         static_cast<Epoch>(local) << kTimeBits | time;
}
constexpr std::uint32_t cluster_in(Epoch e) {
  return static_cast<std::uint32_t>(e >> (kTimeBits + kLocalBits));
}
constexpr std::uint32_t local_in(Epoch e) {
  return static_cast<std::uint32_t>(e >> kTimeBits) & ((1u << kLocalBits) - 1);
}
constexpr std::uint32_t time_in(Epoch e) {
  return static_cast<std::uint32_t>(e) & ((1u << kTimeBits) - 1);
}
inline Epoch epoch_of(const Thread& t) { return epoch(t.cluster, t.local, t.time); }

// What happened before something, and of its own thread up to `time`.
struct Seen {
  const Clock* clock = nullptr;
  std::uint32_t cluster = 0, local = 0, time = 0, over = 0;
};
bool before(Epoch e, const Seen& by);
bool by_engine(Epoch e);
// How many launches of the same stream e is behind that cluster's.
std::uint32_t launches_between(Epoch e, std::uint32_t cluster);

struct Access {
  Seen seen, published;
  Epoch epoch = 0;
  std::uintptr_t at = 0;  // in the code
  bool writes = false;
  bool atomic = false;  // races with what is not
  bool engine = false;  // by copy engine or tensor cores
  bool early = false;   // before its launch's wait
};
void access(std::uintptr_t address, std::size_t bytes, const Access& a);
void forget_memory();

// Of the instrumentation: a thread's code reads or writes.
void touch(Thread& thread, const void* at, std::size_t bytes, bool writes, std::uintptr_t from);

// What was looked at.
struct Looked {
  std::uint64_t launches = 0, accesses = 0, bytes = 0;
};
extern Looked looked;

void print_places();  // where that is asked for

// Reports (races_reports.cc).
void report(const char* what, std::uintptr_t second, std::uintptr_t first);
void report_early(std::uint32_t distance, std::uintptr_t read, std::uintptr_t written);

}  // namespace lares::kernels::cuda::simt::races
