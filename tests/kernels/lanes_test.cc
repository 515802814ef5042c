// The exponential of every kernel, in plain C++; the other lanes have the same bits.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "kernels/cpu/lanes.h"

namespace lares::kernels {
namespace {

constexpr float kLeast = 86.98f;  // e to less than minus this is 0 from a hundredth on
constexpr float kInfinity = std::numeric_limits<float>::infinity();

double ulp(double of) { return std::ldexp(1.0, std::max(std::ilogb(of), -126) - 23); }

Plain8 exp_of(const Plain8& x) { return exp<Plain8>(x); }
float exp_of(float x) { return exp<Plain8>(all<Plain8>(x)).v[0]; }

// Of all floats between the ends every 61st, a prime: 35 million.
TEST(Lanes, ExpIsWithinTwoUlps) {
  double worst = 0;
  for (const float sign : {-1.0f, 1.0f}) {
    const auto last = std::bit_cast<std::uint32_t>(sign < 0 ? kLeast : 88.7f);
    for (std::uint32_t u = 0; u + 7 * 61 <= last; u += 8 * 61) {
      Plain8 x;
      for (std::uint32_t i = 0; i < 8; ++i) x.v[i] = sign * std::bit_cast<float>(u + i * 61);
      const Plain8 y = exp_of(x);
      for (int i = 0; i < 8; ++i) {
        const double exact = std::exp(static_cast<double>(x.v[i]));
        worst = std::max(worst, std::abs(y.v[i] - exact) / ulp(exact));
      }
    }
  }
  EXPECT_LE(worst, 2);
  EXPECT_GT(worst, 0.5) << "float32 cannot be that good: nothing was compared";
}

TEST(Lanes, ExpBeyondItsEnds) {
  for (const float x : {-87.0f, -87.3f, -87.31f, -88.0f, -1e30f}) EXPECT_EQ(exp_of(x), 0.0f) << x;
  EXPECT_EQ(exp_of(-kInfinity), 0.0f);
  EXPECT_EQ(exp_of(kInfinity), exp_of(88.7f));
  EXPECT_EQ(exp_of(1e30f), exp_of(88.7f));
  EXPECT_TRUE(std::isfinite(exp_of(88.7f)));
  EXPECT_TRUE(std::isnan(exp_of(std::nanf(""))));
  EXPECT_EQ(exp_of(0.0f), 1.0f);
}

}  // namespace
}  // namespace lares::kernels
