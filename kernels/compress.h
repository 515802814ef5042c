// The compressor's pooling: a softmax per channel over the raw rows of a group.
//   e[i] = sum_t softmax_t(gate_t[i]) * value_t[i]
// Rows in ascending token order, one lane a channel. Source: DeepSeek-V4 inference/model.py,
// Compressor. Floor: 8 bytes per row and channel.
#pragma once

namespace lares::kernels {

inline constexpr int kPoolRowsMax = 1024;

struct PoolArgs {
  const float* const* values;  // [n_rows] pointers to [dim]
  const float* const* gates;   // [n_rows], the position's bias already added
  float* out;                  // [dim]
  int n_rows, dim;             // dim a multiple of 8
  bool round_bf16;
};

}  // namespace lares::kernels
