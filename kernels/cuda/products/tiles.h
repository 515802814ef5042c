// Weights in the order in which the lanes of a warp feed them to mma.m16n8k16: a lane's bytes for
// one load lie together, a warp's are contiguous, and nothing is moved between lanes. As
// kernels/tiles.h: 16 rows by 128 k a tile, along k first, zeros beyond the matrix.
//
// With g = lane / 4, q = lane % 4, and j a 32-group of the tile's k, a lane holds rows g and g + 8
// at k = 32 j + 8 q .. + 7:
//   bf16  4096 bytes: 16-byte vector (2 j + half) * 32 + lane: row g + 8 half, those 8 k
//   fp8   2048 bytes: vector j * 32 + lane: row g, 8 codes in two words, then row g + 8
//   fp4   1088 bytes: vector (j / 2) * 32 + lane: for j even, then odd: row g, 8 codes in a word,
//         then row g + 8; then 64 scales e8m0, byte 8 g + 4 (row >= 8) + j
// In the mma of step s (0, 1) of a group, the lane's k are 32 j + 8 q + 4 s + {0, 1} and + {2, 3}:
// any order of k serves as long as both operands have it. A word of codes is pairs of weights, one
// of each in its lower half and one in its upper: kPairs says at which bit of the half each pair's
// magnitude and sign lie. A shift and a mask make of a pair an operand of mma, two f16 values that
// lack a power of two: integer operations are what bounds few tokens.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear.h"

namespace lares::kernels::cuda {

inline constexpr int kTileRows = 16, kTileK = 128;
inline constexpr int kScaleBlock = 128;  // rows and k of an fp8 scale, values of an activation's

constexpr int tile_bytes(Format format) {
  return format == Format::bf16 ? 4096 : format == Format::fp8 ? 2048 : 1088;
}
constexpr int tiles_along(int n_in) { return (n_in + kTileK - 1) / kTileK; }
constexpr int tile_rows(int n_out) { return (n_out + kTileRows - 1) / kTileRows; }
constexpr std::size_t tiles_bytes(Format format, int n_out, int n_in) {
  return static_cast<std::size_t>(tile_rows(n_out)) *
         static_cast<std::size_t>(tiles_along(n_in) * tile_bytes(format));
}
// Floats that fp8 tiles have beside them: [ceil(n_out / 128), ceil(n_in / 128)].
constexpr std::size_t tiles_scales(Format format, int n_out, int n_in) {
  return format == Format::fp8 ? static_cast<std::size_t>((n_out + 127) / 128) *
                                     static_cast<std::size_t>(tiles_along(n_in))
                               : 0;
}

// Pair i of a word: bits of each half.
struct CodePair {
  int magnitude, sign;
};
inline constexpr CodePair kFp8Pairs[2] = {{7, 15}, {0, 14}};  // seven bits of magnitude
inline constexpr CodePair kFp4Pairs[4] = {{9, 15}, {6, 12}, {3, 14}, {0, 13}};  // three

// Where weight (row, k) of a tile lies, in bits from its beginning, lower bits of a byte first.
struct TilePlace {
  int magnitude = 0, n_bits = 0, sign = 0;  // bf16: all of it is magnitude
};
constexpr TilePlace tile_place(Format format, int row, int k) {
  const int j = k / 32, q = k % 32 / 8, i = k % 8, g = row % 8, high = row / 8, lane = 4 * g + q;
  if (format == Format::bf16) return {(((2 * j + high) * 32 + lane) * 16 + 2 * i) * 8, 16, 0};
  if (format == Format::fp8) {
    const int half = ((j * 32 + lane) * 16 + 8 * high + i / 4 * 4) * 8 + i % 2 * 16;
    return {half + kFp8Pairs[i % 4 / 2].magnitude, 7, half + kFp8Pairs[i % 4 / 2].sign};
  }
  const int half = ((j / 2 * 32 + lane) * 16 + 8 * (j % 2) + 4 * high) * 8 + i % 2 * 16;
  return {half + kFp4Pairs[i / 2].magnitude, 3, half + kFp4Pairs[i / 2].sign};
}
constexpr int tile_scale_at(int row, int j) { return 1024 + 8 * (row % 8) + 4 * (row / 8) + j; }

// Weights on the device.
struct Weight {
  Format format = Format::fp8;          // bf16, fp8 or fp4
  const std::uint8_t* tiles = nullptr;  // tiles_bytes(), 64-byte aligned
  const float* scale = nullptr;         // fp8: tiles_scales()
  int n_out = 0, n_in = 0;
};

// Makes, in host memory, the tiles of rows [row_begin, row_end) of a matrix of bf16, fp8 or fp4;
// row_begin a multiple of 16, `tiles` where its tiles go. `scale`: where those of the first
// 128-row block that begins in the range go, of all that do.
void pack_tiles(const Matrix& m, int row_begin, int row_end, std::uint8_t* tiles, float* scale);

}  // namespace lares::kernels::cuda
