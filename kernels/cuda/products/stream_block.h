// Products of few tokens, bound by their weights: each block streams a stretch of the tiles through
// shared memory without a pause between row tiles, matrices or experts, and begins before what
// enters is there. The sums are linear.h's. What a block does when: stream_kernels.h.
#pragma once

#include "kernels/cuda/simt/bulk.h"
#include "kernels/cuda/hyper/hyper_mixes.h"
#include "kernels/cuda/products/linear_rows.h"
#include "kernels/cuda/products/share_plan.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// A warp's place in its ring: the slot that is next, and how often it was filled before.
struct StreamSlot {
  int slot = 0, use = 0;
};
// What a warp is to fetch of a segment: its next tiles, how many units of so many bytes.
struct StreamFetch {
  const std::uint8_t* from = nullptr;
  int left = 0, bytes = 0;
};

template <int kinds, bool experts>
struct StreamBlock {
  // What only some can: others have no registers for it (linear()).
  static constexpr bool kNorms = !experts && kinds == kFp8Codes, kMixes = experts || kNorms;
  static constexpr int kBlockTiles = kScaleBlock / kTileRows;  // row tiles of an fp8 scale

  const StreamArgs& all;
  int n_pieces;
  StreamFetch fetch{};
  StreamSlot next{};
  int batch = 0;      // how many were before
  FourFloats norm{};  // the weights of the k that a lane norms: of the same for all its tokens

  LARES_DEVICE const StreamPlan& plan() const { return all.plan; }
  LARES_DEVICE unsigned char* memory() const { return shared<unsigned char>(); }
  LARES_DEVICE BulkBarrier* barrier(int warp, int slot) const {
    return reinterpret_cast<BulkBarrier*>(memory()) + warp * kSlotsMax + slot;
  }
  LARES_DEVICE Piece* pieces() const {
    return reinterpret_cast<Piece*>(memory() + plan().piece_at);
  }
  LARES_DEVICE Segment* segments() const {
    return reinterpret_cast<Segment*>(memory() + plan().segment_at);
  }
  LARES_DEVICE Visit* visits() const {
    return reinterpret_cast<Visit*>(memory() + plan().visit_at);
  }
  LARES_DEVICE StreamCounts& counts() const {
    return *reinterpret_cast<StreamCounts*>(memory() + plan().count_at);
  }
  LARES_DEVICE unsigned char* slot(int warp, int i) const {
    return memory() + plan().ring_at + (warp * plan().slots + i) * plan().slot;
  }
  LARES_DEVICE std::uint16_t* x(int i) const {
    return reinterpret_cast<std::uint16_t*>(memory() + plan().x_at + i * plan().x_bytes);
  }
  LARES_DEVICE float* scales(int i) const {
    return reinterpret_cast<float*>(memory() + plan().scale_at + i * plan().scale_bytes);
  }
  LARES_DEVICE float* factors(int round) const {
    return reinterpret_cast<float*>(memory() + plan().factor_at) +
           round * plan().batch * plan().n_tokens;
  }
  LARES_DEVICE float* sums(int round) const {
    return reinterpret_cast<float*>(memory() + plan().sum_at) +
           round * plan().batch * plan().of_tile * plan().n_tokens * kTileRows;
  }

  // This block's stretch of all tiles. It begins and ends with a row, or, where that may be, within
  // one, which it then shares with the block before or the next: the next one's part is first in
  // both, so that nobody waits in the end. Segment 0 is that part of the stretch's last row, or
  // empty; the others are in order.
  //
  // Of experts, by all threads, once every piece's own cost is there; of so many blocks.
  LARES_DEVICE void share_out(Divisor blocks);
  // Of what the host has shared out: by the first warp that folds.
  LARES_DEVICE void put_shares(const StreamShares& shares) const;

