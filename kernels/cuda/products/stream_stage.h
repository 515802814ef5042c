// What enters a stream: normed, quantised and laid into shared memory, and what a boundary left.
#pragma once

#include "kernels/cuda/products/stream_block.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::ask_norm() {
  if constexpr (kNorms) {
    const Product& p = all.item[0];
    const int k = thread() / 32 % along_of(p.n_in) * kTileK + 4 * (thread() % 32);
    if (p.norm && k < p.n_in) norm = *reinterpret_cast<const FourFloats*>(p.norm + k);
  }
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::put_mixes() const {
  if (block_x() != grid_x() - 1) return;
  for (int t = thread() / 32 - kStreamWarps; t < all.mixes.n_tokens; t += kFoldWarps)
    put_left(all.mixes, t);
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::stage_normed(const Piece& p,
                                                            const Product& product) {
  const int along = along_of(product.n_in), warp = thread() / 32, lane = thread() % 32,
            step = kStreamThreads / 32 / along,  // tokens at a time
      k = warp % along * kTileK + 4 * lane;
  const bool inside = k < product.n_in;
  const int first = warp < step * along ? warp / along : p.n;
  const auto at = [&](int token) { return x(0) + token * plan().row + k; };
  for (int token = first; token < p.n; token += step) {
    const Vec8 in = inside ? *reinterpret_cast<const Vec8*>(
                                 product.x + (p.first + token) * product.x_stride + k)
                           : Vec8{{0, 0}};
    *reinterpret_cast<Vec8*>(at(token)) = in;
  }
  sync_block();
  constexpr int kSumLanes = 8, kRows = 32 / kSumLanes, kAhead = 16;  // lanes: sum_of_squares()'s
  if (kRows * warp < p.n) {
    const int own = kRows * warp + lane / kSumLanes, token = smaller(own, p.n - 1);
    const std::uint16_t* const row = x(0) + token * plan().row + lane % kSumLanes;
    float acc = 0;
    LARES_UNROLL_2 for (int i = 0; i < along * kTileK; i += kAhead * kSumLanes) {
      float v[kAhead];
      LARES_UNROLL for (int j = 0; j < kAhead; ++j) v[j] = bf16_value(row[i + j * kSumLanes]);
      LARES_UNROLL for (int j = 0; j < kAhead; ++j) acc = fmaf(v[j], v[j], acc);
    }
    const float root = rms_root(fold_lanes(acc), product.n_in, product.norm_eps);
    if (lane % kSumLanes == 0 && own < p.n) factors(0)[own] = root;
  }
  sync_block();
  for (int token = first; token < p.n; token += step) {
    const Vec8 in = *reinterpret_cast<const Vec8*>(at(token));
    const float root = factors(0)[token];
    Entering e;
    LARES_UNROLL for (int i = 0; i < 2; ++i)
        e.x.w[i] = pair(to_bf16(bf16_value(in.w[i] & 0xFFFFu) / root * norm.v[2 * i]),
                        to_bf16(bf16_value(in.w[i] >> 16) / root * norm.v[2 * i + 1]));
    const float s = stage_block(product, e, inside, at(token));
    if (lane == 0) scales(0)[token * along + warp % along] = s;
  }
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::stage(const Visit& v, const Visit& other) {
  if constexpr (kNorms) {
    const Piece& p = pieces()[v.piece];
    if (const Product& product = all.item[p.item]; product.norm) return stage_normed(p, product);
  }
  const auto blocks_of = [&](const Visit& of) {
    return pieces()[of.piece].n * along_of(all.item[pieces()[of.piece].item].n_in);
  };
  const int warp = thread() / 32, lane = thread() % 32, first = blocks_of(v),
            blocks = &other == &v ? first : first + blocks_of(other);
  // Blocks of a warp whose loads are on their way at a time: of wo_a's and wo_b's launches all
  // that one token has.
  constexpr int kAll = kStreamThreads / 32,
                kTogether = kinds == kFp8Codes || kinds == kFp8Plain ? 4 : 2;
  LARES_ROLLED for (int base = warp; base < blocks; base += kTogether * kAll) {
    Entering e[kTogether];
    const auto each = [&](int i, auto what) {
      const Visit& of = i < first ? v : other;
      const Piece& p = pieces()[of.piece];
      const Product& product = all.item[p.item];
      const int own = i < first ? i : i - first, along = along_of(product.n_in),
                token = p.n == 1 ? 0 : own / along, k = (own - token * along) * kTileK + 4 * lane;
      what(p, product, i >= first, own, token, of.column, k);
    };
    LARES_UNROLL for (int d = 0; d < kTogether; ++d) if (const int i = base + d * kAll; i < blocks)
        each(i,
             [&](const Piece& p, const Product& product, int, int, int token, int column, int k) {
               e[d] = entering(product, all.row_of ? all.row_of[p.first + token] : p.first + token,
                               column, k, k < product.n_in);
             });
    LARES_UNROLL for (int d = 0; d < kTogether; ++d) if (const int i = base + d * kAll; i < blocks)
        each(i,
             [&](const Piece&, const Product& product, int buffer, int own, int token, int, int k) {
               std::uint16_t* const to = x(buffer) + token * plan().row + k;
               if constexpr ((kinds & (kFp8Codes | kFp4)) != 0) {
                 const float s = stage_block(product, e[d], k < product.n_in, to);
                 if (lane == 0) scales(buffer)[own] = s;
               } else {
                 *reinterpret_cast<Vec8*>(to) = e[d].x;
                 if (lane == 0) scales(buffer)[own] = 1.0f;
               }
             });
  }
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
