// Linear layers against float64 dot products of the same stored weights, and every row against
// every other, bit for bit.
#include "tests/kernels/stored_matrix.h"

namespace lares::kernels {
namespace {

using namespace test;

// The value of one weight, written from the format's definition (kernels/linear.h).
double value(const Matrix& m, int row, int k) {
  const std::size_t at = static_cast<std::size_t>(row) * m.n_in + k;
  const auto e8m0 = [](int b) { return std::ldexp(1.0, b - 127); };
  switch (m.format) {
    case Format::f32:
      return static_cast<const float*>(m.data)[at];
    case Format::bf16:
      return std::bit_cast<float>(
          static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(m.data)[at]) << 16);
    case Format::fp8: {
      const int c = static_cast<const std::uint8_t*>(m.data)[at], e = c >> 3 & 15, f = c & 7;
      const double v = e ? std::ldexp(1 + f / 8.0, e - 7) : std::ldexp(f / 8.0, -6);
      const std::size_t block = static_cast<std::size_t>(row / 128) * ((m.n_in + 127) / 128) +
                                k / 128;
      return (c & 128 ? -v : v) * (m.scale_f32 ? m.scale_f32[block] : e8m0(m.scale[block]));
    }
    case Format::fp4: {
      const int byte = static_cast<const std::uint8_t*>(m.data)[at / 2],
                c = k % 2 ? byte >> 4 : byte & 15, e = c >> 1 & 3;
      const double v = e ? std::ldexp(1 + (c & 1) / 2.0, e - 1) : (c & 1) / 2.0;
      return (c & 8 ? -v : v) *
             e8m0(m.scale[static_cast<std::size_t>(row) * (m.n_in / 32) + k / 32]);
    }
  }
  return 0;
}

std::vector<float> run(const Kernels& row, const Matrix& m, const std::vector<float>& x,
                       int n_tokens, int begin, int end, bool round = false) {
  Output y(static_cast<std::size_t>(n_tokens) * (end - begin));
  row.linear({.w = &m,
              .x = x.data(),
              .y = y.data(),
              .x_stride = m.n_in,
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

class Linear : public testing::TestWithParam<Case> {};

TEST_P(Linear, MatchesFloat64AndEveryOtherRow) {
  const auto [format, f32_scale, n_out, n_in, n_tokens] = GetParam();
  const Stored s = stored(format, n_out, n_in, f32_scale);
  for (const auto& x : activations(n_tokens, n_in, 21)) {
    std::vector<double> want, bound;
    for (int t = 0; t < n_tokens; ++t)
      for (int r = 0; r < n_out; ++r) {
        double sum = 0, size = 0;
        for (int k = 0; k < n_in; ++k) {
          const double p = value(s.m, r, k) * x[static_cast<std::size_t>(t) * n_in + k];
          sum += p;
          size += std::fabs(p);
        }
        want.push_back(sum);
        bound.push_back(size);
      }
    std::vector<float> first;
    for (const Kernels* row : available_rows()) {
      SCOPED_TRACE(row->name);
      const auto got = run(*row, s.m, x, n_tokens, 0, n_out);
      // 32 fmas in a group and one per group: at most (32 + n_in / 32) * eps / 2 of sum |w x|.
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_LE(std::fabs(got[i] - want[i]), (32 + n_in / 32) * 0x1p-24 * bound[i] + 1e-30)
            << "at " << i;
      if (first.empty()) first = got;
      EXPECT_TRUE(same_bits(got, first));
      // One token at a time, an odd range of rows, and rounded: the same values.
      for (const int t : {0, n_tokens - 1}) {
        const std::vector<float> one(x.begin() + static_cast<std::ptrdiff_t>(t) * n_in,
                                     x.begin() + static_cast<std::ptrdiff_t>(t + 1) * n_in);
        const int begin = n_out > 3 ? 3 : 0;
        const auto part = run(*row, s.m, one, 1, begin, n_out);
        EXPECT_TRUE(
            same_bits(part, {first.begin() + t * n_out + begin, first.begin() + (t + 1) * n_out}));
      }
      auto rounded = first;
      for (float& v : rounded) v = bf16(v);
      EXPECT_TRUE(same_bits(run(*row, s.m, x, n_tokens, 0, n_out, true), rounded));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    , Linear,
    testing::Values(Case{Format::f32, false, 24, 512, 5}, Case{Format::f32, false, 1, 32, 1},
                    Case{Format::f32, false, 25, 1312, 2}, Case{Format::f32, false, 9, 160, 1},
                    Case{Format::bf16, false, 40, 288, 7}, Case{Format::bf16, false, 17, 64, 2},
                    Case{Format::fp8, false, 200, 384, 4}, Case{Format::fp8, false, 16, 128, 1},
                    Case{Format::fp8, true, 130, 256, 3}, Case{Format::fp8, false, 9, 160, 67},
                    Case{Format::fp4, false, 48, 1024, 6}, Case{Format::fp4, false, 33, 96, 1},
                    Case{Format::fp4, false, 16, 128, 130}));

TEST(LinearFormats, EveryCodeHasItsValue) {
  for (int c = 0; c < 256; ++c) {
    const auto code = static_cast<std::uint8_t>(c);
    if (c < 255) {
      EXPECT_EQ(e8m0_value(code), std::ldexp(1.0, c - 127));
    }
    const int e = c >> 3 & 15, f = c & 7;
    const double magnitude = e ? std::ldexp(1 + f / 8.0, e - 7) : std::ldexp(f / 8.0, -6);
    if ((c & 127) != 127) {
      EXPECT_EQ(e4m3_value(code), c & 128 ? -magnitude : magnitude) << c;
    }
  }
  EXPECT_TRUE(std::isnan(e8m0_value(255)) && std::isnan(e4m3_value(0x7F)) &&
              std::isnan(e4m3_value(0xFF)));
  const float want[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  for (int c = 0; c < 16; ++c) EXPECT_EQ(e2m1_value(static_cast<std::uint8_t>(c)), want[c]);
}

// A single weight at every offset and of every code, against a single activation: positions,
// nibbles and NaN.
TEST(LinearFormats, EveryCodeReachesTheProduct) {
  for (const Format format : {Format::fp8, Format::fp4}) {
    const int codes = format == Format::fp8 ? 256 : 16, n_in = 64;
    std::vector<std::uint8_t> data(static_cast<std::size_t>(codes) * n_in, 0),
        scales(static_cast<std::size_t>(codes) * 2, 130);
    for (int row = 0; row < codes; ++row) {
      const int k = row % n_in;
      if (format == Format::fp8)
        data[row * n_in + k] = static_cast<std::uint8_t>(row);
      else
        data[row * n_in / 2 + k / 2] = static_cast<std::uint8_t>(k % 2 ? row << 4 : row);
    }
    Matrix m{.format = format,
             .data = data.data(),
             .scale = scales.data(),
             .n_out = codes,
             .n_in = n_in};
    std::vector<float> x(n_in);
    for (int k = 0; k < n_in; ++k) x[k] = static_cast<float>(k + 1);
    std::vector<float> want;
    for (int row = 0; row < codes; ++row)
      want.push_back((format == Format::fp8 ? e4m3_value(static_cast<std::uint8_t>(row))
                                            : e2m1_value(static_cast<std::uint8_t>(row))) *
                         8 * static_cast<float>(row % n_in + 1) +
                     0.0f);
    for (const Kernels* row : available_rows())
      EXPECT_TRUE(same_bits(run(*row, m, x, 1, 0, codes), want)) << row->name;
  }
}

TEST(LinearFormats, AScaleThatIsNaNShows) {
  Stored s = stored(Format::fp4, 16, 64);
  s.scales[2 * 3 + 1] = 255;  // row 3, second group
  for (const Kernels* row : available_rows()) {
    const auto y = run(*row, s.m, normals(64, 3), 1, 0, 16);
    for (int r = 0; r < 16; ++r) EXPECT_EQ(std::isnan(y[r]), r == 3) << row->name << " " << r;
  }
}

}  // namespace
}  // namespace lares::kernels
