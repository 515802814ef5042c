// What HostDevice's launches share: rows as the arguments have them, and as the CPU's kernels take
// them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "kernels/cells.h"
#include "tests/engine/cuda/host_device.h"

namespace lares::engine::test {

using kc::bf16;
using Floats = std::vector<float>;

inline float of(bf16 v) { return std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16); }
// Of one on its grid: anything else is a rounding that was forgotten
inline bf16 to_bf16(float v) {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  EXPECT_TRUE((bits & 0xFFFF) == 0 || std::isnan(v)) << v;
  return static_cast<bf16>(bits >> 16);
}
inline Floats row_of(const bf16* from, int n) {
  Floats out(static_cast<std::size_t>(n));
  std::transform(from, from + n, out.begin(), of);
  return out;
}
inline void put(const Floats& from, bf16* to) {
  std::transform(from.begin(), from.end(), to, to_bf16);
}
inline std::size_t at(std::int64_t row, std::int64_t stride) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(stride);
}

// A row of Q8_128 as codes and scales, and back.
inline void encode(const kernels::Kernels& k, Floats row, std::uint8_t* codes, float* scale) {
  const Floats before = row;
  const int n = static_cast<int>(row.size());
  k.quantise({.x = row.data(), .stride = n, .n_rows = 1, .n = n, .block = 128});
  for (int b = 0; b < n; b += 128) {
    float most = 1e-4f;
    for (int i = b; i < b + 128; ++i)
      most = std::max(most, std::fabs(before[static_cast<std::size_t>(i)]));
    const auto bits = std::bit_cast<std::uint32_t>(most * (1.0f / 448));
    const float s = std::bit_cast<float>((bits & 0x007FFFFFu ? bits + 0x00800000u : bits) &
                                         0x7F800000u);
    scale[b / 128] = s;
    for (int i = b; i < b + 128; ++i) {
      const float v = row[static_cast<std::size_t>(i)] / s;
      int code = 0;
      for (int step = 64; step > 0; step /= 2)
        if (code + step <= 126 &&
            kernels::e4m3_value(static_cast<std::uint8_t>(code + step)) <= std::fabs(v))
          code += step;
      EXPECT_EQ(kernels::e4m3_value(static_cast<std::uint8_t>(code)), std::fabs(v));
      codes[i] = static_cast<std::uint8_t>(code | (std::signbit(v) ? 0x80 : 0));
    }
  }
}
inline Floats sum_of_experts(const kernels::Kernels& k, const kc::ExpertOutputs& a, int t,
                             int dim) {
  Floats y = row_of(a.out + at(a.slot_of[at(t, a.k)], a.stride), dim);
  for (int i = 1; i <= a.k; ++i) {
    const Floats more = row_of(
        a.out +
            at(i < a.k ? a.slot_of[at(t, a.k) + static_cast<std::size_t>(i)] : a.n_tokens * a.k + t,
               a.stride),
        dim);
    for (std::size_t c = 0; c < y.size(); ++c) y[c] += more[c];
  }
  k.round_bf16(y.data(), dim);
  return y;
}
inline Floats decode(const std::uint8_t* codes, const float* scale, int n) {
  Floats out(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i)
    out[static_cast<std::size_t>(i)] = kernels::e4m3_value(codes[i]) * scale[i / 128];
  return out;
}

struct Angles {
  std::vector<double> cos, sin;
  Angles(const double* table, int pairs) {
    for (int i = 0; i < pairs; ++i) {
      cos.push_back(table[2 * i]);
      sin.push_back(table[2 * i + 1]);
    }
  }
};

// What a token sees of its sequence.
inline const kc::Part& part_of(const kc::Places& p, int t) { return p.parts[p.part[t]]; }
inline const std::uint8_t* cell_of(const kc::Part& part, const kc::PageCells& cells,
                                   std::size_t bytes, std::int64_t j) {
  return part.pages[j / cells.per_page] + cells.offset +
         static_cast<std::size_t>(j % cells.per_page) * bytes;
}

}  // namespace lares::engine::test
