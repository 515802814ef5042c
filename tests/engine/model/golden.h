// The golden checkpoints (tests/goldens, made with the NumPy reference of tests/reference) as the
// tests read them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/model/checkpoint/safetensors.h"
#include "engine/model/checkpoint/weights.h"
#include "engine/model/forward.h"

namespace lares::engine::test {

// What threads do is the same at every size, and watched it takes thirty times as long.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kWatched = true;
#else
inline constexpr bool kWatched = false;
#endif

inline std::string golden_directory(const std::string& name) {
  return std::string(LARES_SOURCE_DIR) + "/tests/goldens/" + name;
}

struct Golden {
  Shard shard;
  std::vector<Token> tokens;
  std::vector<int> positions;

  explicit Golden(const std::string& name)
      : shard(open(golden_directory(name) + "/goldens.safetensors")) {
    tokens = ints("tokens");
    if (shard.tensors.contains("positions")) positions = ints("positions");
  }
  // Any F32 or BF16 tensor as floats.
  std::vector<float> floats(const std::string& name) const {
    const Tensor& t = shard.tensors.at(name);
    std::vector<float> out(t.n_bytes / dtype_size(t.dtype));
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (t.dtype == Dtype::f32) {
        std::memcpy(&out[i], t.data + 4 * i, 4);
      } else {
        std::uint16_t v;
        std::memcpy(&v, t.data + 2 * i, 2);
        out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16);
      }
    }
    return out;
  }
  std::vector<std::int32_t> ints(const std::string& name) const {
    const Tensor& t = shard.tensors.at(name);
    std::vector<std::int32_t> out(t.n_bytes / 4);
    std::memcpy(out.data(), t.data, 4 * out.size());
    return out;
  }

 private:
  static Shard open(const std::string& path) {
    auto shard = open_shard(path);
    if (!shard) {
      ADD_FAILURE() << shard.error().message;
      std::abort();
    }
    return std::move(*shard);
  }
};

inline std::unique_ptr<Weights> golden_weights(const std::string& name) {
  auto weights = load_weights(golden_directory(name), {});
  if (!weights) {
    ADD_FAILURE() << weights.error().message;
    std::abort();
  }
  return std::move(*weights);
}

// Without repetitions but for chance's, so that no copy can be guessed.
inline std::vector<Token> random_tokens(std::size_t n, int vocab, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Token> out(n);
  for (Token& token : out) token = static_cast<Token>(random() % static_cast<unsigned>(vocab));
  return out;
}

// |a - b| / |b|, each row's.
inline std::vector<double> relative_errors(const std::vector<float>& a, const std::vector<float>& b,
                                           std::size_t width) {
  EXPECT_EQ(a.size(), b.size());
  std::vector<double> out;
  for (std::size_t r = 0; r + width <= std::min(a.size(), b.size()); r += width) {
    double d = 0, n = 0;
    for (std::size_t i = r; i < r + width; ++i) {
      d += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
      n += static_cast<double>(b[i]) * b[i];
    }
    out.push_back(std::isfinite(d) ? std::sqrt(d / n) : INFINITY);
  }
  return out;
}
inline double worst(const std::vector<double>& errors) {
  EXPECT_FALSE(errors.empty());
  return errors.empty() ? INFINITY : *std::max_element(errors.begin(), errors.end());
}
inline double median(std::vector<double> errors) {
  EXPECT_FALSE(errors.empty());
  if (errors.empty()) return INFINITY;
  std::nth_element(errors.begin(), errors.begin() + static_cast<std::ptrdiff_t>(errors.size() / 2),
                   errors.end());
  return errors[errors.size() / 2];
}

}  // namespace lares::engine::test
