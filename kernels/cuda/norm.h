// Norms, and what follows them at once. Squares are summed in the CPU's order (kernels/norm.h),
// eight lanes and a halving tree, so that rows, queries and cells have its bits. Source:
// DeepSeek-V4 inference/model.py, RMSNorm and Attention.forward. Floor: the row once in and once
// out.
#pragma once

#include "kernels/cuda/places.h"

namespace lares::kernels::cuda {

struct RmsNormArgs {
  const bf16* x;        // [n_rows, x_stride]
  const float* w;       // [dim]
  bf16* y;              // [n_rows, y_stride], may be x; or null when only codes are wanted
  std::uint8_t* codes;  // [n_rows, codes_stride] Q8_128 of y, or null
  float* code_scale;    // [n_rows, code_scale_stride]
  std::int64_t x_stride, y_stride, codes_stride, code_scale_stride;
  int n_rows, dim;  // dim a multiple of 8, at most kNormDimMax
  float eps;
};
inline constexpr int kNormDimMax = 16384;
Status rms_norm(const RmsNormArgs& a, Stream stream);

// Query heads: the norm without weights, in bf16 as the release does it, then the rotation, then
// kernels' drop_small.
struct QueryArgs {
  bf16* q;                                    // [n_tokens, n_heads, head_dim], in place
  const double* rope;                         // [n_tokens, rope_dim / 2, 2]
  int n_tokens, n_heads, head_dim, rope_dim;  // multiples of 32; head_dim <= 512
  float eps;
};
Status queries(const QueryArgs& a, Stream stream);

// The window's rows: norm, rotation, Q8_64 of what is not rotated, and the cell into the ring; of a
// part longer than the ring the last rows. Attention reads a chunk's rows from the ring, too: for
// that it has room for the window and the chunk.
struct WindowArgs {
  const bf16* kv;      // [n_tokens, head_dim]
  const float* norm;   // [head_dim]
  const double* rope;  // [n_tokens, rope_dim / 2, 2]
  Places places;
  // head_dim - rope_dim a multiple of 64; no part has more tokens than the window's capacity
  int head_dim, rope_dim, window_capacity;
  float eps;
};
Status put_window(const WindowArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
