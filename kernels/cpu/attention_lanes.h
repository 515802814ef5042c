#pragma once

#include "kernels/attention.h"
#include "kernels/cpu/lanes.h"

namespace lares::kernels {
namespace {

inline constexpr int kHeadsNear = 4;  // that share what is loaded of a row

// What the scratch holds.
struct AttentionScratch {
  std::int64_t padded;  // rows, in whole lanes
  float* p;             // [n_heads, padded]: scores, then weights
  float* divisor;       // [n_heads]
  char* rows;           // [n_rows, head_dim] cells
  std::size_t row_bytes;

  explicit AttentionScratch(const AttentionArgs& a)
      : padded((a.n_rows + kLanes - 1) / kLanes * kLanes),
        p(a.scratch),
        divisor(p + padded * a.n_heads),
        rows(reinterpret_cast<char*>(divisor + a.n_heads)),
        row_bytes((a.cell == Format::f32 ? 4 : 2) * static_cast<std::size_t>(a.head_dim)) {}
};

// What is too small to matter becomes zero; NaN stays.
template <class V>
V flushed(V v) {
  return if_less(magnitude(v), all<V>(kAttentionLeast), all<V>(0), v);
}

template <class V>
void drop_small(float* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += V::lanes) store(x + i, flushed(loaded<V>(x + i)));
}

template <class V>
void attention_scores(const AttentionArgs& a, int row_begin, int row_end,
                      void (*linear)(const LinearArgs&)) {
  const AttentionScratch s(a);
  for (int i = row_begin; i < row_end; ++i)
    std::memcpy(s.rows + static_cast<std::size_t>(i) * s.row_bytes, a.rows[i], s.row_bytes);
  Matrix keys;
  keys.format = a.cell;
  keys.data = s.rows;
  keys.n_out = a.n_rows;
  keys.n_in = a.head_dim;
  linear({.w = &keys,
          .x = a.q,
          .y = s.p,
          .x_stride = a.head_dim,
          .y_stride = s.padded,
          .n_tokens = a.n_heads,
          .row_begin = row_begin,
          .row_end = row_end});
}

template <class V>
void attention_weights(const AttentionArgs& a, int head_begin, int head_end) {
  const AttentionScratch s(a);
  const V scale = all<V>(a.scale);
  for (int h = head_begin; h < head_end; ++h) {
    float* row = s.p + h * s.padded;
    for (std::int64_t i = a.n_rows; i < s.padded; ++i) row[i] = -INFINITY;
    V most = all<V>(-INFINITY);
    for (std::int64_t i = 0; i < s.padded; i += kLanes) {
      const V v = loaded<V>(row + i) * scale;
      store(row + i, v);
      most = max(v, most);
    }
    const float top = largest(most);
    V total = all<V>(0);
    for (std::int64_t i = 0; i < s.padded; i += kLanes) {
      const V e = exp(loaded<V>(row + i) - all<V>(top));
      total = total + e;
      store(row + i, a.released ? flushed(bf16_rounded(e)) : e);
    }
    float sink[kLanes];
    store(sink, exp(all<V>(a.sink[h] - top)));
    s.divisor[h] = sum(total) + sink[0];
  }
}

template <class V, Format cell>
V cell_lanes(const void* rows, std::int64_t at) {
  V v;
  if constexpr (cell == Format::f32)
    load(v, static_cast<const float*>(rows) + at);
  else
    load_bf16(v, static_cast<const std::uint16_t*>(rows) + at);
  return v;
}

// Adds a group of up to 32 rows, weighted, to columns c.. of `heads` heads: two registers of
// columns a head, so 2 * heads chains.
template <class V, Format cell, int heads>
void add_group(const AttentionArgs& a, const AttentionScratch& s, int h0, int c, int begin,
               int end) {
  V part[heads][2];
#pragma GCC unroll 8
  for (int h = 0; h < heads; ++h) part[h][0] = part[h][1] = all<V>(0);
  const float* p = s.p + h0 * s.padded;
  const auto add = [&](int i) __attribute__((always_inline)) {
    const std::int64_t at = static_cast<std::int64_t>(i) * a.head_dim + c;
    const V k0 = cell_lanes<V, cell>(s.rows, at), k1 = cell_lanes<V, cell>(s.rows, at + V::lanes);
#pragma GCC unroll 8
    for (int h = 0; h < heads; ++h) {
      const V weight = all<V>(p[h * s.padded + i]);
      part[h][0] = fma(weight, k0, part[h][0]);
      part[h][1] = fma(weight, k1, part[h][1]);
    }
  };
  for (int i = begin; i < end; i += 2) {
    if (i + 1 < end) add(i + 1);
    add(i);
  }
#pragma GCC unroll 8
  for (int h = 0; h < heads; ++h)
    for (int j = 0; j < 2; ++j) {
      float* out = a.out + static_cast<std::int64_t>(h0 + h) * a.head_dim + c + j * V::lanes;
      store(out, loaded<V>(out) + part[h][j]);
    }
}

template <class V, Format cell>
void attention_values_of(const AttentionArgs& a, int column_begin, int column_end) {
  const AttentionScratch s(a);
  for (int h = 0; h < a.n_heads; ++h)
    std::memset(a.out + static_cast<std::int64_t>(h) * a.head_dim + column_begin, 0,
                sizeof(float) * static_cast<std::size_t>(column_end - column_begin));
  for (int begin = 0; begin < a.n_rows; begin += kGroup) {
    const int end = a.n_rows - begin < kGroup ? a.n_rows : begin + kGroup;
    for (int c = column_begin; c < column_end; c += 2 * V::lanes) {
      int h = 0;
      for (; h + kHeadsNear <= a.n_heads; h += kHeadsNear)
        add_group<V, cell, kHeadsNear>(a, s, h, c, begin, end);
      for (; h < a.n_heads; ++h) add_group<V, cell, 1>(a, s, h, c, begin, end);
    }
  }
  for (int h = 0; h < a.n_heads; ++h)
    for (int c = column_begin; c < column_end; c += kLanes) {
      float* out = a.out + static_cast<std::int64_t>(h) * a.head_dim + c;
      V v = loaded<V>(out) / all<V>(s.divisor[h]);
      if (a.released) v = bf16_rounded(v);
      store(out, v);
    }
}

template <class V>
void attention_values(const AttentionArgs& a, int column_begin, int column_end) {
  if (a.cell == Format::f32)
    attention_values_of<V, Format::f32>(a, column_begin, column_end);
  else
    attention_values_of<V, Format::bf16>(a, column_begin, column_end);
}

}  // namespace
}  // namespace lares::kernels
