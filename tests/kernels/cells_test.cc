#include "kernels/cells.h"

#include <algorithm>
#include <limits>

#include "tests/kernels/kernel_rows.h"

namespace lares::kernels {
namespace {

using namespace test;

std::vector<std::uint16_t> unpacked(const Kernels& row,
                                    const std::vector<std::vector<std::uint8_t>>& cells,
                                    int head_dim, int rope_dim) {
  std::vector<const void*> at;
  for (const auto& cell : cells) at.push_back(cell.data());
  constexpr std::uint16_t kGuard = 0x5A5A;
  std::vector<std::uint16_t> out(cells.size() * static_cast<std::size_t>(head_dim) + 64, kGuard);
  row.unpack_cells({.cells = at.data(),
                    .rows = out.data(),
                    .n = static_cast<int>(cells.size()),
                    .head_dim = head_dim,
                    .rope_dim = rope_dim});
  EXPECT_TRUE(std::all_of(out.end() - 64, out.end(), [](std::uint16_t v) { return v == kGuard; }))
      << row.name;
  out.resize(out.size() - 64);
  return out;
}

std::uint16_t half(float x) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16);
}

TEST(Cells, TheReleaseTakes584Bytes) {
  EXPECT_EQ(cell_bytes(512, 64), 584u);
  EXPECT_EQ(cell_rope_at(512, 64), 456u);
}

// Rows as attention stores them: quantised, small values dropped, of all sizes, and with zeros of
// both signs.
TEST(Cells, KeepEveryBitOfARow) {
  for (const auto& [head_dim, rope_dim] : {std::pair{512, 64}, {128, 64}, {96, 32}, {64, 64}}) {
    const int n = head_dim - rope_dim;
    std::vector<std::vector<std::uint8_t>> cells;
    std::vector<std::uint16_t> want;
    for (int kind = 0; kind < 40; ++kind) {
      auto x = normals(static_cast<std::size_t>(head_dim), static_cast<std::uint64_t>(kind),
                       kind % 5 == 1   ? 1e-6f
                       : kind % 5 == 2 ? 1e5f
                       : kind % 5 == 3 ? 0x1p-40f
                                       : 1.0f);
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (kind % 7 == 1 && i % 3 == 0) x[i] = i % 2 ? 0.0f : -0.0f;
        if (kind % 7 == 2)
          x[i] *= std::ldexp(1.0f, -static_cast<int>(i % 20));  // down to e4m3's denormals
        if (kind % 7 == 3 && i / 64 % 2 == 0) x[i] = -0.0f;
        // The largest is half of what its scale allows
        if (kind % 7 == 4) x[i] = i % 64 == 5 ? 224 : static_cast<float>(i % 8) / 512;
      }
      const Kernels& cpu = *find("cpu");
      if (n > 0)
        cpu.quantise({.x = x.data(), .stride = head_dim, .n_rows = 1, .n = n, .block = kCellBlock});
      for (int i = n; i < head_dim; ++i) x[i] = bf16(x[i]);
      cpu.drop_small(x.data(), head_dim);
      cells.emplace_back(cell_bytes(head_dim, rope_dim), 0xEE);
      pack_cell(x.data(), head_dim, rope_dim, cells.back().data());
      for (const float v : x) want.push_back(half(v));
    }
    for (const Kernels* row : available_rows())
      EXPECT_EQ(unpacked(*row, cells, head_dim, rope_dim), want) << row->name << ", " << head_dim;
  }
}

// Each of the 256 codes at scales from end to end, against the format's definition.
TEST(Cells, EveryCodeIsItsValue) {
  for (const int scale : {127, 100, 88, 140, 200, 255}) {
    std::vector<std::vector<std::uint8_t>> cells;
    std::vector<float> want;
    for (int c0 = 0; c0 < 256; c0 += kCellBlock) {
      std::vector<std::uint8_t> cell(cell_bytes(96, 32));
      for (int i = 0; i < kCellBlock; ++i) {
        // No numbers, which are blocks of their own here
        const int code = c0 + i == 127 || c0 + i == 255 ? 0 : c0 + i;
        cell[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(code);
        const int e = code >> 3 & 15, f = code & 7;
        const float magnitude = std::ldexp(e ? 8.0f + static_cast<float>(f) : static_cast<float>(f),
                                           (e ? e : 1) - 10 + scale - 127);
        want.push_back(scale == 255 ? std::numeric_limits<float>::quiet_NaN()
                       : code & 128 ? -magnitude
                                    : magnitude);
      }
      cell[kCellBlock] = static_cast<std::uint8_t>(scale);
      cells.push_back(cell);
    }
    for (const Kernels* row : available_rows()) {
      const auto got = unpacked(*row, cells, 96, 32);
      for (std::size_t i = 0; i < want.size(); ++i) {
        const float value = std::bit_cast<float>(
            static_cast<std::uint32_t>(got[i / kCellBlock * 96 + i % kCellBlock]) << 16);
        if (scale == 255)
          EXPECT_TRUE(std::isnan(value));
        else
          ASSERT_EQ(std::bit_cast<std::uint32_t>(value), std::bit_cast<std::uint32_t>(want[i]))
              << row->name << " code " << i << " scale " << scale;
      }
    }
  }
}

TEST(Cells, WhatIsNoNumberStaysNone) {
  std::vector<float> x(96, 1.0f);
  x[10] = std::numeric_limits<float>::quiet_NaN();
  std::vector<std::vector<std::uint8_t>> cells(1, std::vector<std::uint8_t>(cell_bytes(96, 32)));
  pack_cell(x.data(), 96, 32, cells[0].data());
  for (const Kernels* row : available_rows()) {
    const auto got = unpacked(*row, cells, 96, 32);
    EXPECT_TRUE(std::isnan(std::bit_cast<float>(static_cast<std::uint32_t>(got[10]) << 16)))
        << row->name;
    EXPECT_EQ(got[90], half(1.0f)) << row->name;
  }
}

}  // namespace
}  // namespace lares::kernels
