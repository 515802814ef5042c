// How a launch with few tokens streams its weights: a block an SM, each with a stretch of all
// tiles; its warps take every kStreamWarps-th tile of it (or two of them, where a slot has room)
// from rings of their own in shared memory, which the copy engine fills.
#pragma once

#include "kernels/cuda/products/experts.h"
#include "kernels/cuda/products/linear_plan.h"

namespace lares::kernels::cuda {

// Those that multiply, and those that add up
inline constexpr int kStreamWarps = 16, kFoldWarps = 4;
inline constexpr int kStreamThreads = 32 * (kStreamWarps + kFoldWarps);
// Blocks an SM holds: its registers are better spent on more warps than on the next launch
inline constexpr int kStreamResident = 1;
inline constexpr int kStreamShared = 227 << 10;  // bytes: what a block may have on sm_90
inline constexpr int kRingBytes = 68 << 10;      // two slots of two fp4 tiles a warp
inline constexpr int kExpertItems = 4;           // w1, w3, and the shared expert's
inline constexpr int kPiecesMax = 128;  // runs of row tiles of one matrix by the same tokens
inline constexpr int kVisitsMax = 160;  // ... and by the same columns of x
inline constexpr int kSlotsMax = 8;     // tiles of a warp on their way
// Sums of a token that are folded together: of tiles by tokens, at least so many tiles
inline constexpr int kBatchSums = 128, kBatchTiles = 16;
inline constexpr int kRounds = 2;  // batches of sums that are written or folded at a time

// A run of row tiles of one matrix by the same tokens, in shared memory.
struct Piece {
  const std::uint8_t* tiles;
  const float* scale;  // fp8
  std::uint32_t cost;  // of all its row tiles, then of those and all before it, in 64 bytes
  int item;            // of StreamArgs
  int first, n;        // of x and y: rows
  int key;             // the same: the same rows enter
};
// What a block has of a piece: tiles, k first. Warps take units of one or two tiles, as many as a
// slot has room for.
struct Segment {
  int piece, begin, end;
  int before;  // units of segments before
};
// A part of a segment that is multiplied by the same x: of one group; rows that are whole, or a
// part of one.
struct Visit {
  int piece, begin, end;
  int before;         // of its segment, where it is the first of it; else -1
  int key, column;    // of what enters
  int buffer, bring;  // of x; not -1: what must be brought before, with that of visit `bring`
};
struct StreamCounts {
  int segments, visits;
  int was_last;                    // of the two that share a row
  int next_segment[kStreamWarps];  // that a warp fetches from
};

// Shared memory, in bytes from its beginning: barriers, pieces, segments, visits, how many there
// are, rings, x_buffers of x [n, row] 16-bit, as many of its scales [n, along], kRounds of sums
// [batch, of_tile, n, 16] and of factors [batch, n], and the unfinished sums of a row tile longer
// than a batch.
struct StreamPlan {
  int n_tokens, slot, slots;
  int piece_at, segment_at, visit_at, count_at, ring_at, x_at, scale_at, sum_at, factor_at, acc_at,
      bytes;
  int x_buffers, x_bytes, scale_bytes;
  int batch, of_tile, row;  // tiles; sums; values
};
// n_in: the longest of the launch; slot: its largest tile; of_tile: the most sums that one of its
// tiles has. `slots` 0: it does not fit.
constexpr StreamPlan stream_plan(int n_tokens, int n_in, int slot, int of_tile) {
  StreamPlan p{};
  p.n_tokens = n_tokens;
  p.slot = (slot + 127) / 128 * 128;
  p.of_tile = of_tile;
  p.batch = kBatchSums / n_tokens > kBatchTiles ? kBatchSums / n_tokens / 2 * 2 : kBatchTiles;
  p.row = along_of(n_in) * kTileK + kRowPad;
  p.x_bytes = n_tokens * p.row * 2;
  p.scale_bytes = (n_tokens * along_of(n_in) * 4 + 15) / 16 * 16;
  p.piece_at = kStreamWarps * kSlotsMax * 8;
  p.segment_at = p.piece_at + kPiecesMax * static_cast<int>(sizeof(Piece));
  p.visit_at = p.segment_at + (kPiecesMax + 1) * static_cast<int>(sizeof(Segment));
  p.count_at = p.visit_at + kVisitsMax * static_cast<int>(sizeof(Visit));
  p.ring_at = (p.count_at + static_cast<int>(sizeof(StreamCounts)) + 127) / 128 * 128;
  const int sum = kRounds * p.batch * of_tile * n_tokens * kTileRows * 4,
            factor = (kRounds * p.batch * n_tokens * 4 + 15) / 16 * 16,
            acc = n_tokens * kTileRows * 4;
  const int entering = p.x_bytes + p.scale_bytes, rest = p.ring_at + sum + factor + acc,
            wanted = kStreamWarps * p.slot * (kRingBytes / (kStreamWarps * p.slot));
  p.x_buffers = rest + 2 * entering + wanted <= kStreamShared ? 2 : 1;
  const int room = kStreamShared - rest - p.x_buffers * entering,
            ring = room < kRingBytes ? room : kRingBytes;
  p.slots = ring < 0 ? 0 : ring / (kStreamWarps * p.slot);
  if (p.slots > kSlotsMax) p.slots = kSlotsMax;
  p.x_at = p.ring_at + p.slots * kStreamWarps * p.slot;
  p.scale_at = p.x_at + p.x_buffers * p.x_bytes;
  p.sum_at = p.scale_at + p.x_buffers * p.scale_bytes;
  p.factor_at = p.sum_at + sum;
  p.acc_at = p.factor_at + factor;
  p.bytes = p.acc_at + acc;
  return p;
}
// Which kinds of products a kernel is made for: fewer make shorter code, and a launch waits for
// code as for anything else.
enum StreamKinds { kFp8Codes = 1, kFp8Plain = 2, kBf16 = 4, kFp4 = 8 };
constexpr int stream_kind(Format format, bool codes_in) {
  return format == Format::bf16  ? kBf16
         : format == Format::fp4 ? kFp4
         : codes_in              ? kFp8Codes
                                 : kFp8Plain;
}

// n / by of any n in one multiplication and a correction: with inverse = floor((2^32 - 1) / by),
// 2^32 - by inverse is 1 to by, so n inverse / 2^32 is less than n / by by at most n / 2^32, which
// is less than 1, and rounded down it is the quotient or one less.
struct Divisor {
  std::uint32_t by = 1, inverse = 0xFFFFFFFFu;
};
constexpr Divisor divisor(std::uint32_t by) { return {by, 0xFFFFFFFFu / by}; }
LARES_BOTH std::uint32_t divided(std::uint32_t n, Divisor d) {
  const auto less = static_cast<std::uint32_t>(std::uint64_t{n} * d.inverse >> 32);
  return less + (n - less * d.by >= d.by);
}
LARES_BOTH int divided(int n, Divisor d) {  // n not negative
  return static_cast<int>(divided(static_cast<std::uint32_t>(n), d));
}

// Products of a launch: linear()'s; or experts_linear()'s routed matrices, whose tiles are in
// tables, then the shared expert's.
struct StreamArgs {
  Product item[kLinearTogether];
  Divisor along[kLinearTogether], group_rows[kLinearTogether];  // tiles along k; rows of tiles
  int n_items = 0, kinds = 0, rows = 0;                         // row tiles
  StreamPlan plan{};
  StreamScratch* scratch = nullptr;  // of each block, where rows may be cut between blocks
  int cut_from = 0;    // a block's cost from which none has all of a row but its beginning and its
                       // end
  HyperMixes mixes{};  // beside, of at most kTokensFew tokens
  // Experts only.
  const std::uint8_t* const* tiles[2] = {};  // [n_experts] of routed matrix i
  const float* const* scale[2] = {};
  Divisor cost[2 * kExpertItems];  // of rows of tiles; of units, where rows are cut
  const std::int32_t* jobs = nullptr;
  const std::int32_t* row_of = nullptr;
  int n_jobs = 0, n_routed = 0, n_tokens = 0, k = 0;  // runs of slots; matrices
  int n_experts = 0;
  bool one_row = false;     // every slot multiplies the same row
  bool jobs_known = false;  // not by the launch before this one
};
// Tiles that go into a slot together.
LARES_BOTH int together(const StreamPlan& plan, const Product& p) {
  return along_of(p.n_in) % 2 == 0 && 2 * cuda::tile_bytes(p.format) <= plan.slot ? 2 : 1;
}
// Costs, in 64 bytes.
LARES_BOTH int tile_cost(Format format) { return cuda::tile_bytes(format) / 64; }
LARES_BOTH std::uint32_t row_cost(const Product& p) {
  return static_cast<std::uint32_t>(along_of(p.n_in) * tile_cost(p.format));
}
LARES_BOTH std::uint32_t unit_cost(const StreamPlan& plan, const Product& p) {
  return static_cast<std::uint32_t>(together(plan, p) * tile_cost(p.format));
}
// `plan.slots` 0: it does not fit.
StreamArgs stream_of(const Products& all, const Scratch& scratch = {});
StreamArgs stream_of(const ExpertLinearArgs& a, const Scratch& scratch = {});

}  // namespace lares::kernels::cuda
