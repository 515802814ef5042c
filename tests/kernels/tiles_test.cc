// Repacked weights give the very bits of the row-major ones, for every row of the table, shape,
// number of tokens and range.
#include "kernels/tiles.h"

#include <cstdlib>
#include <memory>

#include "tests/kernels/stored_matrix.h"

namespace lares::kernels {
namespace {

using namespace test;

struct Repacked {
  Tiles w;
  std::unique_ptr<std::uint8_t, decltype(&std::free)> data{nullptr, std::free};
  std::vector<float> scale;
};

// In pieces of `rows`, as several threads would.
Repacked repacked(const Matrix& m, int rows) {
  const auto n = static_cast<std::size_t>(tiles_bytes(m.format, m.n_out, m.n_in));
  Repacked r{{m.format, nullptr, nullptr, m.n_out, m.n_in},
             {static_cast<std::uint8_t*>(std::aligned_alloc(64, n)), std::free},
             {}};
  std::fill_n(r.data.get(), n, 0xAA);
  if (m.format == Format::fp8)
    r.scale.assign(static_cast<std::size_t>(tiles_scales(m.n_out, m.n_in)), std::nanf(""));
  for (int row = 0; row < m.n_out; row += rows)
    repack(m, row, std::min(m.n_out, row + rows), r.data.get(), r.scale.data());
  r.w.data = r.data.get();
  if (m.format == Format::fp8) r.w.scale = r.scale.data();
  return r;
}

std::vector<float> run(const Kernels& row, const Tiles& w, const std::vector<float>& x,
                       int n_tokens, int begin, int end, bool round = false) {
  Output packed(static_cast<std::size_t>(n_tokens) *
                static_cast<std::size_t>(packed_width(w.n_in)));
  row.pack({.format = w.format,
            .x = x.data(),
            .to = packed.data(),
            .x_stride = w.n_in,
            .n_in = w.n_in,
            .n_tokens = n_tokens});
  EXPECT_TRUE(packed.guards_intact());
  Output y(static_cast<std::size_t>(n_tokens) * (end - begin));
  row.linear_tiles({.w = &w,
                    .x = packed.data(),
                    .y = y.data(),
                    .y_stride = end - begin,
                    .n_tokens = n_tokens,
                    .row_begin = begin,
                    .row_end = end,
                    .y_row = begin,
                    .round_bf16 = round});
  EXPECT_TRUE(y.guards_intact());
  return y.values();
}

struct Case {
  Format format;
  bool f32_scale;
  int n_out, n_in, n_tokens;
};

class TilesOf : public testing::TestWithParam<Case> {};

TEST_P(TilesOf, GiveTheBitsOfTheRowMajorMatrix) {
  const auto [format, f32_scale, n_out, n_in, n_tokens] = GetParam();
  Stored s = stored(format, n_out, n_in, f32_scale);
  ASSERT_TRUE(tileable(s.m));
  const Repacked r = repacked(s.m, 48);
  for (const auto& x : activations(n_tokens, n_in, 21)) {
    std::vector<float> want(static_cast<std::size_t>(n_tokens) * n_out);
    linear_cpu({.w = &s.m,
                .x = x.data(),
                .y = want.data(),
                .x_stride = n_in,
                .y_stride = n_out,
                .n_tokens = n_tokens,
                .row_begin = 0,
                .row_end = n_out});
    for (const Kernels* row : available_rows()) {
      SCOPED_TRACE(row->name);
      EXPECT_TRUE(same_bits(run(*row, r.w, x, n_tokens, 0, n_out), want));
      auto rounded = want;
      for (float& v : rounded) v = bf16(v);
      EXPECT_TRUE(same_bits(run(*row, r.w, x, n_tokens, 0, n_out, true), rounded));
      const int begin = n_out > 16 ? 16 : 0, end = n_out - (n_out > 1);
      std::vector<float> part;
      for (int t = 0; t < n_tokens; ++t)
        part.insert(part.end(), want.begin() + t * n_out + begin, want.begin() + t * n_out + end);
      EXPECT_TRUE(same_bits(run(*row, r.w, x, n_tokens, begin, end), part));
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (int n = 1; n <= 33; ++n)  // every way to divide tokens among the kernels
    out.push_back({n % 3 == 0   ? Format::bf16
                   : n % 3 == 1 ? Format::fp4
                                : Format::fp8,
                   false, 16 + n, 256, n});
  for (const Format f : {Format::bf16, Format::fp8, Format::fp4})
    for (const auto& [n_out, n_in, n_tokens] : {std::tuple{1, 32, 1},
                                                {15, 96, 2},
                                                {130, 160, 3},
                                                {33, 1152, 4},
                                                {17, 640, 5},
                                                {48, 384, 200},
                                                {200, 288, 64},
                                                {336, 160, 203}})
      out.push_back({f, false, n_out, n_in, n_tokens});
  for (int n = 16; n < 80; n += 5)
    out.push_back({n % 3 == 0   ? Format::bf16
                   : n % 3 == 1 ? Format::fp4
                                : Format::fp8,
                   false, 100 + n, 160, n});
  out.push_back({Format::fp8, true, 300, 416, 3});
  out.push_back({Format::fp8, true, 140, 256, 7});
  out.push_back({Format::fp8, true, 256, 256, 70});
  out.push_back({Format::fp8, false, 64, 128, 5953});  // whose last pass has a token
  return out;
}
INSTANTIATE_TEST_SUITE_P(, TilesOf, testing::ValuesIn(cases()));

// Every code of the small formats at a place of its own, next to the smallest scale there is.
TEST(Tiles, EveryCodeIsKept) {
  for (const Format format : {Format::fp8, Format::fp4}) {
    const int codes = format == Format::fp8 ? 256 : 16, n_in = 64;
    std::vector<std::uint8_t> data(static_cast<std::size_t>(codes) * n_in, 0),
        scales(static_cast<std::size_t>(codes) * 2);
    for (int row = 0; row < codes; ++row) {
      const int k = row % n_in;
      const auto code =
          static_cast<std::uint8_t>(format == Format::fp8 && (row & 127) == 127 ? 1 : row);
      if (format == Format::fp8)
        data[row * n_in + k] = code;
      else
        data[row * n_in / 2 + k / 2] = static_cast<std::uint8_t>(k % 2 ? code << 4 : code);
      scales[2 * row] = static_cast<std::uint8_t>(row % 3 == 0 ? 0 : 130 + row % 3);
    }
    const Matrix m{.format = format,
                   .data = data.data(),
                   .scale = scales.data(),
                   .n_out = codes,
                   .n_in = n_in};
    ASSERT_TRUE(tileable(m));
    const Repacked r = repacked(m, 16);
    auto kinds = activations(1, n_in, 5);
    kinds.pop_back();  // a product that underflows to -0 here would meet a tile's zeros, which make
                       // it +0
    for (const auto& x : kinds) {
      std::vector<float> want(static_cast<std::size_t>(codes));
      linear_cpu({.w = &m,
                  .x = x.data(),
                  .y = want.data(),
                  .x_stride = n_in,
                  .y_stride = codes,
                  .n_tokens = 1,
                  .row_begin = 0,
                  .row_end = codes});
      for (const Kernels* row : available_rows())
        EXPECT_TRUE(same_bits(run(*row, r.w, x, 1, 0, codes), want)) << row->name;
    }
  }
}

// Scales that may be given to the weights of many tokens, and such that may not, next to each
// other.
TEST(Tiles, ScalesOfEverySize) {
  const int n_out = 64, n_in = 512, n_tokens = 70;
  for (const Format format : {Format::fp8, Format::fp4}) {
    Stored s = stored(format, n_out, n_in);
    for (const int low : {0, 30, 60, 80, 85, 95, 170, 180, 200}) {
      for (std::size_t i = 0; i < s.scales.size(); ++i)
        s.scales[i] = static_cast<std::uint8_t>(
            format == Format::fp8 ? low + static_cast<int>(i) * 4 : low + (i % 16 < 8 ? 0 : i % 7));
      ASSERT_TRUE(tileable(s.m));
      const Repacked r = repacked(s.m, 64);
      auto kinds = activations(n_tokens, n_in, 7);
      for (std::size_t kind = 0, n = kinds.size(); kind < n; ++kind) {
        for (std::size_t i = 0; i < kinds[kind].size(); i += 97)
          kinds[kind][i] = i % 2 ? 0x1p60f : -0x1p-46f;
        // And one activation per token that makes a sum infinite, however small its scale
        kinds.push_back(kinds[kind]);
        for (std::size_t i = 13; i < kinds.back().size(); i += n_in) kinds.back()[i] = 0x1p120f;
      }
      kinds.push_back(kinds[0]);  // the smallest that bf16 pairs hold, alone
      for (std::size_t i = 0; i < kinds.back().size(); ++i)
        kinds.back()[i] = std::copysign(0x1p-46f * static_cast<float>(1 + i % 3), kinds.back()[i]);
      for (const auto& x : kinds) {
        std::vector<float> want(static_cast<std::size_t>(n_tokens) * n_out);
        linear_cpu({.w = &s.m,
                    .x = x.data(),
                    .y = want.data(),
                    .x_stride = n_in,
                    .y_stride = n_out,
                    .n_tokens = n_tokens,
                    .row_begin = 0,
                    .row_end = n_out});
        for (const Kernels* row : available_rows())
          EXPECT_TRUE(same_bits(run(*row, r.w, x, n_tokens, 0, n_out), want))
              << row->name << ", scales from code " << low;
      }
    }
  }
}

TEST(Tiles, WhatTheyCannotHoldIsLeftAlone) {
  Stored denormal = stored(Format::bf16, 16, 64), nan = stored(Format::fp8, 16, 64),
         scale = stored(Format::fp4, 16, 64);
  denormal.b16[77] = 0x8003;
  Stored small = stored(Format::bf16, 16, 64), least = small;
  small.b16[5] = bf16_bits(-0x1.8p-47f);
  least.b16[5] = bf16_bits(-0x1p-46f);
  small.m.data = small.b16.data();
  least.m.data = least.b16.data();
  EXPECT_FALSE(tileable(small.m));
  EXPECT_TRUE(tileable(least.m));
  nan.codes[3 + 500] = 0xFF;
  scale.scales[7] = 255;
  EXPECT_FALSE(tileable(denormal.m));
  EXPECT_FALSE(tileable(nan.m));
  EXPECT_FALSE(tileable(scale.m));
  EXPECT_FALSE(tileable(stored(Format::f32, 16, 64).m));
}

}  // namespace
}  // namespace lares::kernels
