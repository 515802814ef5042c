// Norms, quantisation, rotations, hyper-connections, pooling and SwiGLU against float64 written
// from the equations; rows bit-equal.
#include <algorithm>
#include <functional>
#include <limits>

#include "kernels/exp.h"
#include "tests/kernels/kernel_rows.h"

namespace lares::kernels {
namespace {

using namespace test;

// Runs `f` on every row over a copy of `initial`; the first row's values must be every row's.
std::vector<float> on_every_row(const std::vector<float>& initial,
                                const std::function<void(const Kernels&, float*)>& f) {
  std::vector<float> first;
  for (const Kernels* row : available_rows()) {
    Output out(initial);
    f(*row, out.data());
    EXPECT_TRUE(out.guards_intact()) << row->name;
    if (first.empty()) first = out.values();
    EXPECT_TRUE(same_bits(out.values(), first)) << row->name;
  }
  return first;
}

double ulp_bf16(double x) { return std::ldexp(1.0, std::ilogb(x == 0 ? 1e-30 : x) - 7); }

TEST(RmsNorm, MatchesFloat64) {
  for (const int dim : {8, 128, 1544}) {
    const auto x = normals(3 * dim, 1, 5), w = normals(dim, 2);
    std::vector<double> want;
    for (int r = 0; r < 3; ++r) {
      double sum = 0;
      for (int i = 0; i < dim; ++i) sum += static_cast<double>(x[r * dim + i]) * x[r * dim + i];
      for (int i = 0; i < dim; ++i)
        want.push_back(x[r * dim + i] / std::sqrt(sum / dim + 1e-6) * w[i]);
    }
    const auto got = on_every_row(std::vector<float>(3 * dim), [&](const Kernels& k, float* y) {
      k.rms_norm({.x = x.data(),
                  .w = w.data(),
                  .y = y,
                  .x_stride = dim,
                  .y_stride = dim,
                  .n_rows = 3,
                  .dim = dim,
                  .eps = 1e-6f,
                  .round_bf16 = false});
    });
    EXPECT_TRUE(close(got, want, 0, 1e-6));
  }
}

TEST(HeadNorm, MatchesFloat64AndRoundsWhereTheReleaseDoes) {
  constexpr int dim = 192;
  auto x = normals(4 * dim, 3, 2);
  for (float& v : x) v = bf16(v);
  std::vector<double> want;
  for (int r = 0; r < 4; ++r) {
    double sum = 0;
    for (int i = 0; i < dim; ++i) sum += static_cast<double>(x[r * dim + i]) * x[r * dim + i];
    for (int i = 0; i < dim; ++i) want.push_back(x[r * dim + i] / std::sqrt(sum / dim + 1e-6));
  }
  const auto exact = on_every_row(x, [&](const Kernels& k, float* y) {
    k.head_norm({.x = y, .n_rows = 4, .dim = dim, .eps = 1e-6f, .released = false});
  });
  EXPECT_TRUE(close(exact, want, 0, 1e-6));
  const auto released = on_every_row(x, [&](const Kernels& k, float* y) {
    k.head_norm({.x = y, .n_rows = 4, .dim = dim, .eps = 1e-6f, .released = true});
  });
  // Mean, sum, root and product each lose half a bf16 ulp
  EXPECT_TRUE(close(released, want, 0, 4 * 0x1p-9));
  for (const float v : released) EXPECT_EQ(v, bf16(v));
}

// The nearest value of a grid by search, ties to the even code: the codes are in order of
// magnitude.
float nearest(const std::vector<double>& grid, double x) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < grid.size(); ++i) {
    const double d = std::fabs(grid[i] - std::fabs(x)), b = std::fabs(grid[best] - std::fabs(x));
    if (d < b || (d == b && i % 2 == 0)) best = i;
  }
  return static_cast<float>(std::copysign(grid[best], x));
}

