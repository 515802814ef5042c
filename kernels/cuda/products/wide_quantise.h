// What enters products with many tokens and has yet to be quantised: Q8_128 of bf16 rows, or of
// what SwiGLU makes of two, laid out as wide_input.h has it without being written as codes before.
// Bits are those of quantise() and swiglu(), then wide_lay().
//
// Four lanes have 128 values of a row, a 32-group each, so that of a block's largest value only two
// steps go from lane to lane, and whole pieces of operands come from one lane. An H100's SM issues
// about 10 operations a value (beside SwiGLU's 45) where it moves 4 bytes (6): quantise() is bound
// by memory, SwiGLU by about the same of both.
#pragma once

#include "kernels/cuda/products/wide_input.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

struct WideValues {
  const bf16* x;        // [.., stride]
  const bf16* up;       // SwiGLU's, beside x, its gate; null: x as it is
  const float* factor;  // of rows, with `up`
  std::int64_t stride;
  int columns;  // whole 32-groups
  float limit;
};

// A 32-group as pairs of bf16.
struct WideGroup {
  std::uint32_t pairs[16];
};
LARES_DEVICE void load_group(WideGroup& to, const bf16* from, bool inside) {
  LARES_UNROLL for (int i = 0; i < 4; ++i) {
    const Vec16 v = inside ? reinterpret_cast<const Vec16*>(from)[i] : Vec16{{0, 0, 0, 0}};
    LARES_UNROLL for (int w = 0; w < 4; ++w) to.pairs[4 * i + w] = v.w[w];
  }
}
// Q8_128's scale of the four lanes' block. What is no number exceeds all in magnitude.
LARES_DEVICE float group_scale(const WideGroup& v) {
  std::uint32_t low = 0, high = 0;
  LARES_UNROLL for (int i = 0; i < 16; ++i) {
    const std::uint32_t l = v.pairs[i] & 0x7FFFu, h = v.pairs[i] & 0x7FFF0000u;
    low = l > low ? l : low;
    high = h > high ? h : high;
  }
  std::uint32_t most = high > low << 16 ? high : low << 16;
  LARES_UNROLL for (int mask = 1; mask < 4; mask *= 2) {
    const std::uint32_t other = shuffle(most, (thread() & 31) ^ mask);
    most = other > most ? other : most;
  }
  return most > 0x7F800000u ? float_of(0x7FC00000u) : fp8_scale(fmaxf(float_of(most), kFp8Least));
}

// As wide_lay(), of a warp's block of 128 columns, number `block`.
template <bool gates>
LARES_DEVICE void wide_quantise(const WideValues& from, const WideInput& in, int block, int first,
                                std::int64_t at, int n, int least = kWideLeast) {
  const int lane = thread() % 32, group = lane % 4, k = kTileK * block + 32 * group,
            plane = 2 * block + group / 2;
  LARES_ROLLED for (int r = lane / 4; r < n + 7 - (n + 7) % 8; r += 8) {
    const std::int64_t row = first + r;
    const bool inside = r < n && k < from.columns;
    WideGroup v;
    load_group(v, from.x + row * from.stride + k, inside);
    if constexpr (gates) {
      WideGroup up;
      load_group(up, from.up + row * from.stride + k, inside);
      const float factor = inside ? from.factor[row] : 0.0f;
      LARES_UNROLL for (int i = 0; i < 16; ++i) {
        const std::uint32_t g = v.pairs[i], u = up.pairs[i];
        v.pairs[i] = pair(
            to_bf16(gated(bf16_value(g & 0xFFFFu), bf16_value(u & 0xFFFFu), from.limit, factor)),
            to_bf16(gated(bf16_value(g >> 16), bf16_value(u >> 16), from.limit, factor)));
      }
    }
    const float scale = group_scale(v);
    WideScale s{0, 0.0f};
    if (r < n) s = wide_scale(scale, least);
    Vec16 pieces[4];
    LARES_UNROLL for (int q = 0; q < 4; ++q) LARES_UNROLL for (int step = 0; step < 2; ++step) {
      float f[4];
      LARES_UNROLL for (int i = 0; i < 4; ++i) {
        const std::uint32_t two = v.pairs[4 * q + 2 * step + i / 2];
        f[i] = fp8_scaled(float_of(i % 2 ? two & 0xFFFF0000u : two << 16), scale);
      }
      const std::uint32_t codes = e4m3_codes(f);
      pieces[2 * step].w[q] = multiply_f16(e4m3_f16(spread_low(codes)), s.factor);
      pieces[2 * step + 1].w[q] = multiply_f16(e4m3_f16(spread_high(codes)), s.factor);
    }
    std::uint8_t* const to = in.values + plane * in.plane_step + (at + r) * in.row_step;
    LARES_UNROLL for (int i = 0; i < 4; ++i) {
      const int piece = 4 * (group % 2) + i;
      *reinterpret_cast<Vec16*>(to + (piece ^ r % 8) * 16) = pieces[i];
    }
    if (group == 0) in.scale[block * in.rows + at + r] = s.left;
  }
}

inline constexpr int kQuantiseRows = 64;  // of a block
// Block (x: rows, y: eight blocks of columns).
LARES_KERNEL(32 * kWideInputWarps, 3)
wide_quantise_kernel(const WideValues from, const WideInput in, int n) {
  wait_for_inputs();
  if (block_x() == 0 && block_y() == 0 && thread() == 0) *in.taken = 0;
  const int block = block_y() * kWideInputWarps + thread() / 32, first = block_x() * kQuantiseRows;
  if (block >= along_of(from.columns)) return;
  wide_quantise<false>(from, in, block, first, first, smaller(kQuantiseRows, n - first));
}
// Block (x: job, then 128 of the shared expert's slots, y: eight blocks of columns), as
// wide_slots_kernel().
LARES_KERNEL(32 * kWideInputWarps, 2)
wide_gated_kernel(const WideValues from, const WideInput in, const std::int32_t* jobs, int n_jobs,
                  int n_slots, int n_tokens, bool fp4) {
  wait_for_inputs();
  if (block_x() == 0 && block_y() == 0 && thread() == 0) *in.taken = 0;
  const int block = block_y() * kWideInputWarps + thread() / 32;
  if (block >= along_of(from.columns)) return;
  const bool shared_one = block_x() >= n_jobs;
  const std::int32_t* const j = jobs + 3 * (shared_one ? 0 : block_x());
  const int of = (block_x() - n_jobs) * kWideTokens, first = shared_one ? n_slots + of : j[1],
            n = shared_one ? smaller(kWideTokens, n_tokens - of) : j[2];
  const std::int64_t at = shared_one ? wide_row_of(n_slots, n_jobs) + of
                                     : wide_row_of(first, block_x());
  if (n > 0)
    wide_quantise<true>(from, in, block, first, at, n,
                        fp4 && !shared_one ? kWideLeastFp4 : kWideLeast);
}
// What is laid is multiplied again: nobody has taken a piece of it yet.
LARES_KERNEL(32, 1) wide_again_kernel(const WideInput in) {
  wait_for_inputs();
  if (thread() == 0) *in.taken = 0;
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
