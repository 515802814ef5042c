// What a piece of work takes at a machine's ceilings. Kernels' floors are those of their headers; a
// layer's is the sum over its kernels, with activations in bf16 and the caches in the release's
// storage (584 bytes an entry, 68 an index key at Flash's shape), as tabulated for the family: each
// input and output counted once, weights as stored. A written byte counts as a read one, which a
// machine may beat: what mostly writes can pass 100 %.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/checkpoint/config.h"
#include "kernels/linear.h"

namespace lares::engine::bench {

struct Ceilings {
  double read = 0;  // bytes/s, all threads
  // flops/s; dot: sums of bf16 products; each at least the one before it
  double fp32 = 0, dot = 0, int8 = 0;
};

enum class Unit : std::uint8_t { fp32, dot, int8 };

struct Work {
  double bytes = 0, flops = 0;
  Unit unit = Unit::fp32;
};

double bytes_s(const Work& w, const Ceilings& c);
double flops_s(const Work& w, const Ceilings& c);
double floor_s(const Work& w, const Ceilings& c);  // the larger of the two

// Bytes of a matrix as the checkpoint stores it, scales included.
std::size_t stored_bytes(kernels::Format format, int n_out, int n_in);
// The work of n tokens; f32 weights want float multiplication, the others' products are exact in
// bf16.
Work linear_work(kernels::Format format, int n_out, int n_in, int n);

struct NamedWork {
  std::string name;
  Work work;
};
// One decoder layer of ratio 0, 4 or 128 on positions begin..begin + n - 1.
std::vector<NamedWork> layer_work(const Config& c, int ratio, std::int64_t begin, int n);
// The head on one token.
Work head_work(const Config& c);
double floor_s(const std::vector<NamedWork>& works, const Ceilings& c);

}  // namespace lares::engine::bench
