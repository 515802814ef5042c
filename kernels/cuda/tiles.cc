#include "kernels/cuda/tiles.h"

#include <algorithm>
#include <cstring>

namespace lares::kernels::cuda {
namespace {

void put_word(std::uint8_t* to, std::uint32_t word) { std::memcpy(to, &word, sizeof word); }
std::uint32_t half_of(int i) { return i % 2 ? 16 : 0; }
// Four codes of consecutive k.
std::uint32_t fp8_word(const std::uint8_t* codes) {
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i) {
    const CodePair at = kFp8Pairs[i / 2];
    word |= static_cast<std::uint32_t>(codes[i] & 127)
                << (half_of(i) + static_cast<unsigned>(at.magnitude)) |
            static_cast<std::uint32_t>(codes[i] >> 7)
                << (half_of(i) + static_cast<unsigned>(at.sign));
  }
  return word;
}
// Eight, two in a byte.
std::uint32_t fp4_word(const std::uint8_t* codes) {
  std::uint32_t word = 0;
  for (int i = 0; i < 8; ++i) {
    const CodePair at = kFp4Pairs[i / 2];
    const std::uint32_t code = codes[i / 2] >> (i % 2 * 4) & 15u;
    word |= (code & 7) << (half_of(i) + static_cast<unsigned>(at.magnitude)) |
            code >> 3 << (half_of(i) + static_cast<unsigned>(at.sign));
  }
  return word;
}

}  // namespace

void pack_tiles(const Matrix& m, int row_begin, int row_end, std::uint8_t* tiles, float* scale) {
  const int size = tile_bytes(m.format), along = tiles_along(m.n_in),
            last = std::min(row_end, m.n_out);
  const auto* const data = static_cast<const std::uint8_t*>(m.data);
  for (int first_row = row_begin; first_row < row_end; first_row += kTileRows) {
    std::uint8_t* const block = tiles + static_cast<std::size_t>(first_row / kTileRows) *
                                            static_cast<std::size_t>(along) *
                                            static_cast<std::size_t>(size);
    std::memset(block, 0, static_cast<std::size_t>(along) * static_cast<std::size_t>(size));
    for (int row = first_row; row < std::min(first_row + kTileRows, last); ++row)
      for (int t = 0; t < along; ++t) {
        std::uint8_t* const tile = block +
                                   static_cast<std::size_t>(t) * static_cast<std::size_t>(size);
        const int n = std::min(kTileK, m.n_in - t * kTileK);
        const std::size_t at = static_cast<std::size_t>(row) * static_cast<std::size_t>(m.n_in) +
                               static_cast<std::size_t>(t * kTileK);
        for (int k = 0; k < n; k += 8) {  // a lane's codes of a group
          const int first = tile_place(m.format, row - first_row, k).magnitude / 32 * 4;  // bytes,
                                                                                          // of
                                                                                          // their
                                                                                          // words
          if (m.format == Format::bf16) {
            std::memcpy(tile + first, data + 2 * (at + static_cast<std::size_t>(k)), 16);
          } else if (m.format == Format::fp8) {
            for (int w = 0; w < 2; ++w)
              put_word(tile + first + 4 * w,
                       fp8_word(data + at + static_cast<std::size_t>(k + 4 * w)));
          } else {
            put_word(tile + first, fp4_word(data + (at + static_cast<std::size_t>(k)) / 2));
          }
        }
        if (m.format == Format::fp4)
          for (int j = 0; j < n / kGroup; ++j)
            tile[tile_scale_at(row - first_row, j)] =
                m.scale[at / kGroup + static_cast<std::size_t>(j)];
      }
  }
  if (m.format == Format::fp8)
    for (int b = (row_begin + 127) / 128; b * 128 < last; ++b)
      for (int t = 0; t < along; ++t) {
        const std::size_t at = static_cast<std::size_t>(b) * static_cast<std::size_t>(along) +
                               static_cast<std::size_t>(t);
        scale[at] = m.scale_f32 ? m.scale_f32[at] : e8m0_value(m.scale[at]);
      }
}

}  // namespace lares::kernels::cuda
