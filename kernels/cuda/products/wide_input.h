// Codes that enter products with many tokens, laid out once as wgmma reads them: f16, a 32-group's
// k in the order of tiles.h; in planes, swizzled, so that one copy brings 64 k of all tokens of a
// piece; or in rows, where a piece's tokens are any rows.
//
// A code times its scale is an f16 value wherever the scale is a power of two from 2^-22 (Q8_128
// gives none below) to 1/4 (values up to 112): code s 2^9 then has all its bits between 2^-24 and
// 2^16. So sums need no scale of a token's. Other scales are kept beside, and their codes are 2^-8
// times what they stand for, as everywhere.
//
// What is subnormal there may be aligned by tensor cores as if it were larger than it is, so that
// what it is added to loses bits that the products of few tokens keep. Of the smallest scales fp8
// weights' products reach so low; with fp4's they span too little.
#pragma once

#include "kernels/cuda/products/linear_rows.h"
#include "kernels/cuda/products/wgmma.h"
#include "kernels/cuda/products/wide_halves.h"
#include "kernels/cuda/products/wide_plan.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// What a value of a code with its scale in it has too much
inline constexpr float kWideCode = 0x1p9f;
// Exponents of scales that go into values: from these on, and up to kWideMost.
inline constexpr int kWideLeast = -20, kWideLeastFp4 = -22, kWideMost = -2;

struct WideScale {
  std::uint32_t factor;  // a pair of f16: code 2^-8 times this
  float left;            // 0: the scale is in the value
};
LARES_BOTH WideScale wide_scale(float s, int least = kWideLeast) {
  const std::uint32_t u = bits_of(s);
  const int exponent = static_cast<int>(u >> 23) - 127;
  if ((u & 0x807FFFFFu) == 0 && exponent >= least && exponent <= kWideMost)
    return {static_cast<std::uint32_t>(exponent + 32) * 0x04000400u, 0.0f};
  return u << 1 == 0 ? WideScale{0, 0.0f} : WideScale{0x3C003C00u, s};
}

// Where codes come from: row i of a run is row row_of[first + i]; without row_of first + i.
struct WideSource {
  const std::uint8_t* codes;  // [.., stride]
  const float* code_scale;
  const std::int32_t* row_of;
  std::int64_t stride, scale_stride;
  int columns;
};
inline constexpr int kWideInputWarps = 8;  // of a block, each a plane

// Rows [0, n) of a run to `at` .. of `in`, planes [8 y, + 8). Four lanes have a token's 128 bytes
// of a plane: of each of its two 32-groups one lane makes the pieces with k 8 q + 4 s + {0, 1} and
// one those with + {2, 3}. Rows up to the next multiple of 8 get scales, for they are copied with
// the others.
LARES_DEVICE void wide_lay(const WideSource& from, const WideInput& in, int first, std::int64_t at,
                           int n, int least = kWideLeast) {
  const int lane = thread() % 32, half = lane % 2, group = lane / 2 % 2,
            plane = block_y() * kWideInputWarps + thread() / 32;
  if (plane >= 2 * along_of(from.columns)) return;
  const int k = kWidePlaneK * plane + 32 * group;
  LARES_UNROLL_2 for (int r = lane / 4; r < n + 7 - (n + 7) % 8; r += 8) {
    const std::int64_t row = r >= n ? 0 : from.row_of ? from.row_of[first + r] : first + r;
    WideScale s{0, 0.0f};
    if (r < n) s = wide_scale(from.code_scale[row * from.scale_stride + plane / 2], least);
    Vec16 pieces[2] = {};
    if (r < n && k < from.columns) {
      LARES_UNROLL for (int q = 0; q < 4; ++q) {
        const Vec8 v = *reinterpret_cast<const Vec8*>(from.codes + row * from.stride + k + 8 * q);
        LARES_UNROLL for (int i = 0; i < 2; ++i) pieces[i].w[q] = multiply_f16(
            e4m3_f16(half ? spread_high(v.w[i]) : spread_low(v.w[i])), s.factor);
      }
    }
    std::uint8_t* const to = in.values + plane * in.plane_step + (at + r) * in.row_step;
    LARES_UNROLL for (int i = 0; i < 2; ++i) {
      const int piece = 4 * group + 2 * i + half;
      *reinterpret_cast<Vec16*>(to + (in.by_rows ? piece : piece ^ r % 8) * 16) = pieces[i];
    }
    if (group == 0 && half == 0 && plane % 2 == 0) in.scale[plane / 2 * in.rows + at + r] = s.left;
  }
}

// Block (x: 128 rows, y: eight planes).
LARES_KERNEL(32 * kWideInputWarps, 4)
wide_input_kernel(const WideSource from, const WideInput in, int n) {
  wait_for_inputs();
  if (block_x() == 0 && block_y() == 0 && thread() == 0) *in.taken = 0;
  const int first = block_x() * kWideTokens;
  wide_lay(from, in, first, first, smaller(kWideTokens, n - first));
}
// Block (x: job, then 128 of the shared expert's slots, y: eight planes). fp4: what the others'
// weights are.
LARES_KERNEL(32 * kWideInputWarps, 4)
wide_slots_kernel(const WideSource from, const WideInput in, const std::int32_t* jobs, int n_jobs,
                  int n_slots, int n_tokens, bool fp4) {
  wait_for_inputs();
  if (block_x() == 0 && block_y() == 0 && thread() == 0) *in.taken = 0;
  if (block_x() < n_jobs) {
    const std::int32_t* const j = jobs + 3 * block_x();
    if (j[2] > 0)
      wide_lay(from, in, j[1], wide_row_of(j[1], block_x()), j[2],
               fp4 ? kWideLeastFp4 : kWideLeast);
    return;
  }
  const int of = (block_x() - n_jobs) * kWideTokens;
  wide_lay(from, in, n_slots + of, wide_row_of(n_slots, n_jobs) + of,
           smaller(kWideTokens, n_tokens - of));
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
