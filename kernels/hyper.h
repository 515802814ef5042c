// Hyper-connections (mHC): S residual streams X [S, D] per token, mixed before and after each
// sub-layer.
//   m       = (fn x_flat) / sqrt(mean(x_flat^2) + norm_eps)          fn x_flat by linear
//   pre[j]  = sigmoid(s0 m[j] + b[j]) + eps
//   post[j] = 2 sigmoid(s1 m[S+j] + b[S+j])
//   comb    = softmax over k of s2 m[2S+jS+k] + b[...], + eps; columns /= sum + eps;
//             then (iters - 1) times rows, columns
//   enter:  x = sum_j pre[j] X_j
//   leave:  X'_k = post[k] y + sum_j comb[j][k] X_j
// Source: DeepSeek-V4 inference/kernel.py, hc_split_sinkhorn. Floor: X once in, once out.
#pragma once

#include <cstdint>

namespace lares::kernels {

inline constexpr int kStreamsMax = 8;

struct HyperSplitArgs {
  const float* dots;   // [n_tokens, (2 + S) S]: fn x_flat; the head's form has S rows only
  const float* x;      // [n_tokens, S D]: for the mean square
  const float* scale;  // [3], head: [1]
  const float* base;   // [(2 + S) S], head: [S]
  float* pre;          // [n_tokens, S] out
  float* post;         // [n_tokens, S] out; null in the head's form, then comb too
  float* comb;         // [n_tokens, S, S] out: [source stream, destination stream]
  int n_tokens, n_streams, dim;  // dim: D, a multiple of 8
  int iters;                     // hc_sinkhorn_iters
  float eps, norm_eps;
};

struct HyperEnterArgs {
  const float* x;    // [n_tokens, S, D]
  const float* pre;  // [n_tokens, S]
  float* y;          // [n_tokens, D]
  int n_tokens, n_streams, dim;
  bool round_bf16;
};

struct HyperLeaveArgs {
  float* x;           // [n_tokens, S, D], in place
  const float* y;     // [n_tokens, D]
  const float* post;  // [n_tokens, S]
  const float* comb;  // [n_tokens, S, S]
  int n_tokens, n_streams, dim;
  bool round_bf16;
};

}  // namespace lares::kernels
