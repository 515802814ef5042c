// RMS norms. Sums run in eight lanes along the row, folded by a halving tree.
//   rms_norm:  y = w * (x / sqrt(mean(x^2) + eps))
//   head_norm: the same without w, on each query head; released numerics square, average, add and
//              scale in bf16
// Source: DeepSeek-V4 inference/model.py, RMSNorm and Attention.forward. Floor: the row once in and
// once out.
#pragma once

#include <cstdint>

namespace lares::kernels {

struct RmsNormArgs {
  const float* x;  // [n_rows, x_stride], the first dim used
  const float* w;  // [dim]
  float* y;        // [n_rows, y_stride]
  std::int64_t x_stride, y_stride;
  int n_rows, dim;  // dim a multiple of 8
  float eps;
  bool round_bf16;
};

struct HeadNormArgs {
  float* x;  // [n_rows, dim], in place
  int n_rows, dim;
  float eps;
  bool released;
};

}  // namespace lares::kernels
