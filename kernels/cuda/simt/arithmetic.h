// Rounding, exponentials and formats, for device and host alike. What kernels/cpu/lanes.h and its
// neighbours do in eight lanes is done here for one value, with the same operations in the same
// order and so the same bits: no contraction, no approximate division or root.
#pragma once

#include "kernels/cuda/simt/simt.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

LARES_BOTH float bf16_value(std::uint32_t bits) { return float_of(bits << 16); }
// Nearest bf16, ties to even, as its bits; NaN stays NaN, on a device always the same one.
LARES_BOTH std::uint16_t to_bf16(float x) {
#ifdef __CUDA_ARCH__
  std::uint16_t r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
#else
  const std::uint32_t u = bits_of(x);
  if (x != x) return static_cast<std::uint16_t>(u >> 16 | 0x40);
  return static_cast<std::uint16_t>((u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
#endif
}
LARES_BOTH float bf16_rounded(float x) { return bf16_value(to_bf16(x)); }
LARES_BOTH std::uint32_t pair(std::uint16_t low, std::uint16_t high) {
  return low | static_cast<std::uint32_t>(high) << 16;
}
LARES_BOTH std::uint32_t bf16_pair(float low, float high) {
#ifdef __CUDA_ARCH__
  std::uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#else
  return pair(to_bf16(low), to_bf16(high));
#endif
}

// Of two that are bf16 values as they are.
LARES_DEVICE std::uint32_t upper_halves(float low, float high) {
  return permute_bytes(bits_of(low), bits_of(high), 0x7632);
}

// As vmaxps and vminps: the second when either is NaN.
LARES_BOTH float max2(float a, float b) { return a > b ? a : b; }
LARES_BOTH float min2(float a, float b) { return a < b ? a : b; }
LARES_BOTH float magnitude(float x) { return float_of(bits_of(x) & 0x7FFFFFFFu); }

// kernels/cpu/lanes.h's exp.
LARES_BOTH float exponential(float x) {
  const float clamped = fminf(fmaxf(x, -87.3f), 88.7f);
  const float magic = 12582912.0f;
  const float t = fmaf(clamped, 1.44269504f, magic);
  const float n = t - magic;
  float r = fmaf(n, -0.693145752f, clamped);
  r = fmaf(n, -1.42860677e-6f, r);
  float p = 1.0f / 5040;
  p = fmaf(p, r, 1.0f / 720);
  p = fmaf(p, r, 1.0f / 120);
  p = fmaf(p, r, 1.0f / 24);
  p = fmaf(p, r, 1.0f / 6);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p, r, 1.0f);
  p = fmaf(p, r, 1.0f);
  const float two_n = float_of((bits_of(t) - bits_of(magic) + 126u) << 23);
  const float result = x < -87.3f ? 0.0f : (p * two_n) * 2.0f;
  return x != x ? x : result;
}
// silu(min(gate, limit)) clamp(up, -limit, limit) factor, as bf16 rounds it; limit 0: none.
LARES_BOTH float gated(float gate, float up, float limit, float factor) {
  if (limit > 0) {
    gate = min2(limit, gate);
    up = max2(-limit, min2(limit, up));
  }
  return bf16_rounded(gate / (1.0f + exponential(0.0f - gate)) * up * factor);
}
LARES_BOTH float sigmoid(float x) { return 1.0f / (1.0f + exponential(0.0f - x)); }

// ---- quantisation: kernels/cpu/quantise_lanes.h

LARES_BOTH float power_of_two_above(float x) {
  const std::uint32_t u = bits_of(x);
  return float_of((u & 0x007FFFFFu ? u + 0x00800000u : u) & 0x7F800000u);
}
// Of what power_of_two_above() gives from 2^-126 to 2^126, and of infinity and NaN.
LARES_BOTH float inverse_power_of_two(float x) {
  const std::uint32_t u = bits_of(x);
  return float_of(u < 0x7F800000u ? 0x7F000000u - u : u == 0x7F800000u ? 0u : u);
}
inline constexpr float kFp8Least = 1e-4f, kFp4Least = 6 * 0x1p-126f;
LARES_BOTH float fp8_scale(float most) { return power_of_two_above(most * (1.0f / 448)); }
LARES_BOTH float fp4_scale(float most) { return power_of_two_above(most * (1.0f / 6)); }
// |a| <= 448 to the nearest e4m3 value.
LARES_BOTH float e4m3_rounded(float a) {
  const float m = magnitude(a);
  const std::uint32_t u = bits_of(m);
  const float normal = float_of((u + 0x7FFFFu + (u >> 20 & 1u)) & 0xFFF00000u);
  const float small = (m + 16384.0f) - 16384.0f;
  return float_of(bits_of(m < 0x1p-6f ? small : normal) | (bits_of(a) & 0x80000000u));
}
// |a| <= 6 to the nearest e2m1 value.
LARES_BOTH float e2m1_rounded(float a) {
  const float m = magnitude(a);
  const float r = m < 2   ? (m + 0x1p22f) - 0x1p22f
                  : m < 4 ? (m + 0x1p23f) - 0x1p23f
                          : (m + 0x1p24f) - 0x1p24f;
  return float_of(bits_of(r) | (bits_of(a) & 0x80000000u));
}
// Scales are powers of two, so a product by the inverse is the quotient, at a tenth of its price.
LARES_BOTH float fp8_scaled(float x, float scale) {
  return fminf(fmaxf(x * inverse_power_of_two(scale), -448.0f), 448.0f);
}
LARES_BOTH float fp4_scaled(float x, float scale) {
  return fminf(fmaxf(x * inverse_power_of_two(scale), -6.0f), 6.0f);
}
// An e4m3 value's code.
LARES_BOTH std::uint8_t e4m3_code(float v) {
  const std::uint32_t u = bits_of(v), sign = u >> 24 & 0x80u;
  const float m = magnitude(v);
  if (m < 0x1p-6f) return static_cast<std::uint8_t>(sign | static_cast<std::uint32_t>(m * 512.0f));
  return static_cast<std::uint8_t>(sign | ((u & 0x7FFFFFFFu) - (120u << 23)) >> 20);
}

// Four values of magnitude up to 448 as the codes of the nearest e4m3 values, the first in the
// lowest byte.
LARES_DEVICE std::uint32_t e4m3_codes(const float (&v)[4]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  std::uint16_t low, high;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(v[1]), "f"(v[0]));
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(v[3]), "f"(v[2]));
  return pair(low, high);
