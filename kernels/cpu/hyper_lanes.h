#pragma once

#include "kernels/hyper.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/norm_lanes.h"

namespace lares::kernels {
namespace {

template <class V>
V sigmoid(V v) {
  return all<V>(1) / (all<V>(1) + exp(all<V>(0) - v));
}

// Eight tokens a lane each: the S x S matrix of a token never crosses lanes.
template <class V>
void hyper_split(const HyperSplitArgs& a) {
  const int S = a.n_streams, rows = a.post ? (2 + S) * S : S;
  const V eps = all<V>(a.eps);
  for (int t0 = 0; t0 < a.n_tokens; t0 += kLanes) {
    const int n = a.n_tokens - t0 < kLanes ? a.n_tokens - t0 : kLanes;
    float root[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      const int flat = S * a.dim, t = t0 + (i < n ? i : 0);
      root[i] = i < n
                    ? std::sqrt(sum_of_squares<V>(a.x + static_cast<std::int64_t>(t) * flat, flat) /
                                    static_cast<float>(flat) +
                                a.norm_eps)
                    : root[0];
    }
    const V divisor = loaded<V>(root);
    const auto mix = [&](int row, int scale) {
      float v[kLanes];
      for (int i = 0; i < kLanes; ++i)
        v[i] = a.dots[static_cast<std::int64_t>(t0 + (i < n ? i : 0)) * rows + row];
      return loaded<V>(v) / divisor * all<V>(a.scale[scale]) + all<V>(a.base[row]);
    };
    const auto put = [&](float* out, int width, int at, V value) {
      float v[kLanes];
      store(v, value);
      for (int i = 0; i < n; ++i) out[static_cast<std::int64_t>(t0 + i) * width + at] = v[i];
    };
    for (int j = 0; j < S; ++j) put(a.pre, S, j, sigmoid(mix(j, 0)) + eps);
    if (!a.post) continue;
    for (int j = 0; j < S; ++j) put(a.post, S, j, all<V>(2) * sigmoid(mix(S + j, 1)));
    V m[kStreamsMax][kStreamsMax];
    for (int j = 0; j < S; ++j) {
      V top = m[j][0] = mix(2 * S + j * S, 2);
      for (int k = 1; k < S; ++k) top = max(top, m[j][k] = mix(2 * S + j * S + k, 2));
      V total = all<V>(0);
      for (int k = 0; k < S; ++k) total = total + (m[j][k] = exp(m[j][k] - top));
      for (int k = 0; k < S; ++k) m[j][k] = m[j][k] / total + eps;
    }
    for (int iter = 0; iter < a.iters; ++iter) {
      if (iter > 0)
        for (int j = 0; j < S; ++j) {
          V total = m[j][0];
          for (int k = 1; k < S; ++k) total = total + m[j][k];
          total = total + eps;
          for (int k = 0; k < S; ++k) m[j][k] = m[j][k] / total;
        }
      for (int k = 0; k < S; ++k) {
        V total = m[0][k];
        for (int j = 1; j < S; ++j) total = total + m[j][k];
        total = total + eps;
        for (int j = 0; j < S; ++j) m[j][k] = m[j][k] / total;
      }
    }
    for (int j = 0; j < S; ++j)
      for (int k = 0; k < S; ++k) put(a.comb, S * S, j * S + k, m[j][k]);
  }
}

template <class V>
void hyper_enter(const HyperEnterArgs& a) {
  for (int t = 0; t < a.n_tokens; ++t) {
    const float* x = a.x + static_cast<std::int64_t>(t) * a.n_streams * a.dim;
    const float* pre = a.pre + t * a.n_streams;
    for (int i = 0; i < a.dim; i += kLanes) {
      V v = all<V>(pre[0]) * loaded<V>(x + i);
      for (int j = 1; j < a.n_streams; ++j) v = v + all<V>(pre[j]) * loaded<V>(x + j * a.dim + i);
      if (a.round_bf16) v = bf16_rounded(v);
      store(a.y + static_cast<std::int64_t>(t) * a.dim + i, v);
    }
  }
}

template <class V>
void hyper_leave(const HyperLeaveArgs& a) {
  const int S = a.n_streams;
  for (int t = 0; t < a.n_tokens; ++t) {
    float* x = a.x + static_cast<std::int64_t>(t) * S * a.dim;
    const float* y = a.y + static_cast<std::int64_t>(t) * a.dim;
    const float* post = a.post + t * S;
    const float* comb = a.comb + t * S * S;
    for (int i = 0; i < a.dim; i += kLanes) {
      V old[kStreamsMax];
      for (int j = 0; j < S; ++j) load(old[j], x + j * a.dim + i);
      const V in = loaded<V>(y + i);
      for (int k = 0; k < S; ++k) {
        V v = all<V>(comb[k]) * old[0];
        for (int j = 1; j < S; ++j) v = fma(all<V>(comb[j * S + k]), old[j], v);
        v = all<V>(post[k]) * in + v;
        if (a.round_bf16) v = bf16_rounded(v);
        store(x + k * a.dim + i, v);
      }
    }
  }
}

}  // namespace
}  // namespace lares::kernels
