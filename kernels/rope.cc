#include "kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lares::kernels {

void rope_frequencies(int dim, double base, double original_len, double factor, double beta_fast,
                      double beta_slow, float* out) {
  const auto dim_of = [&](double rotations) {
    return dim * std::log(original_len / (rotations * 2 * std::numbers::pi)) / (2 * std::log(base));
  };
  double lo = 0, hi = 0;
  if (original_len > 0) {
    lo = std::max(std::floor(dim_of(beta_fast)), 0.0);
    hi = std::min(std::ceil(dim_of(beta_slow)), dim - 1.0);
  }
  for (int i = 0; i < dim / 2; ++i) {
    const double f = 1.0 / std::pow(base, 2.0 * i / dim);
    if (original_len <= 0) {
      out[i] = static_cast<float>(f);
      continue;
    }
    const double ramp = std::clamp((i - lo) / (hi != lo ? hi - lo : 0.001), 0.0, 1.0);
    out[i] = static_cast<float>(f / factor * ramp + f * (1 - ramp));
  }
}

void rope_angles(const float* frequencies, int dim, std::int64_t position, double* cos,
                 double* sin) {
  for (int i = 0; i < dim / 2; ++i) {
    const float angle = static_cast<float>(position) * frequencies[i];
    cos[i] = std::cos(static_cast<double>(angle));
    sin[i] = std::sin(static_cast<double>(angle));
  }
}

}  // namespace lares::kernels
