// Hyper-connections (kernels/hyper.h has the equations), a boundary between two sub-layers: leaving
// the one and the 24 products of the other over slices of the streams; then the mixing weights, the
// next sub-layer's input and its norm. One token takes one launch: a cluster, whose blocks each
// take some dims from the one sub-layer to the other, or, where a device has none, blocks of which
// the last one mixes. More take two, and many are done in runs whose streams stay in L2 between the
// two.
//   A slice is kHyperSlice dims of all streams. Dot products run over 32 values at a time, one
//   after the other, those sums are added in ascending order within a slice, the slices' in
//   kHyperGroups runs of consecutive ones, each ascending, and the runs' in ascending order; the
//   squares of what enters four at a time, those by a tree within a slice, then in the same way:
//   the same for any number of tokens, and another order than the CPU's. What leaves, and the
//   mixing given the products, have the CPU's bits.
// Source: DeepSeek-V4 inference/kernel.py, hc_split_sinkhorn. Floor: X once in, once out; fn once.
#pragma once

#include "kernels/cuda/device.h"

namespace lares::kernels::cuda {

inline constexpr int kHyperStreams = 4;  // hc_mult of the family
inline constexpr int kHyperSlice = 64;   // dims
inline constexpr int kHyperRows = 24;    // (2 + S) S
inline constexpr int kHyperGroups = 16;  // of slices

// What experts made of tokens [first, ...) of a launch, to be summed: bf16 of the ranks' slots
// ascending, then the shared one's, in f32.
struct ExpertOutputs {
  const bf16* out = nullptr;              // [n_tokens (k + 1), stride]
  const std::int32_t* slot_of = nullptr;  // [n_tokens, k]
  std::int64_t stride = 0;
  int n_tokens = 0, k = 0, first = 0;
};

struct HyperArgs {
  bf16* x;  // [n_tokens, 4, dim], in place where something leaves
  // What leaves: x'_k = post[k] y + sum_j comb[j][k] x_j, before anything else; y null: nothing.
  // Where something does, x, post, comb and slot_of are not what the launch just before this one
  // writes: they are read before that has ended.
  const bf16* y;               // [n_tokens, dim]
  ExpertOutputs experts = {};  // or, with `out`, their sum in place of y
  float* post;                 // [n_tokens, 4] in, then out for the next boundary
  float* comb;                 // [n_tokens, 4, 4] the same
  // What enters. fn null: nothing (after the last layer).
  const float* fn;      // [24, 4 dim], the head's [4, 4 dim]
  const float* base;    // [24] or [4]
  const float* scale;   // [3] or [1]
  const float* norm;    // [dim]
  bf16* entered;        // [n_tokens, dim] the sub-layer's input before its norm, or null
  bf16* normed;         // [n_tokens, dim]
  std::uint8_t* codes;  // [n_tokens, dim] Q8_128 of `normed`, or null
  float* code_scale;    // [n_tokens, ceil(dim / 128)]
  float* partial;       // hyper_partials() floats
  int n_tokens, dim;    // dim a multiple of 64, at most kHyperDimMax
  int iters;
  bool head;  // the head's form: 4 rows, no post and comb
  float eps, norm_eps, rms_eps;
  bool later = false;  // post and comb are left to another launch (HyperMixes); few tokens only
  // How one token goes: by a cluster where the device can, which false keeps it from, for
  // comparisons; else in one launch with `arrived`, zero before the first use and left zero; else
  // in two.
  bool cluster = true;
  std::uint32_t* arrived = nullptr;
};
inline constexpr int kHyperDimMax = 8192;
constexpr std::size_t hyper_partials(int n_tokens, int dim) {
  return static_cast<std::size_t>(n_tokens) *
         static_cast<std::size_t>((dim + kHyperSlice - 1) / kHyperSlice) * (kHyperRows + 1);
}
Status hyper(const HyperArgs& a, Stream stream);
bool hyper_has_cluster(int dim);  // whether the current device can hold one for so many dims

// What hyper() left for later, in `partial`. Nobody waits for it before the next boundary, and
// Sinkhorn takes longer than all else there: so launches between the two take it along whose warps
// wait for something else at first (linear(), experts_linear()).
struct HyperMixes {
  const float* mixes = nullptr;  // [n_tokens, stride], 24 each
  std::int64_t stride = 0;
  float* post = nullptr;  // [n_tokens, 4] out
  float* comb = nullptr;  // [n_tokens, 4, 4] out
  int n_tokens = 0;       // 0: nothing
  int iters = 0;
  float eps = 0;
};
constexpr HyperMixes hyper_mixes(const float* partial, int dim, float* post, float* comb,
                                 int n_tokens, int iters, float eps) {
  return {partial,  static_cast<std::int64_t>(dim / kHyperSlice) * (kHyperRows + 1),
          post,     comb,
          n_tokens, iters,
          eps};
}

}  // namespace lares::kernels::cuda
