#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/cpu/lanes.h"
#include "kernels/linear.h"

namespace lares::kernels {

float e8m0_value(std::uint8_t code) {
  if (code == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(code == 0 ? 0x00400000u : static_cast<std::uint32_t>(code) << 23);
}

float e4m3_value(std::uint8_t code) {
  const std::uint32_t e = (code >> 3) & 15, m = code & 7;
  if ((code & 0x7F) == 0x7F) return std::numeric_limits<float>::quiet_NaN();
  const float v = e == 0 ? static_cast<float>(m) * 0x1p-9f
                         : std::bit_cast<float>((e + 120) << 23 | m << 20);
  return code & 0x80 ? -v : v;
}

float e2m1_value(std::uint8_t code) {
  static constexpr float kMagnitude[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  const float v = kMagnitude[code & 7];
  return code & 8 ? -v : v;
}

namespace {

struct E4m3Table {
  float value[256];
  E4m3Table() {
    for (int i = 0; i < 256; ++i) value[i] = e4m3_value(static_cast<std::uint8_t>(i));
  }
};

// One row in processing order, and the scale of each of its groups.
void decode_row(const Matrix& m, int row, float* w, float* s) {
  static const E4m3Table e4m3;
  const int groups = m.n_in / kGroup;
  for (int g = 0; g < groups; ++g) {
    s[g] = 1.0f;
    for (int i = 0; i < kGroup; ++i) {
      const std::int64_t k = static_cast<std::int64_t>(g) * kGroup + ordered(m.format, i);
      const std::int64_t at = static_cast<std::int64_t>(row) * m.n_in + k;
      float& out = w[g * kGroup + i];
      switch (m.format) {
        case Format::f32:
          out = static_cast<const float*>(m.data)[at];
          break;
        case Format::bf16:
          out = std::bit_cast<float>(
              static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(m.data)[at]) << 16);
          break;
        case Format::fp8:
          out = e4m3.value[static_cast<const std::uint8_t*>(m.data)[at]];
          break;
        case Format::fp4: {
          const std::uint8_t byte = static_cast<const std::uint8_t*>(m.data)[at / 2];
          out = e2m1_value(k & 1 ? byte >> 4 : byte & 15);
          break;
        }
      }
    }
    if (m.format == Format::fp8) {
      const std::int64_t block = static_cast<std::int64_t>(row / 128) * ((m.n_in + 127) / 128) +
                                 g * kGroup / 128;
      s[g] = m.scale_f32 ? m.scale_f32[block] : e8m0_value(m.scale[block]);
    } else if (m.format == Format::fp4) {
      s[g] = e8m0_value(m.scale[static_cast<std::int64_t>(row) * groups + g]);
    }
  }
}

}  // namespace

void linear_cpu(const LinearArgs& a) {
  const Matrix& m = *a.w;
  const int groups = m.n_in / kGroup;
  std::vector<float> w(m.n_in), s(groups);
  for (int row = a.row_begin; row < a.row_end; ++row) {
    decode_row(m, row, w.data(), s.data());
    for (int t = 0; t < a.n_tokens; ++t) {
      const float* x = a.x + t * a.x_stride;
      float acc = 0;
      for (int g = 0; g < groups; ++g) {
        float part = 0;
        for (int i = 0; i < kGroup; ++i)
          part = std::fmaf(w[g * kGroup + i], x[g * kGroup + ordered(m.format, i)], part);
        acc = std::fmaf(part, s[g], acc);
      }
      a.y[t * a.y_stride + row - a.y_row] = a.round_bf16 ? bf16_rounded(acc) : acc;
    }
  }
}

}  // namespace lares::kernels
