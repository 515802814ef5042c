// The same sums as many_rows() (linear_rows.h), by wgmma: two warpgroups of 64 rows each, weights from global memory to registers, tokens
// through a ring in shared memory. While a tile is multiplied its threads prepare the next one.
#pragma once

#include "kernels/cuda/linear_rows.h"
#include "kernels/cuda/wgmma.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// 32 values of a token as they are in memory, from k on; and in the order in which tiles.h has k: piece 2 s + half holds, for each q,
// k = 8 q + 4 s + 2 half + {0, 1}.
template <bool codes_in>
struct WideGroup {
  std::uint32_t w[codes_in ? 8 : 16];
};
template <bool codes_in>
LARES_DEVICE WideGroup<codes_in> wide_group(const Product& p, std::int64_t row, int k, bool inside) {
  WideGroup<codes_in> x = {};
  if (!inside) return x;
  LARES_UNROLL for (int q = 0; q < 4; ++q) {
    if constexpr (codes_in) {
      const Vec8 v = *reinterpret_cast<const Vec8*>(p.codes + row * p.x_stride + k + 8 * q);
      LARES_UNROLL for (int i = 0; i < 2; ++i) x.w[2 * q + i] = v.w[i];
    } else {
      const Vec16 v = *reinterpret_cast<const Vec16*>(p.x + row * p.x_stride + k + 8 * q);
      LARES_UNROLL for (int i = 0; i < 4; ++i) x.w[4 * q + i] = v.w[i];
    }
  }
  return x;
}
template <bool codes_in>
LARES_DEVICE Vec16 wide_piece(const WideGroup<codes_in>& x, int piece) {
  Vec16 to;
  LARES_UNROLL for (int q = 0; q < 4; ++q) {
    if constexpr (codes_in) {
      const std::uint32_t word = x.w[2 * q + piece / 2];
      to.w[q] = e4m3_f16(piece % 2 ? spread_high(word) : spread_low(word));
    } else {
      to.w[q] = x.w[4 * q + piece];
    }
  }
  return to;
}

