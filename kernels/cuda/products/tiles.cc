#include "kernels/cuda/products/tiles.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace lares::kernels::cuda {
namespace {

constexpr std::size_t bits_of(Format format) {
  return format == Format::bf16 ? 16 : format == Format::fp8 ? 8 : 4;
}
void put_word(std::uint8_t* to, std::uint32_t word) { std::memcpy(to, &word, sizeof word); }
constexpr std::uint32_t half_of(int i) { return i % 2 ? 16 : 0; }
// Four codes of consecutive k.
std::uint32_t fp8_word(const std::uint8_t* codes) {
  std::uint32_t word = 0;
  for (int p = 0; p < 2; ++p) {
    const auto magnitude = static_cast<unsigned>(kFp8Pairs[p].magnitude),
               sign = static_cast<unsigned>(kFp8Pairs[p].sign);
    const std::uint32_t halves = codes[2 * p] | static_cast<std::uint32_t>(codes[2 * p + 1]) << 16;
    word |= (halves & 0x7F007Fu) << magnitude | (halves & 0x800080u) << (sign - 7);
  }
  return word;
}
// What two codes in a byte become in a word, by which of its pairs they are.
constexpr auto kFp4Words = [] {
  std::array<std::array<std::uint32_t, 256>, 4> words{};
  for (std::size_t p = 0; p < 4; ++p)
    for (std::uint32_t byte = 0; byte < 256; ++byte)
      for (int i = 0; i < 2; ++i) {
        const std::uint32_t code = byte >> (4 * i) & 15u;
        words[p][byte] |= (code & 7)
                              << (half_of(i) + static_cast<unsigned>(kFp4Pairs[p].magnitude)) |
                          code >> 3 << (half_of(i) + static_cast<unsigned>(kFp4Pairs[p].sign));
      }
  return words;
}();
// Eight, two in a byte.
std::uint32_t fp4_word(const std::uint8_t* codes) {
  return kFp4Words[0][codes[0]] | kFp4Words[1][codes[1]] | kFp4Words[2][codes[2]] |
         kFp4Words[3][codes[3]];
}

// A row's codes of a tile, `n` of them from `codes` on: eight for a lane at a time, to where `at`
// says.
using RowPlaces = std::array<int, kTileK / 8>;  // bytes from the tile's beginning
void put_row(Format format, const RowPlaces& at, const std::uint8_t* codes, int n,
             std::uint8_t* tile) {
  for (int i = 0; i < (n + 7) / 8; ++i) {
    std::uint8_t* const to = tile + at[static_cast<std::size_t>(i)];
    if (format == Format::bf16) {
      std::memcpy(to, codes + 16 * i, 16);
    } else if (format == Format::fp8) {
      put_word(to, fp8_word(codes + 8 * i));
      put_word(to + 4, fp8_word(codes + 8 * i + 4));
    } else {
      put_word(to, fp4_word(codes + 4 * i));
    }
  }
}

}  // namespace

void pack_tiles(const Matrix& m, int row_begin, int row_end, std::uint8_t* tiles, float* scale) {
  const int size = tile_bytes(m.format), along = tiles_along(m.n_in),
            last = std::min(row_end, m.n_out);
  const auto* const data = static_cast<const std::uint8_t*>(m.data);
  for (int first_row = row_begin; first_row < row_end; first_row += kTileRows) {
    std::uint8_t* const block =
        tiles + static_cast<std::size_t>((first_row - row_begin) / kTileRows) *
                    static_cast<std::size_t>(along) * static_cast<std::size_t>(size);
    std::memset(block, 0, static_cast<std::size_t>(along) * static_cast<std::size_t>(size));
    for (int row = first_row; row < std::min(first_row + kTileRows, last); ++row) {
      RowPlaces places;
      for (int i = 0; i < kTileK / 8; ++i)
        places[static_cast<std::size_t>(i)] =
            tile_place(m.format, row - first_row, 8 * i).magnitude / 32 * 4;  // of their words
      for (int t = 0; t < along; ++t) {
        std::uint8_t* const tile = block +
                                   static_cast<std::size_t>(t) * static_cast<std::size_t>(size);
        const int n = std::min(kTileK, m.n_in - t * kTileK);
        const std::size_t at = static_cast<std::size_t>(row) * static_cast<std::size_t>(m.n_in) +
                               static_cast<std::size_t>(t * kTileK);
        put_row(m.format, places, data + at * bits_of(m.format) / 8, n, tile);
        if (m.format == Format::fp4)
          for (int j = 0; j < n / kGroup; ++j)
            tile[tile_scale_at(row - first_row, j)] =
                m.scale[at / kGroup + static_cast<std::size_t>(j)];
      }
    }
  }
  if (m.format != Format::fp8) return;
  const int first_block = (row_begin + kScaleBlock - 1) / kScaleBlock;
  for (int b = first_block; b * kScaleBlock < last; ++b)
    for (int t = 0; t < along; ++t) {
      const auto at = static_cast<std::size_t>(b) * static_cast<std::size_t>(along) +
                      static_cast<std::size_t>(t);
      scale[static_cast<std::size_t>((b - first_block) * along + t)] =
          m.scale_f32 ? m.scale_f32[at] : e8m0_value(m.scale[at]);
    }
}

}  // namespace lares::kernels::cuda
