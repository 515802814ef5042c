// Fake quantisation: to the grid of a small format with one power-of-two scale per block, and back,
// in place.
//   fp8: s = 2^ceil(log2(max(amax, 1e-4) / 448)),      x = s * e4m3(clamp(x / s, -448, 448))
//   fp4: s = 2^ceil(log2(max(amax, 6 * 2^-126) / 6)),  x = s * e2m1(clamp(x / s, -6, 6))
// Ties to even in both.
// Q8_128 stands before every fp8 and fp4 matrix, Q8_64 and Q4_32 before the caches.
// Source: DeepSeek-V4 inference/kernel.py, act_quant and fp4_act_quant. Floor: the row once in and
// once out.
#pragma once

#include <cstdint>

namespace lares::kernels {

struct QuantiseArgs {
  float* x;  // [n_rows, stride], the first n of each, in place
  std::int64_t stride;
  int n_rows, n;
  int block;  // a multiple of 8 that divides n
  bool fp4 = false;
};

}  // namespace lares::kernels