// Rows [row0, row_end) (at most 128, row0 a multiple of 16) by tokens [0, n), n <= tokens.
template <int tokens, Format format, bool codes_in>
LARES_DEVICE void wide_rows(const Product& p, int row0, int row_end, const std::int32_t* row_of, int x_row, int y_row, int n) {
  constexpr int kSums = tokens / 2, kHalf = tokens * 128;  // bytes of 64 k of the tokens
  auto* const memory = reinterpret_cast<unsigned char*>((reinterpret_cast<std::uintptr_t>(shared<unsigned char>()) + kSwizzleAlign - 1) /
                                                        kSwizzleAlign * kSwizzleAlign);
  const int warp = thread() / 32, lane = thread() % 32, g = lane / 4, q = lane % 4;
  const int along = along_of(p.n_in), column = row0 / p.rows_per_group * p.n_in;
  const int row = row0 + 16 * warp;  // of the warp's tile; a warpgroup has four
  const bool has_rows = row < row_end;
  const auto scales = [&](int stage) { return reinterpret_cast<float*>(memory + kWideStages * 2 * kHalf) + stage * tokens; };
  // A thread's part of the tokens: 32 k of one in 64, and one's scale. Eight lanes write eight tokens' pieces: all banks.
  constexpr int kParts = tokens / 64;
  const int own_token = warp * 8 + lane % 8, own_group = lane / 8;
  const auto x_row_of = [&](int token) { return token >= n ? 0 : row_of ? row_of[token] : x_row + token; };
  int own_row[kParts];
  LARES_UNROLL for (int i = 0; i < kParts; ++i) own_row[i] = x_row_of(own_token + 64 * i);
  const int scale_row = x_row_of(thread());
  WideGroup<codes_in> x[kParts];
  float x_scale = 1;
  const auto fetch = [&](int t) {
    const int k = t * kTileK + 32 * own_group;
    LARES_UNROLL for (int i = 0; i < kParts; ++i)
      x[i] = wide_group<codes_in>(p, own_row[i], column + k, own_token + 64 * i < n && k < p.n_in);
    if (codes_in && thread() < n) x_scale = p.code_scale[scale_row * p.code_scale_stride + column / kScaleBlock + t];
  };
  const auto put = [&](int t) {
    unsigned char* const to = memory + t % kWideStages * 2 * kHalf + own_group / 2 * kHalf;
    LARES_UNROLL for (int i = 0; i < kParts; ++i)
      LARES_UNROLL for (int c = 0; c < 4; ++c)
        *reinterpret_cast<Vec16*>(to + swizzled(own_token + 64 * i, own_group % 2 * 4 + c)) = wide_piece<codes_in>(x[i], c);
    if (codes_in && thread() < tokens) scales(t % kWideStages)[thread()] = x_scale;
  };
  LaneTile<format> next = {};
  const auto load = [&](int t) {
    if (has_rows) load_tile(next, p.tiles + (static_cast<std::int64_t>(row / kTileRows) * along + t) * tile_bytes(format), lane);
  };
  float acc[kSums] = {};
  load(0);
  fetch(0);
  put(0);
  if (format == Format::fp4 && along > 1) fetch(1);
  publish_shared();
  sync_block();
  for (int t = 0; t < along; ++t) {
    const LaneTile<format> now = next;
    const float w = weight_scale(p, has_rows ? row : row0, t);  // long before it is used
    // The next weights are asked for as soon as there are registers for them: fp4 at once, fp8 when the codes are operands, bf16, whose
    // operands are the registers loaded, when they have been multiplied.
    if (format == Format::fp4 && t + 1 < along) load(t + 1);
    const unsigned char* const xs = memory + t % kWideStages * 2 * kHalf;
    const auto multiply_group = [&](float (&d)[kSums], int j, bool add) {
      std::uint32_t a[2][4];
      operands<format, codes_in>(&now.v[0].w[0] + group_words(format) * j, a);
      wgmma_fence();
      LARES_UNROLL for (int s = 0; s < 2; ++s) wgmma<codes_in>(d, a[s], xs + j / 2 * kHalf, j % 2 * 2 + s, add || s > 0);
      wgmma_commit();
    };
    [[maybe_unused]] float sum[kSums];
    if constexpr (format == Format::fp4) {
      // One group is multiplied while the one before it is scaled and added.
      float part[2][kSums], by[kSums / 2];
      LARES_UNROLL for (int i = 0; i < kSums / 2; ++i) by[i] = product_scale(format, codes_in, w, scales(t % kWideStages)[i / 2 * 8 + 2 * q + i % 2]);
      const auto add_part = [&](int j) {
        const float s0 = fp4_block_scale(now.scale[0] >> 8 * j & 255), s1 = fp4_block_scale(now.scale[1] >> 8 * j & 255);
        LARES_UNROLL for (int i = 0; i < kSums; ++i) acc[i] = fmaf(part[j % 2][i] * (i % 4 < 2 ? s0 : s1), by[i / 4 * 2 + i % 2], acc[i]);
      };
      multiply_group(part[0], 0, false);
      LARES_UNROLL for (int j = 1; j < 4; ++j) {
        multiply_group(part[j % 2], j, false);
        if (j == 1 && t + 1 < along) {
          put(t + 1);
          if (t + 2 < along) fetch(t + 2);
        }
        wgmma_wait<1>();
        pin(part[(j - 1) % 2]);
        add_part(j - 1);
      }
      wgmma_wait<0>();
      pin(part[1]);
      add_part(3);
    } else {
      LARES_UNROLL for (int j = 0; j < 4; ++j) multiply_group(sum, j, j > 0);
      if (t + 1 < along) {
        if (format == Format::fp8) load(t + 1);
        fetch(t + 1);
        put(t + 1);
      }
    }
    // Past this barrier a warpgroup may be one tile ahead of the other: three stages, so that it writes to none that is being read.
    publish_shared();
    sync_block();
    if constexpr (format != Format::fp4) {
      wgmma_wait<0>();
      pin(sum);
      if (format == Format::bf16 && t + 1 < along) load(t + 1);
      LARES_UNROLL for (int i = 0; i < kSums; ++i) {
        const float s = codes_in ? scales(t % kWideStages)[i / 4 * 8 + 2 * q + i % 2] : 1;
        acc[i] = fmaf(sum[i], product_scale(format, codes_in, w, s), acc[i]);
      }
    }
  }
  sync_block();  // the ring becomes y
  auto* const out = reinterpret_cast<float*>(memory);
  LARES_UNROLL for (int i = 0; i < kSums; ++i)
    out[(i / 4 * 8 + 2 * q + i % 2) * kOutRow + 16 * warp + g + i % 4 / 2 * 8] = acc[i];
  sync_block();
  write_rows(p, out, row0, row_end, y_row, n);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
