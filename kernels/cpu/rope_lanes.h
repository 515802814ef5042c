#pragma once

#include "kernels/cpu/lanes.h"
#include "kernels/rope.h"

namespace lares::kernels {
namespace {

template <class V>
void rope(const RopeArgs& a) {
  const double sign = a.inverse ? -1 : 1;
  for (int r = 0; r < a.n_rows; ++r) {
    float* x = a.x + r * a.stride;
    for (int i = 0; i < a.dim / 2; ++i) {
      const double re = x[2 * i], im = x[2 * i + 1], c = a.cos[i], s = sign * a.sin[i];
      const float y0 = static_cast<float>(re * c - im * s),
                  y1 = static_cast<float>(re * s + im * c);
      x[2 * i] = a.round_bf16 ? bf16_rounded(y0) : y0;
      x[2 * i + 1] = a.round_bf16 ? bf16_rounded(y1) : y1;
    }
  }
}

template <class V>
void hadamard(const HadamardArgs& a) {
  const V norm = all<V>(static_cast<float>(1.0 / std::sqrt(static_cast<double>(a.dim))));
  for (int r = 0; r < a.n_rows; ++r) {
    float* x = a.x + static_cast<std::int64_t>(r) * a.dim;
    for (int h = 1; h < kLanes; h *= 2)
      for (int b = 0; b < a.dim; b += 2 * h)
        for (int i = b; i < b + h; ++i) {
          const float u = x[i], v = x[i + h];
          x[i] = u + v;
          x[i + h] = u - v;
        }
    for (int h = kLanes; h < a.dim; h *= 2)
      for (int b = 0; b < a.dim; b += 2 * h)
        for (int i = b; i < b + h; i += kLanes) {
          const V u = loaded<V>(x + i), v = loaded<V>(x + i + h);
          store(x + i, u + v);
          store(x + i + h, u - v);
        }
    for (int i = 0; i < a.dim; i += kLanes) {
      V v = loaded<V>(x + i) * norm;
      if (a.round_bf16) v = bf16_rounded(v);
      store(x + i, v);
    }
  }
}

}  // namespace
}  // namespace lares::kernels
