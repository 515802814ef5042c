// What every row of a benchmark needs: the model's shape, the threads, the memory to stream
// through, the ceilings so far.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/bench.h"
#include "engine/bench/floors.h"
#include "engine/bench/loops.h"
#include "engine/bench/region.h"
#include "engine/bench/team.h"
#include "engine/model/checkpoint/config.h"
#include "kernels/dispatch.h"

namespace lares::engine::bench {

inline constexpr std::size_t kArenaBytes = std::size_t{1} << 30;  // far beyond any cache
// Of a turn at the ceilings: long against the clock, short against a time slice
inline constexpr double kTurnSeconds = 1e-3;

struct Runner {
  Config config;
  std::string shape;
  const kernels::Kernels& kernels;
  double seconds;
  Team team, alone{1};
  Region arena;
  Ceilings ceilings;
  const PeakLoop *fp32 = nullptr, *dot = nullptr, *int8 = nullptr;  // the loops behind the ceilings

  int threads() const { return team.size(); }
  bool small() const {
    return shape == "nano";
  }  // its weights lie in caches: nothing is asked of it
  const PeakLoop& loop(Unit unit) const {
    return unit == Unit::fp32 ? *fp32 : unit == Unit::dot ? *dot : *int8;
  }
  // Bytes of a thread's share of the arena, which `sharers` divide.
  std::size_t share(int sharers) const {
    return arena.size() / static_cast<std::size_t>(sharers) / 4096 * 4096;
  }
  // Where turn `turn` of a work of `bytes` bytes begins in the thread's share; with `away`, half
  // the share further on.
  std::uint8_t* place(int thread, int sharers, std::int64_t turn, std::size_t bytes,
                      bool away = false) const;
  // Fills the arena with codes of the format, unless that is what it holds; `n_in` as for
  // fill_codes.
  void fill(kernels::Format format, int n_in = 4096);

  // Times `turn`, which does `work` on every thread, in turn with a loop that takes the same bytes
  // or flops, whichever bounds it. The row's times are a turn's divided by `units`.
  BenchRow time(const char* section, std::string name, std::string shape_of, const Work& work,
                double units, const Turn& turn);

  int filled = -1;  // what fill() did last
};

// Yields one or more rows.
struct Step {
  std::string name;
  std::function<Result<std::vector<BenchRow>>(Runner&)> run;
};

std::vector<Step> ceiling_steps();
std::vector<Step> linear_steps(const Config& c);
std::vector<Step> operation_steps();

// percent, rate and unit of a row whose median_s and floor_s are set; `bytes` and `flops` are what
// median_s took.
void rate_row(BenchRow& row, const Work& work, const Ceilings& c);

}  // namespace lares::engine::bench
