// What index_queries() does for a head of a token, by one warp.
#pragma once

#include "kernels/cuda/simt/arithmetic.h"
#include "kernels/cuda/indexer/indexer.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// A small whole number as f16.
LARES_BOTH std::uint16_t whole_f16(float v) {
  const std::uint32_t u = bits_of(v);
  if ((u & 0x7FFFFFFFu) == 0) return 0;
  return static_cast<std::uint16_t>((u >> 16 & 0x8000u) | ((u >> 13 & 0x3FFFFu) - (112u << 10)));
}

// Whether codes of groups with these exponents may be brought to the least of them: the codes of a
// query and of a key then are whole numbers up to 12 2^4, sums of all their products below 2^23,
// exact in an mma in whatever order, and nothing on the way is a denormal or infinite.
LARES_BOTH bool exponents_level(int least, int most) {
  return least >= 66 && most <= 150 && most - least <= 4;
}

// Lane l has dims 4 l .. 4 l + 3.
LARES_DEVICE void index_query(const IndexQueryArgs& a, std::int64_t i) {
  const int lane = thread() % 32, pairs = a.rope_dim / 2, plain = kIndexDim - a.rope_dim;
  const std::int64_t t = i / a.n_heads;
  const Vec8 in = *reinterpret_cast<const Vec8*>(a.q + i * kIndexDim + 4 * lane);
  float v[4];
  LARES_UNROLL for (int c = 0; c < 4; ++c) v[c] = bf16_value(in.w[c / 2] >> c % 2 * 16 & 0xFFFFu);
  LARES_UNROLL for (int c = 0; c < 4; c += 2) if (const int at = 4 * lane + c - plain; at >= 0) {
    const double* const angle = a.rope + (t * pairs + at / 2) * 2;
    turn(v[c], v[c + 1], angle[0], angle[1]);
    v[c] = bf16_rounded(v[c]);
    v[c + 1] = bf16_rounded(v[c + 1]);
  }
  // Butterflies of stride 1, 2 within a lane, 4 .. 64 across lanes.
  float w[4] = {v[0] + v[1], v[0] - v[1], v[2] + v[3], v[2] - v[3]};
  v[0] = w[0] + w[2];
  v[1] = w[1] + w[3];
  v[2] = w[0] - w[2];
  v[3] = w[1] - w[3];
  for (int mask = 1; mask < 32; mask *= 2) LARES_UNROLL for (int c = 0; c < 4; ++c) {
      const float other = shuffle_xor(v[c], mask);
      v[c] = lane & mask ? other - v[c] : v[c] + other;
    }
  const float norm = static_cast<float>(1.0 / sqrt(static_cast<double>(kIndexDim)));
  float most = kFp4Least;
  LARES_UNROLL for (int c = 0; c < 4; ++c) {
    v[c] = bf16_rounded(v[c] * norm);
    most = max2(magnitude(v[c]), most);
  }
  for (int mask = 4; mask > 0; mask /= 2) most = max2(shuffle_xor(most, mask), most);
  const float s = fp4_scale(most);
  std::uint32_t top = 0;
  LARES_UNROLL for (int c = 0; c < 4; ++c) {
    if (v[c] == v[c]) v[c] = e2m1_rounded(fp4_scaled(v[c], s)) * s;
    const std::uint32_t m = bits_of(v[c]) & 0x7FFFFFFFu;
    top = m > top ? m : top;
  }
  for (int mask = 4; mask > 0; mask /= 2) {
    const std::uint32_t other = shuffle(top, lane ^ mask);
    top = other > top ? other : top;
  }
  // kernels/index_codes.h: groups that are next to nothing take the least exponent of the others.
  const int e = static_cast<int>(top >> 23), own = e == 255 ? 255 : e < 27 ? 0 : e - 2;
  int least = 255, most_of_all = 0;
  LARES_UNROLL for (int g = 0; g < 4; ++g) {
    const int other = static_cast<int>(shuffle(static_cast<std::uint32_t>(own), 8 * g));
    if (other != 0) least = smaller(least, other);
    most_of_all = larger(most_of_all, other);
  }
  const bool holds = own != 0 && own != 255, level = exponents_level(least, most_of_all);
  const int exponent = level || own == 0 ? (least == 255 ? 127 : least) : own;
  const float up = e8m0(static_cast<std::uint32_t>(255 - own)),
              raise = level && holds ? e8m0(static_cast<std::uint32_t>(127 + own - least)) : 1.0f;
  std::uint16_t code[4];
  LARES_UNROLL for (int c = 0; c < 4; ++c)
      code[c] = holds ? whole_f16(static_cast<float>(static_cast<int>(v[c] * up)) * raise)
                      : static_cast<std::uint16_t>(0);
  *reinterpret_cast<Vec8*>(a.codes + i * kIndexDim + 4 * lane) =
      Vec8{{pair(code[0], code[1]), pair(code[2], code[3])}};
  if (lane % 8 == 0) a.scale[i * 4 + lane / 8] = e8m0(static_cast<std::uint32_t>(exponent)) * 0.25f;
  if (lane == 0) a.weight[i] = bf16_rounded(bf16_value(a.w[i]) * a.weight_scale);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
