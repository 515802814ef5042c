#pragma once

#include "kernels/attention.h"
#include "kernels/lanes.h"

namespace lares::kernels {
namespace {

template <class V, Format cell>
V cell_lanes(const void* rows, std::int64_t at) {
  V v;
  if constexpr (cell == Format::f32) load(v, static_cast<const float*>(rows) + at);
  else load_bf16(v, static_cast<const std::uint16_t*>(rows) + at);
  return v;
}

// `heads` x 16 values of the output: 2 * heads chains, ascending over the rows.
template <class V, Format cell, int heads>
void weighted_sum(const AttentionArgs& a, const void* rows, const float* p, std::int64_t p_stride, const float* divisor, float* out, int c) {
  V acc[heads][2];
  for (int h = 0; h < heads; ++h) acc[h][0] = acc[h][1] = all<V>(0);
  for (int i = 0; i < a.n_rows; ++i) {
    const std::int64_t at = static_cast<std::int64_t>(i) * a.head_dim + c;
    const V k0 = cell_lanes<V, cell>(rows, at), k1 = cell_lanes<V, cell>(rows, at + kLanes);
#pragma GCC unroll 4
    for (int h = 0; h < heads; ++h) {
      const V weight = all<V>(p[h * p_stride + i]);
      acc[h][0] = fma(weight, k0, acc[h][0]);
      acc[h][1] = fma(weight, k1, acc[h][1]);
    }
  }
  for (int h = 0; h < heads; ++h)
    for (int j = 0; j < 2; ++j) {
      V v = acc[h][j] / all<V>(divisor[h]);
      if (a.released) v = bf16_rounded(v);
      store(out + static_cast<std::int64_t>(h) * a.head_dim + c + j * kLanes, v);
    }
}

template <class V, Format cell>
void attention_cells(const AttentionArgs& a, void (*linear)(const LinearArgs&)) {
  const std::int64_t padded = (a.n_rows + 7) / 8 * 8;
  float* p = a.scratch;
  void* rows = a.scratch + padded * a.n_heads;
  constexpr std::size_t size = cell == Format::f32 ? 4 : 2;
  for (int i = 0; i < a.n_rows; ++i)
    std::memcpy(static_cast<char*>(rows) + i * size * a.head_dim, a.rows[i], size * a.head_dim);
  Matrix keys;
  keys.format = cell;
  keys.data = rows;
  keys.n_out = a.n_rows;
  keys.n_in = a.head_dim;
  linear({.w = &keys, .x = a.q, .y = p, .x_stride = a.head_dim, .y_stride = padded, .n_tokens = a.n_heads, .row_begin = 0, .row_end = a.n_rows});
  const V scale = all<V>(a.scale);
  for (int h0 = 0; h0 < a.n_heads; h0 += 4) {
    const int heads = a.n_heads - h0 < 4 ? a.n_heads - h0 : 4;
    float divisor[4];
    for (int h = 0; h < heads; ++h) {
      float* row = p + (h0 + h) * padded;
      for (std::int64_t i = a.n_rows; i < padded; ++i) row[i] = -INFINITY;
      V most = all<V>(-INFINITY);
      for (std::int64_t i = 0; i < padded; i += kLanes) {
        const V s = loaded<V>(row + i) * scale;
        store(row + i, s);
        most = max(s, most);
      }
      const float top = largest(most);
      V total = all<V>(0);
      for (std::int64_t i = 0; i < padded; i += kLanes) {
        const V e = exp(loaded<V>(row + i) - all<V>(top));
        total = total + e;
        store(row + i, a.released ? bf16_rounded(e) : e);
      }
      float sink[kLanes];
      store(sink, exp(all<V>(a.sink[h0 + h] - top)));
      divisor[h] = sum(total) + sink[0];
    }
    float* out = a.out + static_cast<std::int64_t>(h0) * a.head_dim;
    for (int c = 0; c < a.head_dim; c += 2 * kLanes) {
      if (heads == 4) {
        weighted_sum<V, cell, 4>(a, rows, p + h0 * padded, padded, divisor, out, c);
      } else {
        for (int h = 0; h < heads; ++h)
          weighted_sum<V, cell, 1>(a, rows, p + (h0 + h) * padded, padded, divisor + h, out + static_cast<std::int64_t>(h) * a.head_dim, c);
      }
    }
  }
}

template <class V>
void attention(const AttentionArgs& a, void (*linear)(const LinearArgs&)) {
  if (a.cell == Format::f32) attention_cells<V, Format::f32>(a, linear);
  else attention_cells<V, Format::bf16>(a, linear);
}

}  // namespace
}  // namespace lares::kernels
