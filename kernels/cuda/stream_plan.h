// How a launch with few tokens streams its weights: one block an SM, each with a stretch of all tiles; its warps take every kWarps-th tile of
// it from rings of their own in shared memory, which the copy engine fills.
#pragma once

#include "kernels/cuda/linear_plan.h"

namespace lares::kernels::cuda {

#ifndef LARES_STREAM_RING
#define LARES_STREAM_RING 64
#endif
#ifndef LARES_STREAM_WARPS
#define LARES_STREAM_WARPS 8
#define LARES_FOLD_WARPS 2
#define LARES_STREAM_BLOCKS 2
#endif
inline constexpr int kStreamWarps = LARES_STREAM_WARPS, kFoldWarps = LARES_FOLD_WARPS;  // those that multiply, and those that add up
inline constexpr int kStreamThreads = 32 * (kStreamWarps + kFoldWarps);
inline constexpr int kPiecesMax = 128;      // runs of tiles of one matrix by the same tokens
inline constexpr int kSlotsMax = 8;         // tiles of a warp on their way
inline constexpr int kRingBytes = LARES_STREAM_RING << 10;
inline constexpr int kStreamBlocks = LARES_STREAM_BLOCKS;  // an SM's, where they fit
inline constexpr int kStreamShared = 224 << 10;  // of the 227 KiB a block may have on sm_90
inline constexpr int kBatchTiles = 32;      // whose sums are folded together
inline constexpr int kRounds = 2;           // batches of sums that are written or folded at a time

// Shared memory, in bytes from its beginning: barriers, costs, rings, x [n, row] 16-bit, its scales [n, along], kRounds of sums
// [batch, n, 16], and the unfinished sums of a row tile longer than a batch.
struct StreamPlan {
  int n_tokens, n_in, slot, slots;
  int cost_at, ring_at, x_at, scale_at, sum_at, acc_at, bytes;
  int batch, row;  // tiles; values
};
// n_in: the longest of the launch; slot: its largest tile. `slots` 0: it does not fit.
constexpr StreamPlan stream_plan(int n_tokens, int n_in, int slot) {
  StreamPlan p{};
  p.n_tokens = n_tokens;
  p.n_in = n_in;
  p.slot = (slot + 127) / 128 * 128;
  p.batch = n_tokens > 4 ? kBatchTiles / 2 : kBatchTiles;
  p.row = along_of(n_in) * kTileK + kRowPad;
  const int x = n_tokens * p.row * 2, scale = n_tokens * along_of(n_in) * 4, sum = kRounds * p.batch * n_tokens * kTileRows * 4, acc = n_tokens * kTileRows * 4;
  p.cost_at = kStreamWarps * kSlotsMax * 8;
  p.ring_at = p.cost_at + (kPiecesMax + 1) * 4 + 124;
  p.ring_at = p.ring_at / 128 * 128;
  const int rest = p.ring_at + x + (scale + 15) / 16 * 16 + sum + acc;
  const int ring = kStreamShared - rest < kRingBytes ? kStreamShared - rest : kRingBytes;
  p.slots = ring < 0 ? 0 : ring / (kStreamWarps * p.slot);
  if (p.slots > kSlotsMax) p.slots = kSlotsMax;
  p.x_at = p.ring_at + p.slots * kStreamWarps * p.slot;
  p.scale_at = p.x_at + x;
  p.sum_at = p.scale_at + (scale + 15) / 16 * 16;
  p.acc_at = p.sum_at + sum;
  p.bytes = p.acc_at + acc;
  return p;
}

constexpr StreamPlan stream_plan(const Products& all) {
  int n_in = 0, slot = 0, pieces = 0;
  for (int i = 0; i < all.n; ++i) {
    const Product& p = all.item[i];
    n_in = p.n_in > n_in ? p.n_in : n_in;
    slot = cuda::tile_bytes(p.format) > slot ? cuda::tile_bytes(p.format) : slot;
    pieces += p.n_out / p.rows_per_group;
  }
  StreamPlan plan = stream_plan(all.n_tokens, n_in, slot);
  if (pieces > kPiecesMax) plan.slots = 0;
  return plan;
}
// Of a launch, on so many SMs.
constexpr int stream_blocks(const StreamPlan& plan, int n_sms, int rows) {
  const int n = n_sms * (plan.bytes <= kStreamShared / kStreamBlocks ? kStreamBlocks : 1);
  return n < rows ? n : rows;
}
constexpr int stream_rows(const Products& all) {  // row tiles
  int n = 0;
  for (int i = 0; i < all.n; ++i) n += tile_rows(all.item[i].n_out);
  return n;
}

}  // namespace lares::kernels::cuda
