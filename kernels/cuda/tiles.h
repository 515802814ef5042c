// Weights in the order in which the lanes of a warp feed them to mma.m16n8k16: a lane's bytes for one load lie together, a warp's are
// contiguous, and nothing is moved between lanes. As kernels/tiles.h: 16 rows by 128 k a tile, along k first, zeros beyond the matrix.
//
// With g = lane / 4, q = lane % 4, and j a 32-group of the tile's k, a lane holds rows g and g + 8 at k = 32 j + 8 q .. + 7:
//   bf16  4096 bytes: 16-byte vector (2 j + half) * 32 + lane: row g + 8 half, those 8 k
//   fp8   2048 bytes: vector j * 32 + lane: row g, 8 codes, then row g + 8
//   fp4   1088 bytes: vector (j / 2) * 32 + lane: for j even, then odd: row g, 8 codes, then row g + 8 (see below); then 64 scales e8m0,
//         byte 8 g + 4 (row >= 8) + j
// In the mma of step s (0, 1) of a group, the lane's k are 32 j + 8 q + 4 s + {0, 1} and + {2, 3}: any order of k serves as long as both
// operands have it.
// The 8 codes of fp4 are a word whose nibble i has the magnitude of k = 8 q + i, and whose bit 3 of nibble i has the sign of k = 8 q +
// kFp4SignAt[i]: so a table look-up by byte permutation gives four weights, and one mask their signs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear.h"

namespace lares::kernels::cuda {

inline constexpr int kTileRows = 16, kTileK = 128;
inline constexpr int kScaleBlock = 128;  // rows and k of an fp8 scale, values of an activation's

constexpr int tile_bytes(Format format) { return format == Format::bf16 ? 4096 : format == Format::fp8 ? 2048 : 1088; }
constexpr int tiles_along(int n_in) { return (n_in + kTileK - 1) / kTileK; }
constexpr int tile_rows(int n_out) { return (n_out + kTileRows - 1) / kTileRows; }
constexpr std::size_t tiles_bytes(Format format, int n_out, int n_in) {
  return static_cast<std::size_t>(tile_rows(n_out)) * static_cast<std::size_t>(tiles_along(n_in) * tile_bytes(format));
}
// Floats that fp8 tiles have beside them: [ceil(n_out / 128), ceil(n_in / 128)].
constexpr std::size_t tiles_scales(Format format, int n_out, int n_in) {
  return format == Format::fp8 ? static_cast<std::size_t>((n_out + 127) / 128) * static_cast<std::size_t>(tiles_along(n_in)) : 0;
}

// Whose sign bit 3 of nibble i carries: nibbles 1, 3, 5, 7 the signs of the low half word's four weights, the others those of the high
// one's.
inline constexpr int kFp4SignAt[8] = {4, 0, 5, 1, 6, 2, 7, 3};

// Where weight (row, k) of a tile lies: a byte, and for fp4 its nibble's shift there and that of its sign.
struct TilePlace {
  int byte = 0, shift = 0;            // fp4: the magnitude's three bits
  int sign_byte = 0, sign_shift = 0;  // fp4 only
};
constexpr TilePlace tile_place(Format format, int row, int k) {
  const int j = k / 32, q = k % 32 / 8, i = k % 8, g = row % 8, high = row / 8, lane = 4 * g + q;
  if (format == Format::bf16) return {((2 * j + high) * 32 + lane) * 16 + 2 * i, 0, 0, 0};
  if (format == Format::fp8) return {(j * 32 + lane) * 16 + 8 * high + i, 0, 0, 0};
  const int word = (j / 2 * 32 + lane) * 16 + 8 * (j % 2) + 4 * high;
  int at = 0;
  while (kFp4SignAt[at] != i) ++at;
  return {word + i / 2, 4 * (i % 2), word + at / 2, 4 * (at % 2) + 3};
}
constexpr int tile_scale_at(int row, int j) { return 1024 + 8 * (row % 8) + 4 * (row / 8) + j; }

// Weights on the device.
struct Weight {
  Format format = Format::fp8;          // bf16, fp8 or fp4
  const std::uint8_t* tiles = nullptr;  // tiles_bytes(), 64-byte aligned
  const float* scale = nullptr;         // fp8: tiles_scales()
  int n_out = 0, n_in = 0;
};

// Fills, in host memory, the tiles of rows [row_begin, row_end) of a matrix of bf16, fp8 or fp4; row_begin a multiple of 16, `tiles`
// the first byte of all. `scale`, all of tiles_scales(), is filled for the 128-row blocks that begin in the range.
void pack_tiles(const Matrix& m, int row_begin, int row_end, std::uint8_t* tiles, float* scale);

}  // namespace lares::kernels::cuda
