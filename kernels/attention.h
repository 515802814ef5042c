// Attention of one query position over a list of rows that are keys and values at once, with a sink in the denominator.
//   s_i = scale <q_h, k_i>;  M = max_i s_i;  o_h = sum_i P(exp(s_i - M)) k_i / (sum_i exp(s_i - M) + exp(sink_h - M))
// P rounds to bf16 in released numerics. Rows are taken in the order given: scores by linear's order along the dims, values in
// ascending i, denominators in eight lanes over i and a halving tree.
// Source: DeepSeek-V4 inference/kernel.py, sparse_attn. Floor: each row once; 4 n_heads head_dim flops a row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear.h"

namespace lares::kernels {

struct AttentionArgs {
  const float* q;           // [n_heads, head_dim]
  const void* const* rows;  // [n_rows] pointers to [head_dim] values of `cell`
  Format cell;              // f32 or bf16
  const float* sink;        // [n_heads]
  float* out;               // [n_heads, head_dim]
  float* scratch;           // attention_scratch() floats
  int n_rows, n_heads, head_dim;  // n_rows >= 1, head_dim a multiple of 32
  float scale;
  bool released;  // round the weights and the output to bf16
};

inline std::size_t attention_scratch(int n_rows, int n_heads, int head_dim) {
  const std::size_t padded = (static_cast<std::size_t>(n_rows) + 7) / 8 * 8;
  return padded * head_dim + (padded + 1) * n_heads;
}

}  // namespace lares::kernels
