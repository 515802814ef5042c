#pragma once

#include "kernels/cpu/lanes.h"
#include "kernels/norm.h"

namespace lares::kernels {
namespace {

template <class V>
float sum_of_squares(const float* x, int dim) {
  V acc = all<V>(0);
  for (int i = 0; i < dim; i += kLanes) {
    const V v = loaded<V>(x + i);
    acc = fma(v, v, acc);
  }
  return sum(acc);
}

template <class V>
void rms_norm(const RmsNormArgs& a) {
  for (int r = 0; r < a.n_rows; ++r) {
    const float* x = a.x + r * a.x_stride;
    float* y = a.y + r * a.y_stride;
    const V root =
        all<V>(std::sqrt(sum_of_squares<V>(x, a.dim) / static_cast<float>(a.dim) + a.eps));
    for (int i = 0; i < a.dim; i += kLanes) {
      V v = loaded<V>(x + i) / root * loaded<V>(a.w + i);
      if (a.round_bf16) v = bf16_rounded(v);
      store(y + i, v);
    }
  }
}

template <class V>
void head_norm(const HeadNormArgs& a) {
  for (int r = 0; r < a.n_rows; ++r) {
    float* x = a.x + static_cast<std::int64_t>(r) * a.dim;
    if (!a.released) {
      const V root =
          all<V>(std::sqrt(sum_of_squares<V>(x, a.dim) / static_cast<float>(a.dim) + a.eps));
      for (int i = 0; i < a.dim; i += kLanes) store(x + i, loaded<V>(x + i) / root);
      continue;
    }
    V acc = all<V>(0);
    for (int i = 0; i < a.dim; i += kLanes) {
      const V v = loaded<V>(x + i);
      acc = acc + bf16_rounded(v * v);
    }
    const float mean = bf16_rounded(sum(acc) / static_cast<float>(a.dim));
    const V factor = all<V>(bf16_rounded(1.0f / std::sqrt(bf16_rounded(mean + a.eps))));
    for (int i = 0; i < a.dim; i += kLanes) store(x + i, bf16_rounded(loaded<V>(x + i) * factor));
  }
}

}  // namespace
}  // namespace lares::kernels
