// How linear()'s launches are cut, for the launch and for the kernel.
#pragma once

#include "kernels/cuda/products/linear.h"
#include "kernels/cuda/simt/simt.h"

namespace lares::kernels::cuda {

inline constexpr int kLinearThreads = 256;
inline constexpr int kSegment = 4096;  // k of x that a block with few tokens holds at a time
inline constexpr int kRowPad = 32;  // values: so that rows of x begin in another half of the banks
inline constexpr int kManyRows = 128;          // weight rows of a block with many tokens
inline constexpr int kOutRow = kManyRows + 4;  // floats of a token, where its sums meet
constexpr int many_tokens(Format format) {
  return format == Format::fp4 ? 64 : 128;
}  // fp4 keeps scales in registers besides

// One product as the kernels see it.
struct Product {
  Format format = Format::fp8;
  bool codes_in = false;  // f16 codes on both sides; else bf16
  bool quantise = false, y_f32 = false, wgmma = true;
  const std::uint8_t* tiles = nullptr;
  const float* scale = nullptr;
  const bf16* x = nullptr;
  // quantise: of what gated() makes of x and up, for row r with factor[r]
  const bf16* up = nullptr;
  const float* factor = nullptr;
  float limit = 0;
  const float* norm = nullptr;  // quantise: of x normed, whose rows have n_in values
  float norm_eps = 0;
  const std::uint8_t* codes = nullptr;
  const float* code_scale = nullptr;
  std::uint8_t* quantised = nullptr;
  float* quantised_scale = nullptr;
  void* y = nullptr;
  void* room = nullptr;
  std::int64_t x_stride = 0, code_scale_stride = 0, y_stride = 0;
  int n_out = 0, n_in = 0, rows_per_group = 0;
  int first_block = 0;  // of the launch
};
struct Products {
  Product item[kLinearTogether];
  int n = 0, n_tokens = 0, n_blocks = 0;  // n_blocks: of rows, and behind them one for `mixes`
  HyperMixes mixes{};
};

// What a launch with few tokens holds: one kind alone needs fewer registers, and so more blocks
// fit.
enum class Few { any, fp8_codes, fp8_plain, bf16_plain };
constexpr Few few_of(const Product& p) {
  return p.format == Format::bf16  ? Few::bf16_plain
         : p.format == Format::fp8 ? p.codes_in ? Few::fp8_codes : Few::fp8_plain
                                   : Few::any;
}
constexpr Few few_of(const Products& all) {
  for (int i = 1; i < all.n; ++i)
    if (few_of(all.item[i]) != few_of(all.item[0])) return Few::any;
  return few_of(all.item[0]);
}

// Checks the arguments: what a kernel does not take is refused.
Status product(const LinearArgs& a, Product& to);
Status products(std::span<const LinearArgs> together, Products& to);

LARES_BOTH constexpr int along_of(int n_in) { return (n_in + kTileK - 1) / kTileK; }
LARES_BOTH constexpr int segment_of(int n_in) {
  return n_in < kSegment ? along_of(n_in) * kTileK : kSegment;
}
// Blocks: a tile of rows each; groups begin new ones with many tokens.
constexpr int few_blocks(const Product& p) { return tile_rows(p.n_out); }
constexpr int many_row_blocks(const Product& p) {
  return (p.n_out + p.rows_per_group - 1) / p.rows_per_group *
         ((p.rows_per_group + kManyRows - 1) / kManyRows);
}

// Sums of a tile that are scaled and added up one by one: of 32-groups, or of all 128 k.
constexpr int kTileSumsMax = 4;
LARES_BOTH constexpr int tile_sums_of(Format format) {
  return format == Format::fp4 ? kTileSumsMax : 1;
}

// Shared memory of a block with few tokens: x [n, segment + pad] 16-bit, its scales [n, segment /
// 128], sums [segment / 128, of a tile, n, 16].
struct FewShared {
  int row, scale_at, sum_at, bytes;  // row in values, the others in bytes
};
LARES_BOTH constexpr FewShared few_shared(int n_tokens, int n_in, int of_tile = kTileSumsMax) {
  const int segment = segment_of(n_in), row = segment + kRowPad, tiles = segment / kTileK;
  const int scale_at = n_tokens * row * 2,
            sum_at = scale_at + (n_tokens * tiles * 4 + 15) / 16 * 16;
  return {row, scale_at, sum_at, sum_at + tiles * of_tile * n_tokens * kTileRows * 4};
}
// Of one with many: two stages of x [tokens, 128 + pad] and its scales [tokens]; or, at the end, y
// [tokens, 128 + 8] f32.
LARES_BOTH constexpr int many_stage(int tokens) {
  return tokens * (kTileK + kRowPad) * 2 + tokens * 4;
}
LARES_BOTH constexpr int many_shared(int tokens) {
  const int stages = 2 * many_stage(tokens), out = tokens * kOutRow * 4;
  return stages > out ? stages : out;
}

}  // namespace lares::kernels::cuda