  LARES_DEVICE int together(const Product& p) const { return cuda::together(plan(), p); }
  LARES_DEVICE static int units_of(int tiles, int unit) { return unit == 2 ? tiles / 2 : tiles; }
  // The first tile of a segment that is a warp's: they take units in turns, through all segments.
  LARES_DEVICE static int first_tile(int begin, int before, int unit, int warp) {
    return begin + (warp + kStreamWarps - before % kStreamWarps) % kStreamWarps * unit;
  }
  // The next tiles into a slot, by one lane; false: there are none.
  LARES_DEVICE bool fetch_next(int warp, int slot_at);
  // Every ring's barriers, by a warp that has nothing to do while another one cuts: before
  // share_out()'s.
  LARES_DEVICE void make_rings() const;
  // What fills a warp's ring: by one lane, once segments are there; or by whichever have a part of
  // what the host has shared out, before segments are, for a ring that the warp makes itself.
  LARES_DEVICE void fetch_first();
  LARES_DEVICE void fetch_first(const StreamShares& shares);

  // By the warps that fold, which then see what each of them has stored.
  LARES_DEVICE static void sync_folding() { sync_some(kFolded, 32 * kFoldWarps); }

  // Brings the weights' scales that this block needs nearer, before it waits; by the warps that
  // will use them.
  LARES_DEVICE void ask_scales() const;

  // Cuts segments into visits and says what they need in x, by one thread. Where a visit's x is in
  // no buffer, what the next one with another x multiplies is brought with it, so that a block
  // whose rows are of two groups or experts stops no second time.
  LARES_DEVICE void plan_visits() const;

  // All of the block's rows of all pieces.
  LARES_DEVICE void run_all();

  // A warp that norms has the same block of 128 of all its tokens, so that their weights are one
  // load of a lane's, before the wait.
  LARES_DEVICE void ask_norm();

 private:
  // What a boundary left. The last block's, which is as good as any.
  LARES_DEVICE void put_mixes() const;

  // What enters of products that norm it: rms_norm()'s sums and values, then stage_block()'s codes.
  // x lies in its buffer as it is meanwhile, roots where factors will.
  LARES_DEVICE void stage_normed(const Piece& p, const Product& product);

  // What enters, of all k, for one visit or two: a warp a block of 128.
  LARES_DEVICE void stage(const Visit& v, const Visit& other);

  // A visit, in batches: some row tiles whole, or a part of one.
  template <Format format, bool codes_in, bool few>
  LARES_DEVICE void run(const Piece& p, const Product& product, const Visit& v, int& mine);

  static constexpr int kFull = 1, kEmpty = kFull + kRounds, kFolded = kEmpty + kRounds;  // barriers

  // This warp's tiles before `last`; the sums of tile `first` come first.
  template <Format format, bool codes_in, bool few>
  LARES_DEVICE void multiply_batch(const std::uint16_t* x, int n, int along, int unit, int first,
                                   int last, int& mine, float* sums);

  // By the warps that fold, while the batch is multiplied: what its sums are multiplied by, [row
  // blocks, n, t1 - t0]. At most as many as the batch has tiles by tokens. Two batches' are held:
  // when a warp writes the next but one, all have read these.
  template <Format format, bool codes_in>
  LARES_DEVICE static void put_factors(const Piece& piece, const Product& p, const float* x_scale,
                                       int unit, int here, int t0, int t1, float* factor);

  // Adds up the sums of tiles [t0, t1) of `here` row tiles from `unit` on; those of a row's last
  // tile go out.
  template <Format format>
  LARES_DEVICE void fold(const Piece& piece, const Product& p, int unit, int here, int t0, int t1,
                         const float* sums, const float* factor) const;
  LARES_DEVICE static void put_y(const Piece& piece, const Product& p, int row, int token,
                                 float acc);

  // A row tile that two blocks share: each puts its tiles' sums into memory; who comes second adds
  // up all of them.
  LARES_DEVICE StreamScratch& scratch_of(bool low) const {
    return all.scratch[low ? block_x() : block_x() - 1];
  }
  LARES_DEVICE void put_part(const Piece& piece, int t0, int t1, int of_tile, const float* sums,
                             bool low) const;
  template <Format format, bool codes_in>
  LARES_DEVICE void fold_shared(const Piece& piece, const Product& p, const float* x_scale,
                                int tile_row, bool low) const;
  LARES_DEVICE static float weight_scale(const Piece& piece, int tile_row, int along, int k,
                                         Format format) {
    return format == Format::fp8
               ? piece.scale[static_cast<std::int64_t>(tile_row / kBlockTiles) * along + k]
               : 1.0f;
  }
};

}  // namespace lares::kernels::cuda::inline LARES_SIDE
