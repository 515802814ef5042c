#include "kernels/cuda/tiles.h"

#include <algorithm>
#include <cstring>

namespace lares::kernels::cuda {

void pack_tiles(const Matrix& m, int row_begin, int row_end, std::uint8_t* tiles, float* scale) {
  const int size = tile_bytes(m.format), along = tiles_along(m.n_in), last = std::min(row_end, m.n_out);
  const auto* const data = static_cast<const std::uint8_t*>(m.data);
  for (int first = row_begin; first < row_end; first += kTileRows) {
    std::uint8_t* const block =
        tiles + static_cast<std::size_t>(first / kTileRows) * static_cast<std::size_t>(along) * static_cast<std::size_t>(size);
    std::memset(block, 0, static_cast<std::size_t>(along) * static_cast<std::size_t>(size));
    for (int row = first; row < std::min(first + kTileRows, last); ++row)
      for (int t = 0; t < along; ++t) {
        std::uint8_t* const tile = block + static_cast<std::size_t>(t) * static_cast<std::size_t>(size);
        const int n = std::min(kTileK, m.n_in - t * kTileK);
        const std::size_t at =
            static_cast<std::size_t>(row) * static_cast<std::size_t>(m.n_in) + static_cast<std::size_t>(t * kTileK);
        for (int k = 0; k < n; ++k) {
          const TilePlace to = tile_place(m.format, row - first, k);
          if (m.format == Format::bf16) {
            std::memcpy(tile + to.byte, data + 2 * (at + static_cast<std::size_t>(k)), 2);
          } else if (m.format == Format::fp8) {
            tile[to.byte] = data[at + static_cast<std::size_t>(k)];
          } else {
            const int code = data[(at + static_cast<std::size_t>(k)) / 2] >> (k % 2 * 4) & 15;
            tile[to.byte] = static_cast<std::uint8_t>(tile[to.byte] | (code & 7) << to.shift);
            tile[to.sign_byte] = static_cast<std::uint8_t>(tile[to.sign_byte] | code >> 3 << to.sign_shift);
          }
        }
        if (m.format == Format::fp4)
          for (int j = 0; j < n / kGroup; ++j)
            tile[tile_scale_at(row - first, j)] = m.scale[at / kGroup + static_cast<std::size_t>(j)];
      }
  }
  if (m.format == Format::fp8)
    for (int b = (row_begin + 127) / 128; b * 128 < last; ++b)
      for (int t = 0; t < along; ++t) {
        const std::size_t at = static_cast<std::size_t>(b) * static_cast<std::size_t>(along) + static_cast<std::size_t>(t);
        scale[at] = m.scale_f32 ? m.scale_f32[at] : e8m0_value(m.scale[at]);
      }
}

}  // namespace lares::kernels::cuda
