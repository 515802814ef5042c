// What the kernel tests share: seeded inputs, guarded outputs, and the rows that run on this
// machine.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"

namespace lares::kernels::test {

inline std::vector<const Kernels*> available_rows() {
  std::vector<const Kernels*> out;
  for (const Kernels* row : rows())
    if (row->available()) out.push_back(row);
  return out;
}

inline std::vector<float> normals(std::size_t n, std::uint64_t seed, float scale = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> out(n);
  for (float& v : out) v = normal(random);
  return out;
}
inline std::vector<std::uint8_t> bytes(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::uint8_t> out(n);
  for (auto& v : out) v = static_cast<std::uint8_t>(random());
  return out;
}

// Output between guards, NaN-filled: what a kernel does not write shows, and so does what it should
// not write.
class Output {
 public:
  explicit Output(std::size_t n) : data_(n + 2 * kGuard, std::nanf("")) {
    for (std::size_t i = 0; i < kGuard; ++i) data_[i] = data_[n + kGuard + i] = 12345.0f;
  }
  explicit Output(const std::vector<float>& initial) : Output(initial.size()) {
    std::copy(initial.begin(), initial.end(), data());
  }
  float* data() { return data_.data() + kGuard; }
  std::vector<float> values() const { return {data_.begin() + kGuard, data_.end() - kGuard}; }
  bool guards_intact() const {
    for (std::size_t i = 0; i < kGuard; ++i)
      if (data_[i] != 12345.0f || data_[data_.size() - 1 - i] != 12345.0f) return false;
    return true;
  }

 private:
  static constexpr std::size_t kGuard = 64;
  std::vector<float> data_;
};

// Bit for bit, NaNs included; says where.
inline testing::AssertionResult same_bits(const std::vector<float>& a,
                                          const std::vector<float>& b) {
  if (a.size() != b.size())
    return testing::AssertionFailure() << a.size() << " and " << b.size() << " values";
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i]) &&
        !(a[i] != a[i] && b[i] != b[i]))
      return testing::AssertionFailure() << "at " << i << ": " << a[i] << " and " << b[i];
  return testing::AssertionSuccess();
}
// Every |got - want| <= absolute + relative * |want|; says the worst.
inline testing::AssertionResult close(const std::vector<float>& got,
                                      const std::vector<double>& want, double absolute,
                                      double relative) {
  if (got.size() != want.size())
    return testing::AssertionFailure() << got.size() << " values for " << want.size();
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double excess = std::fabs(got[i] - want[i]) / (absolute + relative * std::fabs(want[i]));
    if (!(excess <= worst)) {
      worst = std::isnan(excess) ? INFINITY : excess;
      at = i;
    }
  }
  if (worst <= 1) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "at " << at << ": " << got[at] << ", expected " << want[at]
                                     << ", " << worst << " times the tolerance";
}

inline float bf16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((u + 0x7FFFu + ((u >> 16) & 1u)) & 0xFFFF0000u);
}
inline std::uint16_t bf16_bits(float x) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(bf16(x)) >> 16);
}

// Activations [n_tokens, n_in] of every kind that a row may tell apart: floats; numbers that bf16
// holds; some tokens of each; bf16 with zeros of both signs and tokens whose products with small
// weights are denormals.
inline std::vector<std::vector<float>> activations(int n_tokens, int n_in, std::uint64_t seed) {
  const auto floats = normals(static_cast<std::size_t>(n_tokens) * n_in, seed);
  auto halves = floats;
  for (float& v : halves) v = bf16(v);
  auto mixed = halves, small = halves;
  for (int t = 1; t < n_tokens; t += 3)
    std::copy_n(floats.begin() + static_cast<std::ptrdiff_t>(t) * n_in, n_in,
                mixed.begin() + static_cast<std::ptrdiff_t>(t) * n_in);
  for (std::size_t i = 0; i < small.size(); ++i) {
    if (i % 5 == 0) small[i] = i % 2 ? 0.0f : -0.0f;
    if (n_tokens == 1 || i / static_cast<std::size_t>(n_in) % 2 == 1)
      small[i] = std::copysign(small[i] == 0 ? 0.0f : 0x1.8p-118f, small[i]);
  }
  return {floats, halves, mixed, small};
}

}  // namespace lares::kernels::test
