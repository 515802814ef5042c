// What several kernels do with a row in shared memory: the CPU's sum of squares, quantised blocks,
// cells. All collective over a warp.
#pragma once

#include "kernels/cuda/simt/arithmetic.h"
#include "kernels/cuda/places.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

struct alignas(16) FourFloats {
  float v[4];
};
struct alignas(8) TwoFloats {
  float v[2];
};

// Where a token is. Places are copied to the device before any launch of a step, so they may be
// read before wait_for_inputs().
struct TokenPlace {
  std::int64_t position;
  Part part;
};
LARES_DEVICE TokenPlace token_place(const Places& places, int t) {
  return {places.position[t], places.parts[places.part[t]]};
}

// Eight lanes along the row and a halving tree, as kernels/cpu/norm_lanes.h: lane l % 8 sums for
// its lane; every lane gets the total.
LARES_DEVICE float fold_lanes(float v) {
  v = v + shuffle_xor(v, 4);
  v = v + shuffle_xor(v, 2);
  return v + shuffle_xor(v, 1);
}
LARES_DEVICE float sum_of_squares(const float* row, int dim) {
  float acc = 0;
  LARES_UNROLL_8 for (int i = thread() % 8; i < dim; i += 8) acc = fmaf(row[i], row[i], acc);
  return fold_lanes(acc);
}
LARES_DEVICE float rms_root(float squares, int dim, float eps) {
  return sqrtf(squares / static_cast<float>(dim) + eps);
}

// Q8_128 of a block of which each lane has four values, as codes; lanes with none give zeros and
// write nothing. A block that holds what is no number gets such a scale.
LARES_DEVICE void quantise_block(const float (&v)[4], bool inside, std::uint8_t* codes,
                                 float* scale) {
  float most = kFp8Least;
  bool odd = false;
  LARES_UNROLL for (int i = 0; i < 4; ++i) {
    most = fmaxf(magnitude(v[i]), most);
    odd |= v[i] != v[i];
  }
  for (int mask = 16; mask > 0; mask /= 2) most = fmaxf(shuffle_xor(most, mask), most);
  const float s = ballot(odd) ? float_of(0x7FC00000u) : fp8_scale(most);
  float scaled[4];
  LARES_UNROLL for (int i = 0; i < 4; ++i) scaled[i] = fp8_scaled(v[i], s);
  if (inside) *reinterpret_cast<std::uint32_t*>(codes) = e4m3_codes(scaled);
  if (thread() % 32 == 0) *scale = s;
}

// The normed and turned row [head_dim] -> Q8_64 of what is not rotary, nothing below
// kAttentionLeast, and the cell; this warp's share of it.
LARES_DEVICE void put_cell(const float* row, int head_dim, int rope_dim, std::uint8_t* cell,
                           int warp = 0, int n_warps = 1) {
  const int lane = thread() % 32, n = head_dim - rope_dim, rope_at = (n + n / 64 + 7) / 8 * 8,
            end = (rope_at + 2 * rope_dim + 7) / 8 * 8;
  for (int b = 64 * warp; b < n; b += 64 * n_warps) {
    float v[2] = {row[b + 2 * lane], row[b + 2 * lane + 1]};
    float most = max2(magnitude(v[1]), max2(magnitude(v[0]), kFp8Least));
    for (int mask = 16; mask > 0; mask /= 2) most = max2(shuffle_xor(most, mask), most);
    const float s = fp8_scale(most);
    float top = 0;
    bool odd = false;
    LARES_UNROLL for (int i = 0; i < 2; ++i) {
      if (v[i] == v[i]) v[i] = flushed(e4m3_rounded(fp8_scaled(v[i], s)) * s);
      odd |= v[i] != v[i];
      top = max2(magnitude(v[i]), top);
    }
    for (int mask = 16; mask > 0; mask /= 2) top = max2(shuffle_xor(top, mask), top);
    const int scale = ballot(odd) ? 255 : cell_scale(top);
    const std::uint32_t codes = scale == 255 ? 0
                                             : cell_code(v[0], scale) | cell_code(v[1], scale) << 8;
    *reinterpret_cast<std::uint16_t*>(cell + b + 2 * lane) = static_cast<std::uint16_t>(codes);
    if (lane == 0) cell[n + b / 64] = static_cast<std::uint8_t>(scale);
  }
  if (warp != n_warps - 1) return;
  for (int i = n + n / 64 + lane; i < rope_at; i += 32) cell[i] = 0;
  for (int i = 2 * lane; i < rope_dim; i += 64)
    *reinterpret_cast<std::uint32_t*>(cell + rope_at + 2 * i) = pair(
        to_bf16(flushed(row[n + i])), to_bf16(flushed(row[n + i + 1])));
  for (int i = rope_at + 2 * rope_dim + lane; i < end; i += 32) cell[i] = 0;
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
