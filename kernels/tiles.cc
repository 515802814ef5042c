#include "kernels/tiles.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/lanes.h"

namespace lares::kernels {
namespace {

constexpr int kLeastBf16 = (127 - 46) << 7;

float fp8_scale(const Matrix& m, std::int64_t block) {
  return m.scale_f32 ? m.scale_f32[block] : e8m0_value(m.scale[block]);
}

// Where weight k of row i lies in its tile: byte, and for fp4 the nibble.
struct Place {
  int byte, nibble;
};
constexpr Place place(Format format, int i, int k) {
  const int c = k / kGroup, in = k % kGroup;
  switch (format) {
    case Format::bf16:
      return {(4 * (in / 2) + c) * 64 + 4 * i + 2 * (in & 1), 0};
    case Format::fp8:
      return {(4 * (in / 4) + c) * 64 + i / 4 * 16 + (in & 2) * 4 + i % 4 * 2 + (in & 1), 0};
    default:
      return {(4 * (in / 8) + c) * 64 + 4 * i + in % 8 / 2, in & 1};
  }
}

float weight_of(Format format, const std::uint8_t* tile, int i, int k) {
  const Place at = place(format, i, k);
  if (format == Format::fp8) return e4m3_value(tile[at.byte]);
  if (format == Format::fp4) return e2m1_value(tile[at.byte] >> (4 * at.nibble) & 15);
  std::uint16_t v;
  std::memcpy(&v, tile + at.byte, 2);
  return std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16);
}

}  // namespace

bool tileable(const Matrix& m) {
  const std::int64_t n = static_cast<std::int64_t>(m.n_out) * m.n_in;
  switch (m.format) {
    case Format::f32:
      return false;
    case Format::bf16: {
      const auto* w = static_cast<const std::uint16_t*>(m.data);
      return std::none_of(w, w + n, [](std::uint16_t v) {
        return (v & 0x7FFF) != 0 && ((v & 0x7FFF) < kLeastBf16 || (v & 0x7F80) == 0x7F80);
      });
    }
    case Format::fp8: {
      const auto* w = static_cast<const std::uint8_t*>(m.data);
      for (std::int64_t i = 0; i < tiles_scales(m.n_out, m.n_in); ++i)
        if (!std::isfinite(fp8_scale(m, i))) return false;
      return std::none_of(w, w + n, [](std::uint8_t v) { return (v & 0x7F) == 0x7F; });
    }
    case Format::fp4:
      return std::none_of(m.scale, m.scale + n / kGroup, [](std::uint8_t v) { return v == 255; });
  }
  return false;
}

void repack(const Matrix& m, int row_begin, int row_end, std::uint8_t* data, float* scale) {
  const int size = tile_bytes(m.format);
  const std::int64_t along = tiles_along(m.n_in);
  const auto* codes = static_cast<const std::uint8_t*>(m.data);
  for (int first = row_begin; first < row_end; first += kTileRows) {
    std::uint8_t* block = data + first / kTileRows * along * size;
    std::memset(block, 0, static_cast<std::size_t>(along * size));
    if (m.format == Format::fp4)  // what has no scale is zero; its scale must still be a number
      for (std::int64_t t = 0; t < along; ++t) std::memset(block + t * size + 16 * 64, 127, 64);
    for (int i = 0; i < kTileRows && first + i < std::min(row_end, m.n_out); ++i) {
      const std::int64_t row = first + i;
      for (std::int64_t t = 0; t < along; ++t) {
        std::uint8_t* tile = block + t * size;
        const int n = static_cast<int>(std::min<std::int64_t>(kTileK, m.n_in - t * kTileK));
        const std::int64_t at = row * m.n_in + t * kTileK;
        for (int k = 0; k < n; ++k) {
          const Place to = place(m.format, i, k);
          if (m.format == Format::bf16)
            std::memcpy(tile + to.byte, codes + 2 * (at + k), 2);
          else if (m.format == Format::fp8)
            tile[to.byte] = codes[at + k];
          else if (to.nibble == 0)
            tile[to.byte] = codes[(at + k) / 2];
        }
        if (m.format == Format::fp4)
          for (int c = 0; c < n / kGroup; ++c)
            tile[16 * 64 + 16 * c + i] = m.scale[(at + c * kGroup) / kGroup];
      }
    }
  }
  if (m.format == Format::fp8)
    for (int b = (row_begin + 127) / 128; b * 128 < std::min(row_end, m.n_out); ++b)
      for (std::int64_t t = 0; t < along; ++t) scale[b * along + t] = fp8_scale(m, b * along + t);
}

void pack_cpu(const PackArgs& a) {
  const std::int64_t width = packed_width(a.n_in);
  for (int t = 0; t < a.n_tokens; ++t) {
    const float* from = a.x + t * a.x_stride;
    float* out = a.to + t * width;
    for (int g = 0; g < a.n_in; g += kGroup)
      for (int i = 0; i < kGroup; ++i) out[g + i] = from[g + ordered(a.format, i)];
    std::fill(out + a.n_in, out + width, 0.0f);
  }
}

void linear_tiles_cpu(const TilesArgs& a) {
  const Tiles& w = *a.w;
  const std::int64_t along = tiles_along(w.n_in), width = packed_width(w.n_in);
  for (int row = a.row_begin; row < a.row_end; ++row)
    for (int token = 0; token < a.n_tokens; ++token) {
      float acc = 0;
      for (std::int64_t t = 0; t < along; ++t) {
        const std::uint8_t* tile = w.data + (row / kTileRows * along + t) * tile_bytes(w.format);
        const float* x = a.x + token * width + t * kTileK;
        for (int c = 0; c < kTileK / kGroup; ++c) {
          float part = 0;
          for (int i = 0; i < kGroup; ++i)
            part = std::fmaf(
                weight_of(w.format, tile, row % kTileRows, c * kGroup + ordered(w.format, i)),
                x[c * kGroup + i], part);
          const float scale = w.format == Format::fp4
                                  ? e8m0_value(tile[16 * 64 + 16 * c + row % kTileRows])
                              : w.format == Format::fp8 ? w.scale[row / 128 * along + t]
                                                        : 1.0f;
          acc = std::fmaf(part, scale, acc);
        }
      }
      a.y[token * a.y_stride + row - a.y_row] = a.round_bf16 ? bf16_rounded(acc) : acc;
    }
}

}  // namespace lares::kernels
