// `lares bench`: how fast the kernels and whole layers run, beside what the machine could do at
// most, measured in the same run. Weights are generated, so it needs no checkpoint.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

struct BenchRequest {
  // The ceilings are always measured
  bool kernels = true, decode = true, prefill = true, prefix = true;
  std::string shape = "flash";  // flash, pro or nano
  int threads = 0;              // 0: the CPUs this process may use
  double seconds = 1;           // for each row; a prefill may take kPrefillSeconds of them
  double memory_gb = 6;         // what the generated layers may take, in 10^9 bytes
  int tokens = 4096;            // of the prefill
  std::string impl;             // a dispatch row by name; empty: the best
  std::string match;            // only kernels whose name holds this
  std::stop_token stop;  // looked at before each row; the report then has those that were measured
};
inline constexpr double kPrefillSeconds = 120;

// One figure. A floor is the time the same work takes at the ceilings: the larger of bytes / read
// bandwidth and flops / peak.
struct BenchRow {
  std::string section;  // ceilings, kernels, decode, prefill, prefix
  std::string name, shape, command;
  double median_s = 0;  // of the work the shape names
  double rate = 0;
  std::string unit;  // of the rate: GB/s, GF/s, GOP/s, tokens/s; of a figure that is no rate, its
                     // own
  double floor_s = 0, percent = 0;
  double paired = 0;        // speed over that of a loop run in turn with it, 0: not taken
  std::string paired_with;  // "read": over the same bytes; "peak": of the same flops
  double asked = 0;  // the least that `paired`, where it was taken, or else percent / 100 should
                     // be; 0: nothing is asked
  int samples = 0, dropped = 0;
  bool disturbed = false;  // too few samples had the CPU to themselves: of the least disturbed
};
bool falls_short(const BenchRow& row);  // never of a disturbed one, which says nothing
struct BenchReport {
  std::string machine, kernels;  // the CPU's name, the dispatch row
  int threads = 0;
  std::vector<BenchRow> rows;
};

// Called before each row.
using BenchProgress = std::function<void(int done, int total, const std::string& name)>;

Result<BenchReport> run_bench(const BenchRequest& request, const BenchProgress& progress);

std::string bench_text(const BenchReport& report);
std::string bench_json(const BenchReport& report);      // an array of rows
std::string bench_markdown(const BenchReport& report);  // for a README

}  // namespace lares::engine
