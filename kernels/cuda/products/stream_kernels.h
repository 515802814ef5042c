// A block of a stream (stream_block.h) from its first tile to its last, and the kernels' bodies.
#pragma once

#include "kernels/cuda/products/stream_fold.h"
#include "kernels/cuda/products/stream_ring.h"
#include "kernels/cuda/products/stream_share.h"
#include "kernels/cuda/products/stream_stage.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

template <int kinds, bool experts>
template <Format format, bool codes_in, bool few>
LARES_DEVICE void StreamBlock<kinds, experts>::run(const Piece& p, const Product& product,
                                                   const Visit& v, int& mine) {
  const int along = along_of(product.n_in), row = v.begin / along, low = v.begin % along;
  // Tiles; more where an expert's are by fewer tokens than the launch has.
  const int in_batch = format == Format::fp4 ? plan().batch * plan().n_tokens / p.n / 2 * 2
                                             : plan().batch;
  const bool shared_row = v.end - v.begin < along;  // with another block
  const int high = shared_row ? low + v.end - v.begin : along,
            end = shared_row ? row + 1 : v.end / along;
  const int units = along <= in_batch ? in_batch / along : 1,
            parts = (high - low + in_batch - 1) / in_batch;
  const bool folds = thread() >= 32 * kStreamWarps;
  for (int unit = row; unit < end; unit += units)
    for (int part = 0; part < parts; ++part) {
      const int here = smaller(units, end - unit), t0 = low + part * in_batch,
                t1 = parts == 1 ? high : smaller(high, t0 + in_batch);
      const int first = unit * along + t0, last = first + (here - 1) * along + t1 - t0;
      const int round = batch % kRounds;
      if (!folds) {
        if (batch >= kRounds) sync_some(kEmpty + round, kStreamThreads);
        multiply_batch<format, codes_in, few>(x(v.buffer), p.n, along, together(product), first,
                                              last, mine, sums(round));
        arrive_some(kFull + round, kStreamThreads);
      } else if (shared_row) {
        sync_some(kFull + round, kStreamThreads);
        put_part(p, t0, t1, tile_sums_of(format), sums(round), low == 0);
        arrive_some(kEmpty + round, kStreamThreads);
        if (t1 == high) fold_shared<format, codes_in>(p, product, scales(v.buffer), row, low == 0);
      } else {
        put_factors<format, codes_in>(p, product, scales(v.buffer), unit, here, t0, t1,
                                      factors(round));
        sync_some(kFull + round, kStreamThreads);
        fold<format>(p, product, unit, here, t0, t1, sums(round), factors(round));
        arrive_some(kEmpty + round, kStreamThreads);
      }
      ++batch;
    }
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::run_all() {
  sync_block();
  int mine = 0;  // the warp's next tile of the piece
  const Visit* const end = visits() + counts().visits;
  LARES_ROLLED for (const Visit* at = visits();; ++at) {
    if (at != end && at->bring >= 0) {
      if (at != visits()) sync_block();  // nobody reads the last ones any more
      stage(*at, visits()[at->bring]);
      sync_block();
    }
    // By the warps that add up, which have nothing to add for a while.
    if constexpr (kMixes) {
      if (at == visits() && thread() >= 32 * kStreamWarps) put_mixes();
    }
    if (at == end) break;
    const Visit& v = *at;
    const Piece& p = pieces()[v.piece];
    const Product& product = all.item[p.item];
    if (v.before >= 0) mine = first_tile(v.begin, v.before, together(product), thread() / 32);
    if constexpr ((kinds & kFp4) != 0) {
      if (product.format == Format::fp4 && p.n <= 2)
        run<Format::fp4, true, true>(p, product, v, mine);
      else if (product.format == Format::fp4)
        run<Format::fp4, true, false>(p, product, v, mine);
    }
    if constexpr ((kinds & kFp8Codes) != 0) {
      if (product.format == Format::fp8 && product.codes_in)
        run<Format::fp8, true, false>(p, product, v, mine);
    }
    if constexpr ((kinds & kFp8Plain) != 0) {
      if (product.format == Format::fp8 && !product.codes_in)
        run<Format::fp8, false, false>(p, product, v, mine);
    }
    if constexpr ((kinds & kBf16) != 0) {
      if (product.format == Format::bf16) run<Format::bf16, false, false>(p, product, v, mine);
    }
  }
}

// A linear() of few tokens.
template <int kinds>
LARES_DEVICE void stream_products(const StreamArgs& all, const StreamShares& shares) {
  StreamBlock<kinds, false> block{all, all.n_items};
  if (thread() < 32 * kStreamWarps) {
    block.fetch_first(shares);
  } else {
    if (thread() < 32 * (kStreamWarps + 1)) block.put_shares(shares);
    block.sync_folding();
    if (thread() == 32 * kStreamWarps) block.plan_visits();
    block.ask_scales();
  }
  block.ask_norm();
  wait_for_inputs();
  block.run_all();
}

// An experts_linear(): which experts there are is among what enters.
template <int kinds>
LARES_DEVICE void stream_experts(const StreamArgs& all, Divisor blocks) {
  const int n_shared = all.n_items - all.n_routed;
  StreamBlock<kinds, true> block{all, all.n_routed * all.n_jobs + n_shared};
  block.make_rings();
  // Where each expert's tiles are is there all along; who is asked for may not be.
  auto* const tiles = reinterpret_cast<const std::uint8_t**>(block.sums(0));
  LARES_ROLLED for (int m = 0; m < all.n_routed; ++m) {
    LARES_ROLLED for (int i = thread(); i < all.n_experts; i += kStreamThreads)
        tiles[m * all.n_experts + i] = all.tiles[m][i];
  }
  if (!all.jobs_known) wait_for_inputs();
  sync_block();
  LARES_ROLLED for (int i = thread(); i < block.n_pieces; i += kStreamThreads) {
    Piece p{};
    // Of routed matrices there are one or two
    p.item = i < all.n_routed * all.n_jobs ? i & (all.n_routed - 1)
                                           : i - all.n_routed * all.n_jobs + all.n_routed;
    const Product& product = all.item[p.item];
    const int job = i >> (all.n_routed - 1);
    if (p.item < all.n_routed) {
      const std::int32_t* const j = all.jobs + 3 * job;
      const int expert = load_fresh(j);
      p.first = load_fresh(j + 1);
      p.n = load_fresh(j + 2);
      if (p.n > 0) {
        p.tiles = tiles[p.item * all.n_experts + expert];
        p.scale = all.scale[p.item] ? all.scale[p.item][expert] : nullptr;
      }
    } else {
      p.first = all.n_tokens * all.k;
      p.n = all.n_tokens;
      p.tiles = product.tiles;
      p.scale = product.scale;
    }
    p.key = all.one_row ? 0 : job;
    if (p.tiles)
      p.cost = static_cast<std::uint32_t>((product.n_out + kTileRows - 1) / kTileRows) *
               row_cost(product);
    block.pieces()[i] = p;
  }
  block.share_out(blocks);
  block.fetch_first();
  if (thread() == 32 * kStreamWarps) block.plan_visits();
  block.ask_scales();
  if (all.jobs_known) wait_for_inputs();
  block.run_all();
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