TEST(Quantise, EqualsASearchOverTheGrid) {
  std::vector<double> e4m3, e2m1;
  for (int c = 0; c < 127; ++c) e4m3.push_back(e4m3_value(static_cast<std::uint8_t>(c)));
  for (int c = 0; c < 8; ++c) e2m1.push_back(e2m1_value(static_cast<std::uint8_t>(c)));
  for (const bool fp4 : {false, true}) {
    const auto& grid = fp4 ? e2m1 : e4m3;
    const int block = fp4 ? 32 : 64, n = 20 * block;
    auto x = normals(n, 5);
    for (int b = 0; b < 20; ++b)
      for (int i = 0; i < block; ++i)
        x[b * block + i] = bf16(std::ldexp(x[b * block + i], b * 3 - 30));  // all-tiny blocks too
    for (int i = 0; i < block; ++i) x[i] = 0;
    // Ties: half-way between neighbours of the grid, under a block maximum that makes the scale 1.
    for (std::size_t i = 0; i + 1 < grid.size() && i + 1 < static_cast<std::size_t>(block); ++i)
      x[block + i] = static_cast<float>((grid[i] + grid[i + 1]) / 2 * (i % 3 ? 1 : -1));
    x[2 * block - 1] = fp4 ? 6 : 448;
    std::vector<float> want;
    for (int b = 0; b < 20; ++b) {
      double most = fp4 ? 6 * std::ldexp(1.0, -126) : 1e-4f;
      for (int i = 0; i < block; ++i)
        most = std::max(most, std::fabs(static_cast<double>(x[b * block + i])));
      const double scale = std::exp2(std::ceil(std::log2(most / grid.back())));
      for (int i = 0; i < block; ++i)
        want.push_back(static_cast<float>(nearest(grid, x[b * block + i] / scale) * scale));
    }
    const auto got = on_every_row(x, [&](const Kernels& k, float* y) {
      k.quantise({.x = y, .stride = n, .n_rows = 1, .n = n, .block = block, .fp4 = fp4});
    });
    EXPECT_TRUE(same_bits(got, want)) << (fp4 ? "fp4" : "fp8");
  }
}

TEST(Quantise, RoundsUpAsOftenAsDown) {
  const int n = 128 * 400;
  const auto x = normals(n, 6);
  for (const bool fp4 : {false, true}) {
    const auto q = on_every_row(x, [&](const Kernels& k, float* y) {
      k.quantise({.x = y, .stride = n, .n_rows = 1, .n = n, .block = fp4 ? 32 : 128, .fp4 = fp4});
    });
    int up = 0, down = 0;
    for (int i = 0; i < n; ++i) {
      up += std::fabs(q[i]) > std::fabs(x[i]);
      down += std::fabs(q[i]) < std::fabs(x[i]);
    }
    // The density falls with |x|, most within a wide fp4 step
    EXPECT_NEAR(static_cast<double>(up) / (up + down), 0.5, fp4 ? 0.06 : 0.02);
  }
}

TEST(Rope, TurnsPairsAndBack) {
  constexpr int dim = 64, stride = 96;
  float f[dim / 2];
  rope_frequencies(dim, 160000, 65536, 16, 32, 1, f);
  // Worked out apart: 160000^(-2i/64), divided by 16 from pair 25 on, between the two from 15 on.
  const std::pair<int, double> expected[] = {{1, 0.687656022},     {15, 0.00363553858},
                                             {16, 0.002265625},    {20, 0.000296977778},
                                             {25, 5.37231267e-06}, {31, 5.68052904e-07}};
  for (const auto& [i, value] : expected)
    EXPECT_NEAR(f[i], value, value * 0x1p-23) << i;  // the values are nine digits, f is float32
  double cos[dim / 2], sin[dim / 2];
  rope_angles(f, dim, 1000003, cos, sin);
  EXPECT_EQ(cos[1], std::cos(static_cast<double>(1000003.0f * f[1])));
  const auto x = normals(3 * stride, 7);
  const auto turned = on_every_row(x, [&](const Kernels& k, float* y) {
    k.rope({.x = y + 32,
            .stride = stride,
            .n_rows = 3,
            .dim = dim,
            .cos = cos,
            .sin = sin,
            .inverse = false,
            .round_bf16 = false});
  });
  std::vector<double> want(x.begin(), x.end());
  for (int r = 0; r < 3; ++r)
    for (int i = 0; i < dim / 2; ++i) {
      double *a = &want[r * stride + 32 + 2 * i], *b = a + 1;
      const double u = *a, v = *b;
      *a = u * cos[i] - v * sin[i];
      *b = u * sin[i] + v * cos[i];
    }
  EXPECT_TRUE(close(turned, want, 1e-6, 0));
  const auto back = on_every_row(turned, [&](const Kernels& k, float* y) {
    k.rope({.x = y + 32,
            .stride = stride,
            .n_rows = 3,
            .dim = dim,
            .cos = cos,
            .sin = sin,
            .inverse = true,
            .round_bf16 = false});
  });
  EXPECT_TRUE(close(back, {x.begin(), x.end()}, 1e-6, 0));
}

TEST(Hadamard, EqualsTheSylvesterMatrix) {
  for (const int dim : {8, 32, 128}) {
    const auto x = normals(2 * dim, 8);
    std::vector<double> want;
    for (int r = 0; r < 2; ++r)
      for (int i = 0; i < dim; ++i) {
        double sum = 0;
        for (int j = 0; j < dim; ++j)
          sum += x[r * dim + j] * (__builtin_popcount(i & j) % 2 ? -1.0 : 1.0);
        want.push_back(sum / std::sqrt(dim));
      }
    EXPECT_TRUE(close(on_every_row(x,
                                   [&](const Kernels& k, float* y) {
                                     k.hadamard(
                                         {.x = y, .n_rows = 2, .dim = dim, .round_bf16 = false});
                                   }),
                      want, 2e-6, 0));
  }
}

