// Attention of one query position over a list of rows that are keys and values at once, with a sink
// in the denominator.
//   s_i = scale <q_h, k_i>;  M = max_i s_i
//   o_h = sum_i P(exp(s_i - M)) k_i / (sum_i exp(s_i - M) + exp(sink_h - M))
// In released numerics P rounds to bf16, and below kAttentionLeast to zero; q and rows hold bf16
// values, and nothing smaller than that but zeros (Kernels::drop_small), so that no product needs
// more than bf16's exponents. Rows are taken in the order given: both products have linear's order,
// scores along the dims and values along the rows; denominators are summed in eight lanes over i
// and a halving tree.
// Source: DeepSeek-V4 inference/kernel.py, sparse_attn. Floor: each row once; 4 n_heads head_dim
// flops a row.
//
// Three steps, each shared out as its caller likes: scores by rows, weights by heads, values by
// columns. Steps of one position use the same arguments, and one ends before the next begins.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear.h"

namespace lares::kernels {

// Where a share may begin, as a multiple; it ends there or at the end of all.
inline constexpr int kAttentionRows = 32, kAttentionHeads = 16, kAttentionColumns = 32;
inline constexpr float kAttentionLeast = 0x1p-46f;

struct AttentionArgs {
  const float* q;                 // [n_heads, head_dim]
  const void* const* rows;        // [n_rows] pointers to [head_dim] values of `cell`
  Format cell;                    // f32 or bf16
  const float* sink;              // [n_heads]
  float* out;                     // [n_heads, head_dim]
  float* scratch;                 // attention_scratch() floats
  int n_rows, n_heads, head_dim;  // n_rows >= 1, head_dim a multiple of 32
  float scale;
  bool released;  // round the weights and the output to bf16
};

// Scores, weights and divisors of all heads, and a copy of the rows: the most that any
// implementation needs, none of which has all of them.
inline std::size_t attention_scratch(int n_rows, int n_heads, int head_dim, Format cell) {
  const std::size_t rows = (static_cast<std::size_t>(n_rows) + 31) / 32 * 32,
                    heads = (static_cast<std::size_t>(n_heads) + 31) / 32 * 32,
                    row = static_cast<std::size_t>(head_dim) / (cell == Format::f32 ? 1 : 2);
  const std::size_t copied = rows * (static_cast<std::size_t>(n_heads) + row),
                    in_pairs = rows * heads + (rows / 2 + 16) * heads;
  return (copied > in_pairs ? copied : in_pairs) + heads;
}

// Released numerics, bf16 rows.
void attention_scores_avx512(const AttentionArgs& a, int row_begin, int row_end);
void attention_weights_avx512(const AttentionArgs& a, int head_begin, int head_end);
void attention_values_avx512(const AttentionArgs& a, int column_begin, int column_end);

}  // namespace lares::kernels
