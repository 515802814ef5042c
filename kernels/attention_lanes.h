#pragma once

#include <type_traits>

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

// Adds rows [begin, end), weighted, to columns c.. of `heads` heads of the output: two registers of columns a head, so 2 * heads
// chains, ascending over the rows.
template <class W, Format cell, int heads>
void weighted_sum(const AttentionArgs& a, const void* rows, const float* p, std::int64_t p_stride, float* out, int c, int begin, int end) {
  W acc[heads][2];
#pragma GCC unroll 8
  for (int h = 0; h < heads; ++h)
    for (int j = 0; j < 2; ++j) acc[h][j] = loaded<W>(out + static_cast<std::int64_t>(h) * a.head_dim + c + j * W::lanes);
  for (int i = begin; i < end; ++i) {
    const std::int64_t at = static_cast<std::int64_t>(i) * a.head_dim + c;
    const W k0 = cell_lanes<W, cell>(rows, at), k1 = cell_lanes<W, cell>(rows, at + W::lanes);
#pragma GCC unroll 8
    for (int h = 0; h < heads; ++h) {
      const W weight = all<W>(p[h * p_stride + i]);
      acc[h][0] = fma(weight, k0, acc[h][0]);
      acc[h][1] = fma(weight, k1, acc[h][1]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < heads; ++h)
    for (int j = 0; j < 2; ++j) store(out + static_cast<std::int64_t>(h) * a.head_dim + c + j * W::lanes, acc[h][j]);
}

constexpr int kRowsNear = 32;  // rows that stay in L1 while all heads pass over them

// out [n_heads, head_dim] = sum over the rows of p [n_heads, p_stride] times the rows.
template <class W, Format cell>
void weighted_sums(const AttentionArgs& a, const void* rows, const float* p, std::int64_t p_stride) {
  constexpr int at_once = W::lanes == 16 ? 8 : 4;
  std::memset(a.out, 0, sizeof(float) * static_cast<std::size_t>(a.n_heads) * static_cast<std::size_t>(a.head_dim));
  for (int begin = 0; begin < a.n_rows; begin += kRowsNear) {
    const int end = a.n_rows - begin < kRowsNear ? a.n_rows : begin + kRowsNear;
    int h = 0;
    const auto pass = [&]<int heads>(std::integral_constant<int, heads>) {
      float* out = a.out + static_cast<std::int64_t>(h) * a.head_dim;
      for (int c = 0; c < a.head_dim; c += 2 * W::lanes) weighted_sum<W, cell, heads>(a, rows, p + h * p_stride, p_stride, out, c, begin, end);
      h += heads;
    };
    while (a.n_heads - h >= at_once) pass(std::integral_constant<int, at_once>{});
    while (h < a.n_heads) pass(std::integral_constant<int, 1>{});
  }
}

template <class V, class Wide, Format cell>
void attention_cells(const AttentionArgs& a, void (*linear)(const LinearArgs&)) {
  const std::int64_t padded = (a.n_rows + 7) / 8 * 8;
  float* p = a.scratch;
  float* divisor = p + padded * a.n_heads;
  void* rows = divisor + a.n_heads;
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
  for (int h = 0; h < a.n_heads; ++h) {
    float* row = p + h * padded;
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
    store(sink, exp(all<V>(a.sink[h] - top)));
    divisor[h] = sum(total) + sink[0];
  }
  weighted_sums<Wide, cell>(a, rows, p, padded);
  for (int h = 0; h < a.n_heads; ++h)
    for (int c = 0; c < a.head_dim; c += kLanes) {
      float* out = a.out + static_cast<std::int64_t>(h) * a.head_dim + c;
      V v = loaded<V>(out) / all<V>(divisor[h]);
      if (a.released) v = bf16_rounded(v);
      store(out, v);
    }
}

template <class V, class Wide>
void attention(const AttentionArgs& a, void (*linear)(const LinearArgs&)) {
  if (a.cell == Format::f32) attention_cells<V, Wide, Format::f32>(a, linear);
  else attention_cells<V, Wide, Format::bf16>(a, linear);
}

}  // namespace
}  // namespace lares::kernels
