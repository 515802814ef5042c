#pragma once

#include <bit>
#include <cstdint>

#include "kernels/exp.h"

namespace lares::kernels {
namespace {

// To about an ulp, for -700 <= x <= 0: libm's is a call an id, and differs between machines.
inline double exp_of(double x) {
  constexpr double kShift = 0x1.8p52;  // adding it rounds to an integer, in the low bits
  const double shifted = x * 1.4426950408889634 + kShift, n = shifted - kShift;
  // x - n ln 2, |r| <= 0.35
  const double r = (x - n * 0x1.62e42fefa3800p-1) - n * 0x1.ef35793c76730p-45;
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  return p * std::bit_cast<double>(
                 (std::bit_cast<std::int64_t>(shifted) - std::bit_cast<std::int64_t>(kShift) + 1023)
                 << 52);
}

// Over lanes of whatever width the file's flags give; three loops, because g++ 12 vectorises no
// select around the polynomial.
inline void exp_blocks(double* x, std::int64_t n) {
  for (double* const end = x + n; x < end; x += kExpBlock) {
    for (int i = 0; i < kExpBlock; ++i) x[i] = x[i] >= kExpLeast ? x[i] : -700.0;
    for (int i = 0; i < kExpBlock; ++i) x[i] = exp_of(x[i]);
    for (int i = 0; i < kExpBlock; ++i) x[i] = x[i] > 1e-300 ? x[i] : 0.0;
  }
}

}  // namespace
}  // namespace lares::kernels
