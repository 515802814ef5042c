// A warp's tile of a stream (stream_block.h), from its ring's slot to the sums of its 128 k.
#pragma once

#include "kernels/cuda/products/linear_rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// `few`: of fp4, at most two tokens, whose lanes scale two groups (2 (q % 2) and the next) of rows
// g and g + 8.
template <Format format, bool few>
LARES_DEVICE void read_tile(LaneTile<format>& t, const unsigned char* tile, int lane) {
  LARES_UNROLL for (int i = 0; i < LaneTile<format>::vectors; ++i)
      t.v[i] = *reinterpret_cast<const Vec16*>(tile + (i * 32 + lane) * 16);
  if constexpr (format == Format::fp4 && few) {
    const auto* s =
        reinterpret_cast<const std::uint16_t*>(tile + 1024 + lane / 4 * 8 + lane % 2 * 2);
    t.scale[0] = s[0];
    t.scale[1] = s[2];
  } else if constexpr (format == Format::fp4) {
    const auto* s = reinterpret_cast<const Vec8*>(tile + 1024 + lane / 4 * 8);
    t.scale[0] = s->w[0];
    t.scale[1] = s->w[1];
  }
}
// Where a lane finds x of a tile's first group: of the token that is its column in mma, and of the
// last one for columns beyond.
template <Format format, bool few>
LARES_DEVICE int lane_x(int row, int n, int lane) {
  const int g = lane / 4, q = lane % 4;
  if constexpr (format == Format::fp4 && few)
    return smaller(g / 4, n - 1) * row + 32 * (g % 4) + 8 * q;
  return smaller(g, n - 1) * row + 8 * q;
}

// A tile by n tokens; its sums go to [n, 16], fp4's to [n, 16, 4]. x: where lane_x() says, of this
// tile's k.
template <Format format, bool codes_in>
LARES_DEVICE void put_sums(const LaneTile<format>& tile, const std::uint16_t* x, int n, int lane,
                           float* to) {
  const int g = lane / 4, q = lane % 4;
  float sum[tile_sums_of(format)][4];
  LARES_UNROLL for (int i = 0; i < 4; ++i) sum[0][i] = 0;
  LARES_UNROLL for (int j = 0; j < 4; ++j) {
    std::uint32_t a[2][4];
    operands<format, codes_in>(&tile.v[0].w[0] + group_words(format) * j, a);
    const Vec16 b = *reinterpret_cast<const Vec16*>(x + 32 * j);
    if constexpr (format == Format::fp4)
      scaled_group(sum[j], a, b, tile.scale, j);
    else
      add_group<codes_in>(sum[0], a, b);
  }
  LARES_UNROLL for (int i = 0; i < 4; ++i) {
    const int token = 2 * q + i % 2, at = token * kTileRows + g + i / 2 * 8;
    if (token >= n) continue;
    if constexpr (format == Format::fp4) {
      Vec16 groups;
      LARES_UNROLL for (int j = 0; j < 4; ++j) groups.w[j] = bits_of(sum[j][i]);
      *reinterpret_cast<Vec16*>(to + 4 * at) = groups;
    } else {
      to[at] = sum[0][i];
    }
  }
}
// The same of fp4 with at most two tokens, whose integer and scaling operations would bound it.
// Column 4 i + j of an mma is token i's group j, in every group's mma: with weights of another
// group it gives what nobody looks at, and a lane loads x once and scales two sums a row in place
// of four of which most belong to no token.
LARES_DEVICE void put_sums_few(const LaneTile<Format::fp4>& tile, const std::uint16_t* x, int n,
                               int lane, float* to) {
  const int g = lane / 4, q = lane % 4;
  const Vec16 b = *reinterpret_cast<const Vec16*>(x);
  float sum[4][4];
  LARES_UNROLL for (int j = 0; j < 4; ++j) {
    std::uint32_t a[2][4];
    operands<Format::fp4, true>(&tile.v[0].w[0] + group_words(Format::fp4) * j, a);
    product_f16(sum[j], a[0][0], a[0][1], a[0][2], a[0][3], b.w[0], b.w[1]);
    multiply<true>(sum[j], a[1], b.w[2], b.w[3]);
  }
  const bool upper = q % 2 != 0;  // groups 2 and 3
  LARES_UNROLL for (int half = 0; half < 2; ++half) {
    const float first = upper ? sum[2][2 * half] : sum[0][2 * half],
                second = upper ? sum[3][2 * half + 1] : sum[1][2 * half + 1];
    const Vec8 out{{bits_of(first * fp4_block_scale(tile.scale[half] & 255)),
                    bits_of(second * fp4_block_scale(tile.scale[half] >> 8))}};
    if (q / 2 < n)
      *reinterpret_cast<Vec8*>(to + (q / 2 * kTileRows + g + 8 * half) * 4 + q % 2 * 2) = out;
  }
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