TEST(Hyper, SplitMatchesFloat64) {
  for (const int S : {2, 4})
    for (const int iters : {2, 20})  // two as well: by 20 a swapped or missing sweep no longer
                                     // shows
      for (const int n : {1, 9}) {
        constexpr int D = 64;
        constexpr double eps = 1e-6;
        const int rows = (2 + S) * S;
        const auto dots = normals(n * rows, 9, 30), x = normals(n * S * D, 10),
                   scale = normals(3, 11), base = normals(rows, 12);
        std::vector<double> pre, post, comb;
        for (int t = 0; t < n; ++t) {
          double sum = 0;
          for (int i = 0; i < S * D; ++i)
            sum += static_cast<double>(x[t * S * D + i]) * x[t * S * D + i];
          const double root = std::sqrt(sum / (S * D) + 1e-6);
          const auto m = [&](int row, int s) {
            return dots[t * rows + row] / root * scale[s] + base[row];
          };
          for (int j = 0; j < S; ++j) pre.push_back(1 / (1 + std::exp(-m(j, 0))) + eps);
          for (int j = 0; j < S; ++j) post.push_back(2 / (1 + std::exp(-m(S + j, 1))));
          std::vector<double> p(S * S);
          const auto normalise = [&](bool columns) {
            for (int a = 0; a < S; ++a) {
              double total = eps;
              for (int b = 0; b < S; ++b) total += columns ? p[b * S + a] : p[a * S + b];
              for (int b = 0; b < S; ++b) (columns ? p[b * S + a] : p[a * S + b]) /= total;
            }
          };
          for (int j = 0; j < S; ++j) {
            double top = -1e300, total = 0;
            for (int k = 0; k < S; ++k) top = std::max<double>(top, m(2 * S + j * S + k, 2));
            for (int k = 0; k < S; ++k)
              total += p[j * S + k] = std::exp(m(2 * S + j * S + k, 2) - top);
            for (int k = 0; k < S; ++k) p[j * S + k] = p[j * S + k] / total + eps;
          }
          normalise(true);
          for (int i = 1; i < iters; ++i) {
            normalise(false);
            normalise(true);
          }
          comb.insert(comb.end(), p.begin(), p.end());
        }
        const std::size_t a = pre.size(), b = a + post.size();
        const auto got = on_every_row(std::vector<float>(b + comb.size()),
                                      [&](const Kernels& k, float* y) {
                                        k.hyper_split({.dots = dots.data(),
                                                       .x = x.data(),
                                                       .scale = scale.data(),
                                                       .base = base.data(),
                                                       .pre = y,
                                                       .post = y + a,
                                                       .comb = y + b,
                                                       .n_tokens = n,
                                                       .n_streams = S,
                                                       .dim = D,
                                                       .iters = iters,
                                                       .eps = 1e-6f,
                                                       .norm_eps = 1e-6f});
                                      });
        std::vector<double> want = pre;
        want.insert(want.end(), post.begin(), post.end());
        want.insert(want.end(), comb.begin(), comb.end());
        // Arguments up to 100 in magnitude carry 100 ulps into the exponential: 1e-5.
        EXPECT_TRUE(close(got, want, 1e-5, 0)) << "S " << S << " iters " << iters << " n " << n;
      }
}

TEST(Hyper, StreamsInAndOut) {
  constexpr int S = 4, D = 40, n = 3;
  const auto x = normals(n * S * D, 13), pre = normals(n * S, 14), y = normals(n * D, 15),
             post = normals(n * S, 16), comb = normals(n * S * S, 17);
  std::vector<double> in, out;
  for (int t = 0; t < n; ++t)
    for (int i = 0; i < D; ++i) {
      double sum = 0;
      for (int j = 0; j < S; ++j)
        sum += static_cast<double>(pre[t * S + j]) * x[(t * S + j) * D + i];
      in.push_back(sum);
    }
  for (int t = 0; t < n; ++t)
    for (int k = 0; k < S; ++k)
      for (int i = 0; i < D; ++i) {
        double sum = static_cast<double>(post[t * S + k]) * y[t * D + i];
        for (int j = 0; j < S; ++j)
          sum += static_cast<double>(comb[(t * S + j) * S + k]) * x[(t * S + j) * D + i];
        out.push_back(sum);
      }
  EXPECT_TRUE(close(on_every_row(std::vector<float>(n * D),
                                 [&](const Kernels& k, float* o) {
                                   k.hyper_enter({.x = x.data(),
                                                  .pre = pre.data(),
                                                  .y = o,
                                                  .n_tokens = n,
                                                  .n_streams = S,
                                                  .dim = D,
                                                  .round_bf16 = false});
                                 }),
                    in, 3e-6, 0));
  EXPECT_TRUE(close(on_every_row(x,
                                 [&](const Kernels& k, float* o) {
                                   k.hyper_leave({.x = o,
                                                  .y = y.data(),
                                                  .post = post.data(),
                                                  .comb = comb.data(),
                                                  .n_tokens = n,
                                                  .n_streams = S,
                                                  .dim = D,
                                                  .round_bf16 = false});
                                 }),
                    out, 3e-6, 0));
}