#else
  std::uint32_t codes = 0;
  LARES_UNROLL for (int i = 0; i < 4; ++i)
      codes |= static_cast<std::uint32_t>(e4m3_code(e4m3_rounded(v[i]))) << 8 * i;
  return codes;
#endif
}

// ---- cells (kernels/cpu/cells_cpu.cc): the least scale with which values on the grid, the largest
// `most`, do not exceed 448; and their codes

LARES_BOTH int cell_scale(float most) {
  const std::uint32_t u = bits_of(most);
  if (u >= 0x7F800000u) return 255;
  if (u == 0) return 127;
  return larger(0, static_cast<int>(u >> 23) - 8 + ((u & 0x7FFFFFu) > 0x600000u ? 1 : 0));
}
LARES_BOTH std::uint32_t cell_code(float x, int scale) {
  const std::uint32_t u = bits_of(x), sign = u >> 24 & 0x80u;
  if ((u & 0x7FFFFFFFu) == 0) return sign;
  const int exponent = static_cast<int>(u >> 23 & 255u) - scale + 7,
            fraction = static_cast<int>(u >> 20 & 7u);
  return sign | static_cast<std::uint32_t>(exponent >= 1 ? exponent << 3 | fraction
                                                         : (8 + fraction) >> (1 - exponent));
}
// What attention need not see (kernels/attention.h).
LARES_BOTH float flushed(float x) { return magnitude(x) < 0x1p-46f ? 0.0f : x; }
// A pair turned by a position's cosine and sine (negated: back), in double.
LARES_BOTH void turn(float& re, float& im, double cosine, double sine) {
  const double a = re, b = im;
  re = static_cast<float>(a * cosine - b * sine);
  im = static_cast<float>(a * sine + b * cosine);
}

// ---- codes to mma operands

// Four e4m3 codes as f16 times 2^-8, in order: pairs (0, 1) and (2, 3).
LARES_BOTH std::uint32_t e4m3_f16(std::uint32_t spread) {
  return (spread >> 1 & 0x3F803F80u) | (spread & 0x80008000u);
}
// ... and as bf16 times 2^-120.
LARES_BOTH std::uint32_t e4m3_bf16(std::uint32_t spread) {
  return (spread >> 4 & 0x07F007F0u) | (spread & 0x80008000u);
}
// Codes 0, 1 (2, 3) of a word at the tops of half words.
LARES_DEVICE std::uint32_t spread_low(std::uint32_t word) { return permute_bytes(word, 0, 0x1404); }
LARES_DEVICE std::uint32_t spread_high(std::uint32_t word) {
  return permute_bytes(word, 0, 0x3424);
}
inline constexpr float kF16Code = 256.0f;  // what the e4m3 codes' f16 values lack

// Words of kernels/cuda/products/tiles.h's codes as operands, pair by pair.
// fp8: f16 times 2^-8.
LARES_BOTH void fp8_pairs(std::uint32_t word, std::uint32_t& first, std::uint32_t& second) {
  first = word & 0xBF80BF80u;
  second = (word << 7 & 0x3F803F80u) | (word << 1 & 0x80008000u);
}
// ... as bf16 times 2^-120.
LARES_BOTH void fp8_pairs_bf16(std::uint32_t word, std::uint32_t& first, std::uint32_t& second) {
  first = (word >> 3 & 0x07F007F0u) | (word & 0x80008000u);
  second = (word << 4 & 0x07F007F0u) | (word << 1 & 0x80008000u);
}
// fp4: f16 times 2^-14, halves and zero as numbers without a leading one.
LARES_BOTH void fp4_pairs(std::uint32_t word, std::uint32_t (&pairs)[4]) {
  pairs[0] = word & 0x8E008E00u;
  pairs[1] = word << 3 & 0x8E008E00u;
  // Magnitude and sign need shifts of their own: both at once by a product. What one half's sign
  // carries into the other stays below bit 9.
  pairs[2] = (word & 0x40384038u) * (1u << 6 | 1u << 1) & 0x8E008E00u;
  pairs[3] = (word & 0x20072007u) * (1u << 9 | 1u << 2) & 0x8E008E00u;
}
inline constexpr float kFp4Code = 16384.0f;  // what those lack

// Of fp4 weights, without a test of what no checkpoint has: 2^-127 is 0, what is no number
// infinite.
LARES_BOTH float fp4_block_scale(std::uint32_t code) { return float_of(code << 23); }
// 2^(code - 127); a denormal for 0, NaN for 255.
LARES_BOTH float e8m0(std::uint32_t code) {
  return code == 255 ? float_of(0x7FC00000u) : float_of(code == 0 ? 0x00400000u : code << 23);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
