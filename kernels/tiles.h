// Weights repacked once so that memory order is processing order: y = x W^T without a transposition
// in the way.
//
// A tile holds 16 rows by 128 k; tiles follow each other along k, then by blocks of 16 rows. A line
// (64 bytes) is what one step of a kernel reads, and lines are read in ascending order; output row
// = lane, so nothing is summed across lanes. With c the 32-group of a line:
//   bf16   64 lines, 4 p + c:  dword i = k 2p, 2p + 1 of row i           (p = 0..15)
//   fp8    32 lines, 4 j + c:  16-byte lane L = rows 4L..4L + 3, (k0, k1) of each, then (k2, k3) of
//                              each, k0 = 4 j                             (j = 0..7)
//   fp4    17 lines, 4 j + c:  dword i = the 8 nibbles k = 8 j .. 8 j + 7 of row i  (j = 0..3);
//                              line 16: e8m0, byte 16 c + i
// Rows and k beyond the matrix are zero. The order of operations is linear.h's, so the bits are
// linear_cpu's (but that zeros behind the last k make a sum of -0 +0).
// Floor: the tiles' bytes, read once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear.h"

namespace lares::kernels {

inline constexpr int kTileRows = 16, kTileK = 128;

struct Tiles {
  Format format = Format::bf16;        // bf16, fp8 or fp4
  const std::uint8_t* data = nullptr;  // tiles_bytes(), 64-byte aligned
  // fp8: one per 128 x 128 block, [ceil(n_out / 128), ceil(n_in / 128)]
  const float* scale = nullptr;
  int n_out = 0, n_in = 0;
};

constexpr int tile_bytes(Format format) {
  return 64 * (format == Format::bf16 ? 64 : format == Format::fp8 ? 32 : 17);
}
constexpr std::int64_t tiles_along(int n_in) { return (n_in + kTileK - 1) / kTileK; }
constexpr std::int64_t tiles_bytes(Format format, int n_out, int n_in) {
  return (n_out + kTileRows - 1) / kTileRows * tiles_along(n_in) * tile_bytes(format);
}
constexpr std::int64_t tiles_scales(int n_out, int n_in) {
  return (n_out + 127LL) / 128 * tiles_along(n_in);
}

// Whether tiles hold the matrix bit for bit: bf16 whose numbers are 0 or at least 2^-46 (vdpbf16ps
// makes a zero of every denormal, and smaller factors might give one), fp8 without NaN, fp4; scales
// finite. Reads the whole matrix.
bool tileable(const Matrix& m);

// Repacks rows [row_begin, row_end) of a tileable matrix, row_begin a multiple of 16, into its
// tiles; `scale` (fp8 only) is filled for the 128-row blocks that begin in the range.
void repack(const Matrix& m, int row_begin, int row_end, std::uint8_t* data, float* scale);

struct PackArgs {
  Format format;
  const float* x;  // [n_tokens, x_stride]
  float* to;  // [n_tokens, packed_width(n_in)]: in the form that the row's own linear_tiles reads
  std::int64_t x_stride;
  int n_in, n_tokens;
};
// Floats from one token to the next: the tiles' and one or two tiles more, an odd multiple of eight
// lines, so that what eight tokens have of a few tiles spreads over all sets of a cache.
constexpr std::int64_t packed_width(int n_in) {
  return (tiles_along(n_in) + 1 + tiles_along(n_in) % 2) * kTileK;
}

// Tokens that share one pass over tiles, at most: their sums stay in the cache. A whole number of
// every kernel's steps (6, 8).
inline constexpr int kTokensPass = 192, kTokensStep = 24;
// Of n tokens, those of each pass, so that the last is not a short one.
constexpr int even_pass(int n) {
  const int passes = (n + kTokensPass - 1) / kTokensPass;
  return ((n + passes - 1) / passes + kTokensStep - 1) / kTokensStep * kTokensStep;
}

struct TilesArgs {
  const Tiles* w;
  const float* x;  // packed for w->format by the same row
  float* y;        // [n_tokens, y_stride]; column `row - y_row` receives row `row`
  std::int64_t y_stride;
  int n_tokens;
  int row_begin, row_end;  // the rows to compute; row_begin a multiple of 16
  int y_row = 0;
  bool round_bf16 = false;  // y rounded to bf16
};

void pack_cpu(const PackArgs& a);
void pack_avx2(const PackArgs& a);
void linear_tiles_cpu(const TilesArgs& a);
void linear_tiles_avx2(const TilesArgs& a);
void pack_avx512(const PackArgs& a);  // with bf16 and VBMI
void linear_tiles_avx512(const TilesArgs& a);

}  // namespace lares::kernels
