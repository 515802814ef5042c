#include <cmath>

#include "kernels/index_codes.h"

namespace lares::kernels {

void index_scores_cpu(const IndexArgs& a) {
  static constexpr std::int8_t kTwice[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                             0, -1, -2, -3, -4, -6, -8, -12};
  const int groups = a.dim / kGroup;
  const IndexQueries queries = index_queries(a);
  for (int j = 0; j < a.n_keys; ++j) {
    const std::uint8_t* const key = index_key(a, j);
    std::int8_t code[kIndexDimMax];
    for (int b = 0; b < a.dim / 2; b += 4)
      for (int i = 0; i < 4; ++i) {
        code[2 * b + i] = kTwice[key[b + i] & 15];
        code[2 * b + 4 + i] = kTwice[key[b + i] >> 4];
      }
    float total = 0;
    for (int h = 0; h < a.n_heads; ++h) {
      const std::int8_t* q = queries.code + static_cast<std::int64_t>(h) * a.dim;
      float dot = 0;
      for (int g = 0; g < groups; ++g) {
        int t = 0;
        for (int i = g * kGroup; i < (g + 1) * kGroup; ++i) t += code[i] * q[i];
        dot = std::fmaf(static_cast<float>(t),
                        exponent_value(key[a.dim / 2 + g]) * queries.scale[h * groups + g], dot);
      }
      const float rounded = bf16_rounded(dot);
      total += bf16_rounded((rounded > 0 ? rounded : 0.0f) * a.w[h]);
    }
    a.score[j] = bf16_rounded(total);
  }
}

}  // namespace lares::kernels
