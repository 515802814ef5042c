#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/cell_codes.h"
#include "kernels/cells.h"

namespace lares::kernels {
namespace {

// Of values on the grid of any power of two: the least scale with which none exceeds 448. Their own
// may be twice it, when the largest is 224 of that; then every code is doubled, which e4m3 can.
std::uint8_t scale_of(const float* x) {
  std::uint32_t most = 0;
  for (int i = 0; i < kCellBlock; ++i) {
    const std::uint32_t m = std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFu;
    most = m > most ? m : most;
  }
  if (most >= 0x7F800000u) return kScaleOfNoNumber;
  if (most == 0) return 127;
  // 448 is 1.75 * 2^8.
  const int exponent = static_cast<int>(most >> 23) - 8 + ((most & 0x7FFFFFu) > 0x600000u ? 1 : 0);
  return static_cast<std::uint8_t>(exponent < 0 ? 0 : exponent);
}

std::uint8_t code_of(float x, int scale) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint8_t>(u >> 24 & 0x80u);
  if ((u & 0x7FFFFFFFu) == 0) return sign;
  const int exponent = static_cast<int>(u >> 23 & 255) - scale + 7;  // e4m3's
  const auto fraction = static_cast<int>(u >> 20 & 7);
  if (exponent >= 1) return static_cast<std::uint8_t>(sign | exponent << 3 | fraction);
  return static_cast<std::uint8_t>(sign | (8 + fraction) >> (1 - exponent));
}

}  // namespace

void pack_cell(const float* x, int head_dim, int rope_dim, std::uint8_t* cell) {
  const int n = head_dim - rope_dim;
  std::memset(cell, 0, cell_bytes(head_dim, rope_dim));
  for (int b = 0; b < n; b += kCellBlock) {
    const std::uint8_t scale = scale_of(x + b);
    cell[n + b / kCellBlock] = scale;
    if (scale != kScaleOfNoNumber)
      for (int i = b; i < b + kCellBlock; ++i) cell[i] = code_of(x[i], scale);
  }
  std::uint8_t* const rope = cell + cell_rope_at(head_dim, rope_dim);
  for (int i = 0; i < rope_dim; ++i) {
    const auto high = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x[n + i]) >> 16);
    std::memcpy(rope + 2 * i, &high, 2);
  }
}

void unpack_cells_cpu(const UnpackArgs& a) {
  const int n = a.head_dim - a.rope_dim;
  for (int j = 0; j < a.n; ++j) {
    const auto* const cell = static_cast<const std::uint8_t*>(a.cells[j]);
    std::uint16_t* const row = a.rows + static_cast<std::int64_t>(j) * a.head_dim;
    for (int b = 0; b < n; b += kCellBlock) {
      const int scale = cell[n + b / kCellBlock];
      const auto add = static_cast<std::uint16_t>((scale - 127) * 128);
      for (int i = b; i < b + kCellBlock; ++i) {
        const std::uint16_t value = kCodeValues.of[cell[i] & 127];
        const auto scaled = static_cast<std::uint16_t>((value ? value + add : 0) | (cell[i] & 128)
                                                                                       << 8);
        row[i] = scale == kScaleOfNoNumber ? kNoNumber : scaled;
      }
    }
    std::memcpy(row + n, cell + cell_rope_at(a.head_dim, a.rope_dim),
                2 * static_cast<std::size_t>(a.rope_dim));
  }
}

}  // namespace lares::kernels
