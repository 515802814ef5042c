// What index_queries() does for a head of a token, by a warp or some lanes of it.
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

// So many lanes have a head, each as many dims, one behind the other: 32, or with many heads 8,
// which share among four heads what does not depend on how many dims a lane has.
template <int lanes>
LARES_DEVICE void index_query(const IndexQueryArgs& a, std::int64_t i, bool there = true) {
  constexpr int kEach = kIndexDim / lanes, kGroupLanes = lanes / 4;  // of a 32-group
  const int lane = thread() % 32, own = lane % lanes, pairs = a.rope_dim / 2,
            plain = kIndexDim - a.rope_dim, d = kEach * own;
  // By 64 bits it would be a fifth of all
  const auto t = static_cast<std::int64_t>(static_cast<std::uint32_t>(i) /
                                           static_cast<std::uint32_t>(a.n_heads));
  std::uint32_t two[kEach / 2] = {};
  if (there) {
    if constexpr (kEach == 4) {
      const Vec8 in = *reinterpret_cast<const Vec8*>(a.q + i * kIndexDim + d);
      two[0] = in.w[0], two[1] = in.w[1];
    } else {
      LARES_UNROLL for (int c = 0; c < kEach / 8; ++c) {
        const Vec16 in = *reinterpret_cast<const Vec16*>(a.q + i * kIndexDim + d + 8 * c);
        LARES_UNROLL for (int w = 0; w < 4; ++w) two[4 * c + w] = in.w[w];
      }
    }
  }
  float v[kEach];
  LARES_UNROLL for (int c = 0; c < kEach; ++c)
      v[c] = bf16_value(two[c / 2] >> c % 2 * 16 & 0xFFFFu);
  LARES_UNROLL for (int c = 0; c < kEach; c += 2) if (const int at = d + c - plain;
                                                      at >= 0 && there) {
    const double* const angle = a.rope + (t * pairs + at / 2) * 2;
    turn(v[c], v[c + 1], angle[0], angle[1]);
    v[c] = bf16_rounded(v[c]);
    v[c + 1] = bf16_rounded(v[c + 1]);
  }
  // Butterflies of stride 1 .. kEach / 2 within a lane, the others across lanes.
  LARES_UNROLL for (int h = 1; h < kEach; h *= 2) LARES_UNROLL for (int p = 0; p < kEach / 2; ++p) {
    const int at = p / h * 2 * h + p % h;
    const float u = v[at], w = v[at + h];
    v[at] = u + w;
    v[at + h] = u - w;
  }
  LARES_UNROLL for (int mask = 1; mask < lanes; mask *= 2) {
    const std::uint32_t sign = own & mask ? 0x80000000u : 0u;
    LARES_UNROLL for (int c = 0; c < kEach; ++c)
        v[c] = shuffle_xor(v[c], mask) + float_of(bits_of(v[c]) ^ sign);
  }
  const float norm = static_cast<float>(1.0 / sqrt(static_cast<double>(kIndexDim)));
  float most = kFp4Least;
  LARES_UNROLL for (int c = 0; c < kEach; ++c) {
    v[c] = bf16_rounded(v[c] * norm);
    most = fmaxf(magnitude(v[c]), most);
  }
  LARES_UNROLL for (int mask = 1; mask < kGroupLanes; mask *= 2)
      most = fmaxf(shuffle_xor(most, mask), most);
  const float s = fp4_scale(most);
  std::uint32_t top = 0;
  LARES_UNROLL for (int c = 0; c < kEach; ++c) {
    if (v[c] == v[c]) v[c] = e2m1_rounded(fp4_scaled(v[c], s)) * s;
    const std::uint32_t m = bits_of(v[c]) & 0x7FFFFFFFu;
    top = m > top ? m : top;
  }
  LARES_UNROLL for (int mask = 1; mask < kGroupLanes; mask *= 2) {
    const std::uint32_t other = shuffle(top, lane ^ mask);
    top = other > top ? other : top;
  }
  // kernels/index_codes.h: groups that are next to nothing take the least exponent of the others.
  const int e = static_cast<int>(top >> 23), exponent_own = e == 255 ? 255 : e < 27 ? 0 : e - 2;
  int least = 255, most_of_all = 0;
  LARES_UNROLL for (int g = 0; g < 4; ++g) {
    const int other = static_cast<int>(
        shuffle(static_cast<std::uint32_t>(exponent_own), lane - own + kGroupLanes * g));
    if (other != 0) least = smaller(least, other);
    most_of_all = larger(most_of_all, other);
  }
  const bool holds = exponent_own != 0 && exponent_own != 255,
             level = exponents_level(least, most_of_all);
  const int exponent = level || exponent_own == 0 ? (least == 255 ? 127 : least) : exponent_own;
  const float up = e8m0(static_cast<std::uint32_t>(255 - exponent_own)),
              raise = level && holds ? e8m0(static_cast<std::uint32_t>(127 + exponent_own - least))
                                     : 1.0f;
  if (!there) return;
  std::uint16_t code[kEach];
  LARES_UNROLL for (int c = 0; c < kEach; ++c)
      code[c] = holds ? whole_f16(static_cast<float>(static_cast<int>(v[c] * up)) * raise)
                      : static_cast<std::uint16_t>(0);
  std::uint16_t* const to = a.codes + i * kIndexDim + d;
  if constexpr (kEach == 4) {
    *reinterpret_cast<Vec8*>(to) = Vec8{{pair(code[0], code[1]), pair(code[2], code[3])}};
  } else {
    LARES_UNROLL for (int c = 0; c < kEach; c += 8) * reinterpret_cast<Vec16*>(to + c) =
        Vec16{{pair(code[c], code[c + 1]), pair(code[c + 2], code[c + 3]),
               pair(code[c + 4], code[c + 5]), pair(code[c + 6], code[c + 7])}};
  }
  if (own % kGroupLanes == 0)
    a.scale[i * 4 + own / kGroupLanes] = e8m0(static_cast<std::uint32_t>(exponent)) * 0.25f;
  if (own == 0) a.weight[i] = bf16_rounded(bf16_value(a.w[i]) * a.weight_scale);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
