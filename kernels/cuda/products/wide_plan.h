// How products with many tokens are cut where wgmma is. Codes that enter are laid out once, as
// operands (wide_input.h); then a block an SM makes one piece of the results after the other
// (wide_kernels.h): weights and tokens through a ring in shared memory.
#pragma once

#include "kernels/cuda/products/linear_plan.h"

namespace lares::kernels::cuda {

inline constexpr int kWideTokens = 128, kWideHalf = 64;  // of a piece, of a wgmma
inline constexpr int kWideConsumers = 2;  // warpgroups that multiply, each 64 or 128 rows
inline constexpr int kWideThreads = 128 * (kWideConsumers + 1);
// How tokens come into the ring: as laid out, planes by bulk copies; from rows of operands, 16
// bytes a copy, which may be any rows; or from bf16 rows as they are, whose pairs go to their
// places one by one.
enum class WideFrom { planes, pieces, pairs };
// Threads that copy rows, beside a warp that copies weights
inline constexpr int kWideGatherers = 96;
constexpr int wide_consumer_registers(WideFrom from) {
  return from == WideFrom::planes ? 240 : 232;
}
constexpr int wide_producer_registers(WideFrom from) { return from == WideFrom::planes ? 24 : 40; }
// a plane: 64 k of the tokens, 128 bytes each, swizzled
inline constexpr int kWidePlaneK = 64, kWidePlaneBytes = kWideTokens * 128;
inline constexpr int kWideStages = 4;  // at most
// Bytes; shared memory begins so, and so must what is swizzled
inline constexpr int kWideShared = 227 << 10, kWideAlign = 1024;
// Results of a warpgroup on their way out, in floats
inline constexpr int kWideOutTokens = 32, kWideOutRow = 64 + 4;
// Pieces of rows that go through the tokens together, so that both stay in L2
inline constexpr int kWideSuper = 16;

// Codes that enter, as f16 values: planes of 64 k one behind the other, or rows of them; and of 128
// k a scale that is not in the values.
struct WideInput {
  // [2 ceil(columns / 128), rows, 128], swizzled, or [rows, 2 ceil(columns / 128), 128]
  std::uint8_t* values = nullptr;
  float* scale = nullptr;                     // [ceil(columns / 128), rows]
  std::int64_t rows = 0;                      // a multiple of 8
  std::uint32_t* taken = nullptr;             // experts: pieces that blocks have taken
  std::int64_t plane_step = 0, row_step = 0;  // bytes of values
  bool by_rows = false;
};
LARES_BOTH constexpr std::int64_t wide_rows(std::int64_t n) { return (n + 7) / 8 * 8; }
inline WideInput wide_input(void* room, std::int64_t rows, int columns, bool by_rows = false) {
  WideInput in{static_cast<std::uint8_t*>(room), nullptr, rows};
  in.scale = reinterpret_cast<float*>(in.values + 2 * along_of(columns) * rows * 128);
  in.taken = reinterpret_cast<std::uint32_t*>(in.scale + along_of(columns) * rows);
  in.by_rows = by_rows;
  in.plane_step = by_rows ? 128 : rows * 128;
  in.row_step = by_rows ? 2 * along_of(columns) * 128 : 128;
  return in;
}
// Runs of slots lie one behind the other, each from a multiple of 8 rows on: job number `job`,
// whose first slot is `slot`.
LARES_BOTH constexpr std::int64_t wide_row_of(std::int64_t slot, std::int64_t job) {
  return slot / 8 * 8 + 8 * job;
}

// Shared memory of a block, in bytes: stages of [two planes, 8 blocks tiles of 16 rows, tokens'
// scales [128], fp8 tiles' scales [16], the piece's number], what is on its way out, barriers, two
// numbers of pieces, which rows a piece's tokens are [128], and what registers have no room for: of
// each warp that multiplies, its piece and how many tokens that has.
struct WideShared {
  int weights_at, scale_at, tile_scale_at, work_at, stage, stages, out_at, barrier_at, next_at,
      row_at, keep_at, bytes;
};
LARES_BOTH constexpr WideShared wide_shared(Format format, int blocks) {
  WideShared s{};
  s.weights_at = 2 * kWidePlaneBytes;
  s.scale_at = s.weights_at + kWideConsumers * 4 * blocks * tile_bytes(format);
  s.tile_scale_at = s.scale_at + kWideTokens * 4;
  s.work_at = s.tile_scale_at + 16 * 4;
  s.stage = (s.work_at + 4 + kWideAlign - 1) / kWideAlign * kWideAlign;
  const int out = kWideConsumers * kWideOutTokens * kWideOutRow * 4, barriers = 2 * kWideStages * 8;
  s.stages = (kWideShared - out - barriers - 8 - kWideTokens * 4 - 8 * 4 * kWideConsumers) /
             s.stage;
  if (s.stages > kWideStages) s.stages = kWideStages;
  s.out_at = s.stages * s.stage;
  s.barrier_at = s.out_at + out;
  s.next_at = s.barrier_at + barriers;
  s.row_at = s.next_at + 8;
  s.keep_at = s.row_at + kWideTokens * 4;
  s.bytes = s.keep_at + 8 * 4 * kWideConsumers;
  return s;
}

// Pieces of rows of a product: groups begin new ones.
LARES_BOTH constexpr int wide_row_blocks(int n_out, int rows_per_group, int rows) {
  return n_out / rows_per_group * ((rows_per_group + rows - 1) / rows);
}
// Piece number `item` of all: which rows, which tokens.
struct WidePiece {
  int row, token;
};
LARES_BOTH constexpr WidePiece wide_piece(int item, int row_blocks, int token_blocks) {
  const int whole = row_blocks / kWideSuper * kWideSuper;
  const bool last = item >= whole * token_blocks;
  const int across = last ? row_blocks - whole : kWideSuper,
            super = last ? 0 : item / (kWideSuper * token_blocks);
  const int rest = last ? item - whole * token_blocks : item % (kWideSuper * token_blocks);
  return {(last ? whole : super * kWideSuper) + rest % across, rest / across};
}

}  // namespace lares::kernels::cuda