TEST(Pool, IsASoftmaxPerChannel) {
  for (const int n : {1, 4, 8, 128}) {
    constexpr int dim = 24;
    const auto values = normals(n * dim, 18), gates = normals(n * dim, 19, 4);
    std::vector<const float*> v, g;
    for (int t = 0; t < n; ++t) {
      v.push_back(values.data() + t * dim);
      g.push_back(gates.data() + t * dim);
    }
    std::vector<double> want;
    for (int i = 0; i < dim; ++i) {
      double total = 0, sum = 0;
      for (int t = 0; t < n; ++t) {
        total += std::exp(static_cast<double>(g[t][i]));
        sum += std::exp(static_cast<double>(g[t][i])) * v[t][i];
      }
      want.push_back(sum / total);
    }
    EXPECT_TRUE(close(on_every_row(std::vector<float>(dim),
                                   [&](const Kernels& k, float* o) {
                                     k.pool({.values = v.data(),
                                             .gates = g.data(),
                                             .out = o,
                                             .n_rows = n,
                                             .dim = dim,
                                             .round_bf16 = false});
                                   }),
                      want, 4e-6, 0));
  }
}

TEST(Exp, IsTheSameInEveryRowAndToTwoUlpsThatOfTheLibrary) {
  std::vector<double> x;
  for (int i = 0; i < 40 * kExpBlock - 5; ++i) x.push_back(-60.0 * i / (40 * kExpBlock));
  for (const double edge : {kExpLeast, std::nextafter(kExpLeast, -100.0), -1e300,
                            -std::numeric_limits<double>::infinity(), -0.0})
    x.push_back(edge);
  for (const Kernels* row : available_rows()) {
    std::vector<double> got = x;
    row->exp_blocks(got.data(), static_cast<std::int64_t>(got.size()));
    static const std::vector<double> first = got;
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(got[i], first[i]) << row->name << " of " << x[i];
      const double want = x[i] >= kExpLeast ? std::exp(x[i]) : 0;
      ASSERT_NEAR(got[i], want, want * 0x1p-51) << row->name << " of " << x[i];
    }
  }
}

TEST(Swiglu, ClampsTheGateAboveAndUpOnBothSides) {
  constexpr int n = 64;
  auto gate = normals(2 * n, 20, 12), up = normals(2 * n, 21, 12);
  gate[0] = 200, gate[1] = -200, up[0] = 300, up[1] = -300;
  const std::vector<float> weight{0.25f, 1.5f};
  for (const float limit : {10.0f, 0.0f}) {
    std::vector<double> want;
    for (int i = 0; i < 2 * n; ++i) {
      const double g = limit > 0 ? std::min<double>(gate[i], limit) : gate[i];
      const double u = limit > 0 ? std::clamp<double>(up[i], -limit, limit) : up[i];
      want.push_back(g / (1 + std::exp(-g)) * u * weight[i / n]);
    }
    EXPECT_TRUE(close(on_every_row(gate,
                                   [&](const Kernels& k, float* o) {
                                     k.swiglu({.gate = o,
                                               .up = up.data(),
                                               .h = o,
                                               .weight = weight.data(),
                                               .stride = n,
                                               .n_rows = 2,
                                               .n = n,
                                               .limit = limit,
                                               .round_bf16 = false});
                                   }),
                      want, 1e-6, 2e-6));
  }
}

TEST(RoundBf16, EqualsRoundToNearestEven) {
  auto x = normals(1003, 22);
  x[0] = 1.00390625f, x[1] = 1.01171875f, x[2] = INFINITY, x[3] = NAN, x[4] = -0.0f, x[5] = 3.4e38f;
  const auto got = on_every_row(x, [](const Kernels& k, float* y) { k.round_bf16(y, 1003); });
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (x[i] != x[i]) {
      EXPECT_TRUE(std::isnan(got[i]));
      continue;
    }
    EXPECT_EQ(got[i], bf16(x[i])) << x[i];
    if (std::isfinite(got[i])) {
      EXPECT_LE(std::fabs(static_cast<double>(got[i]) - x[i]), ulp_bf16(x[i]) / 2);
    }
  }
}

}  // namespace
}  // namespace lares::kernels
