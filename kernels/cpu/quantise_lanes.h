#pragma once

#include "kernels/cpu/lanes.h"
#include "kernels/quantise.h"

namespace lares::kernels {
namespace {

// The smallest power of two >= x, for normal x > 0.
inline float power_of_two_above(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((u & 0x007FFFFFu ? u + 0x00800000u : u) & 0x7F800000u);
}

// |a| <= 448 to the nearest e4m3 value. Normal values lose 20 fraction bits; below 2^-6 the grid is
// 2^-9, which the addition of 2^14 rounds to.
template <class V>
V e4m3_rounded(V a) {
  const V m = magnitude(a);
  const auto u = bits(m);
  const auto odd = both(shift_right<20>(u), all_bits<V>(1));
  const V normal = floats(both(add(u, add(odd, all_bits<V>(0x7FFFF))), all_bits<V>(0xFFF00000u)));
  const V magic = all<V>(16384.0f);
  const V small = (m + magic) - magic;
  return with_sign_of(if_less(m, all<V>(0x1p-6f), small, normal), a);
}

// |a| <= 6 to the nearest e2m1 value: a grid of 1/2 below 2, 1 below 4, 2 above.
template <class V>
V e2m1_rounded(V a) {
  const V m = magnitude(a);
  const V half = all<V>(0x1p22f), one = all<V>(0x1p23f), two = all<V>(0x1p24f);
  const V r = if_less(m, all<V>(2), (m + half) - half,
                      if_less(m, all<V>(4), (m + one) - one, (m + two) - two));
  return with_sign_of(r, a);
}

template <class V>
void round_bf16(float* x, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(x + i, bf16_rounded(loaded<V>(x + i)));
  for (; i < n; ++i) x[i] = bf16_rounded(x[i]);
}

template <class V>
void quantise(const QuantiseArgs& a) {
  const float top = a.fp4 ? 6.0f : 448.0f;
  const float floor = a.fp4 ? 6 * 0x1p-126f : 1e-4f;
  const float inverse = a.fp4 ? 1.0f / 6 : 1.0f / 448;
  for (int r = 0; r < a.n_rows; ++r)
    for (int b = 0; b < a.n; b += a.block) {
      float* x = a.x + r * a.stride + b;
      V most = all<V>(floor);
      for (int i = 0; i < a.block; i += kLanes) most = max(magnitude(loaded<V>(x + i)), most);
      const float s = power_of_two_above(largest(most) * inverse);
      const V scale = all<V>(s), hi = all<V>(top), lo = all<V>(-top);
      for (int i = 0; i < a.block; i += kLanes) {
        const V v = loaded<V>(x + i);
        const V scaled = min(max(v / scale, lo), hi);
        const V q = a.fp4 ? e2m1_rounded(scaled) : e4m3_rounded(scaled);
        store(x + i, if_nan(v, v, q * scale));
      }
    }
}

}  // namespace
}  // namespace lares::kernels
