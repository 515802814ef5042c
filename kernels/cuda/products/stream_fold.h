// The warps of a stream that fold: sums of tiles, in the order of k, to results.
#pragma once

#include "kernels/cuda/products/stream_block.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

template <int kinds, bool experts>
template <Format format, bool codes_in>
LARES_DEVICE void StreamBlock<kinds, experts>::put_factors(const Piece& piece, const Product& p,
                                                           const float* x_scale, int unit, int here,
                                                           int t0, int t1, float* factor) {
  if constexpr (format == Format::bf16) return;
  const int along = along_of(p.n_in), n = piece.n, len = t1 - t0, block = unit / kBlockTiles;
  const int all_of = format == Format::fp8 ? ((unit + here - 1) / kBlockTiles - block + 1) * n * len
                                           : n * len;
  for (int i = thread() - 32 * kStreamWarps; i < all_of; i += 32 * kFoldWarps) {
    const int k = t0 + i % len, token = i / len % n;
    factor[i] = product_scale(
        format, codes_in,
        weight_scale(piece, (block + i / len / n) * kBlockTiles, along, k, format),
        x_scale[token * along + k]);
  }
}

template <int kinds, bool experts>
template <Format format>
LARES_DEVICE void StreamBlock<kinds, experts>::fold(const Piece& piece, const Product& p, int unit,
                                                    int here, int t0, int t1, const float* sums,
                                                    const float* factor) const {
  const int along = along_of(p.n_in), n = piece.n, len = t1 - t0;
  auto* const unfinished = reinterpret_cast<float*>(memory() + plan().acc_at);
  for (int i = thread() - 32 * kStreamWarps; i < here * n * kTileRows; i += 32 * kFoldWarps) {
    const int r = i % kTileRows, token = i / kTileRows % n, u = i / kTileRows / n;
    const int row = (unit + u) * kTileRows + r;
    float acc = t0 == 0 ? 0 : unfinished[token * kTileRows + r];
    const int block = format == Format::fp8 ? (unit + u) / kBlockTiles - unit / kBlockTiles : 0,
              at = (u * len * n + token) * kTileRows + r;
    const float* const by = factor + (block * n + token) * len;
    if constexpr (format == Format::fp4) {
      const auto* const from = reinterpret_cast<const Vec16*>(sums) + at;
      LARES_UNROLL_4 for (int k = 0; k < len; ++k) {
        const Vec16 groups = from[k * n * kTileRows];
        LARES_UNROLL for (int j = 0; j < 4; ++j) acc = fmaf(float_of(groups.w[j]), by[k], acc);
      }
    } else {
      LARES_UNROLL_8 for (int k = 0; k < len; ++k)
          acc = fmaf(sums[at + k * n * kTileRows], format == Format::bf16 ? 1.0f : by[k], acc);
    }
    if (t1 < along)
      unfinished[token * kTileRows + r] = acc;
    else
      put_y(piece, p, row, token, acc);
  }
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::put_part(const Piece& piece, int t0, int t1,
                                                        int of_tile, const float* sums,
                                                        bool low) const {
  const int of_k = of_tile * piece.n * kTileRows;
  for (int i = thread() - 32 * kStreamWarps; i < (t1 - t0) * of_k; i += 32 * kFoldWarps)
    scratch_of(low).sums[t0 * of_k + i] = sums[i];
}

template <int kinds, bool experts>
template <Format format, bool codes_in>
LARES_DEVICE void StreamBlock<kinds, experts>::fold_shared(const Piece& piece, const Product& p,
                                                           const float* x_scale, int tile_row,
                                                           bool low) const {
  StreamScratch& of = scratch_of(low);
  sync_folding();
  if (thread() == 32 * kStreamWarps) counts().was_last = arrive_last(&of.arrived, 2);
  sync_folding();
  if (!counts().was_last) return;
  const int along = along_of(p.n_in), n = piece.n, i = thread() - 32 * kStreamWarps,
            r = i % kTileRows, token = i / kTileRows, row = tile_row * kTileRows + r;
  static_assert(32 * kFoldWarps >= kTokensFew * kTileRows);
  if (token >= n) return;
  const float* const by = x_scale + token * along;
  float acc = 0;
  LARES_UNROLL_8 for (int k = 0; k < along; ++k) {
    const float s = product_scale(format, codes_in, weight_scale(piece, tile_row, along, k, format),
                                  format == Format::bf16 ? 1.0f : by[k]);
    const int at = (k * n + token) * kTileRows + r;
    if constexpr (format == Format::fp4) {
      const Vec16 groups = load_fresh16(of.sums + 4 * at);
      LARES_UNROLL for (int j = 0; j < 4; ++j) acc = fmaf(float_of(groups.w[j]), s, acc);
    } else {
      acc = fmaf(load_fresh(of.sums + at), s, acc);
    }
  }
  put_y(piece, p, row, token, acc);
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::put_y(const Piece& piece, const Product& p, int row,
                                                     int token, float acc) {
  if (row >= p.n_out) return;
  const std::int64_t to = static_cast<std::int64_t>(piece.first + token) * p.y_stride + row;
  if (p.y_f32)
    static_cast<float*>(p.y)[to] = acc;
  else
    static_cast<bf16*>(p.y)[to] = to_bf16(acc);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
