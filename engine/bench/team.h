// Threads that start a piece of work together, and what each of them spent on it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "engine/bench/samples.h"

namespace lares::engine::bench {

class Team {
 public:
  explicit Team(int n_threads);  // the caller of run() is one of them
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const;
  // work(thread) on every thread, released together once all of them run; `work` must not throw.
  Sample run(const std::function<void(int thread)>& work);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Turn number `turn` of the work; threads have data of their own, so that turns never meet a warm
// cache.
using Turn = std::function<void(int thread, std::int64_t turn)>;

struct Measured {
  Summary work;
  double paired = 0;
};

// Runs `work`, and `reference` in turn with it unless that is empty, for about `seconds`: at least
// kCleanMin turns each and at most kTurnsMax, after one of each that does not count. Turns
// alternate in order, so a drift of the machine falls on both.
inline constexpr int kTurnsMax = 20000;
Measured measure(Team& team, double seconds, const Turn& work, const Turn& reference);

}  // namespace lares::engine::bench
