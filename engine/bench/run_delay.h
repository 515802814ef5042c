// How long this process's threads waited for a CPU although they had work.
#pragma once

#include <chrono>
#include <optional>

#include "engine/bench/samples.h"

namespace lares::engine::bench {

// Seconds, summed over the threads since each began; nothing where the system does not say.
std::optional<double> run_delay();

// Times f(). A pool's threads wait for work by right, so what counts as lost is their waiting for
// a CPU.
template <class F>
Sample timed(F f) {
  const auto before = run_delay();
  const auto began = std::chrono::steady_clock::now();
  f();
  Sample s{
      .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count()};
  if (const auto after = run_delay(); before && after) s.lost = *after - *before;
  return s;
}

}  // namespace lares::engine::bench
