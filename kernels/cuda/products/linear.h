// y = x W^T on the device, as kernels/linear.h, with another order of operations, the same for any
// number of tokens, so that decode, verification and prefill agree bit for bit:
//   bf16 and fp8:  acc = 0; for each 128 of k, ascending:
//                    p = eight chained mma.m16n8k16 (two for each 32-group, ascending)
//                    acc = fma(p, s, acc)
//   fp4:           acc = 0; for each 32-group of k, ascending:
//                    t = two chained mma.m16n8k16
//                    acc = fma(t s_w, s_a, acc)
// s: the weights' scale times the activations'. Products are exact; an mma adds 16 of them to its
// accumulator with at least 23 bits. Where what enters is quantised (Q8_128), codes of both
// operands are multiplied as f16; otherwise as bf16, fp8 weights without their scale. fp4's order
// is kernels/linear.h's, and so are its bits: products of e4m3 and e2m1 codes are multiples of
// 2^-10 up to 2688, so that t is exact in either order as long as no part of its sum exceeds 2^14
// (of 32 products nearly all may be as large as those of six times 448: no checkpoint's are), and
// scales are powers of two. A part of the experts may therefore be the CPU's.
// Source: DeepSeek-V4 inference/kernel.py (fp8_gemm, fp4_gemm). Floor: the bytes of W once; 2
// n_tokens n_out n_in flops.
#pragma once

#include <span>

#include "kernels/cuda/hyper/hyper.h"
#include "kernels/cuda/products/tiles.h"

namespace lares::kernels::cuda {

// Up to which a product is bound by its weights, and may quantise what enters by itself
inline constexpr int kTokensFew = 8;
inline constexpr int kLinearTogether = 8;  // products in one launch

struct LinearArgs {
  Weight w;
  const bf16* x = nullptr;              // [n_tokens, x_stride]
  const std::uint8_t* codes = nullptr;  // instead of x, Q8_128: e4m3 [n_tokens, x_stride]
  const float* code_scale = nullptr;    // [n_tokens, code_scale_stride]
  void* y = nullptr;                    // [n_tokens, y_stride] bf16, or f32 with y_f32
  // x_stride a multiple of 8, x and codes 16-byte aligned
  std::int64_t x_stride = 0, code_scale_stride = 0, y_stride = 0;
  int n_tokens = 0;
  // Not 0: row r multiplies the n_in columns of x from (r / rows_per_group) n_in on (wo_a); a
  // multiple of 16
  int rows_per_group = 0;
  // Q8_128 of x on entry, weights of fp8 or fp4: few tokens' kernel does it by itself; of many
  // tokens codes are laid out for wgmma as they are made, or, without it, go where these say
  bool quantise = false;
  std::uint8_t* quantised = nullptr;  // [n_tokens, x_stride]
  float* quantised_scale = nullptr;   // [n_tokens, code_scale_stride]
  // [n_in] quantise, few tokens: of what rms_norm() makes of x. Each block norms for itself, or,
  // where a launch cannot, rms_norm() does it before, to `quantised`. All products of a call are of
  // that x
  const float* norm = nullptr;
  float norm_eps = 0;
  bool y_f32 = false;
  bool wgmma = true;  // many tokens, where the device has it (sm_90a): the same bits as without
  // linear_room() bytes, 256-byte aligned, where codes that enter are laid out for wgmma; null:
  // without it. Products one behind the other in a call that have the same codes and room lay them
  // out once
  void* room = nullptr;
};

// Of n_tokens whose rows, of all groups, have so many values.
constexpr std::size_t linear_room(std::size_t n_tokens, std::size_t columns) {
  return (n_tokens + 7) / 8 * 8 * ((columns + 127) / 128) * (128 * sizeof(bf16) + sizeof(float)) +
         16;
}
// Where blocks of a launch with few tokens meet, kScratchBlocks of them: memory that is 0 at first
// and belongs to one stream. Without it every block has whole rows, and the slowest has up to a
// third more than its share.
inline constexpr int kScratchBlocks = 192, kScratchSums = 8192;
struct StreamScratch {
  std::uint32_t arrived;
  std::uint32_t unused[31];
  float sums[kScratchSums];  // of a row tile: [tiles, sums of a tile, n_tokens, 16]
};
struct Scratch {
  StreamScratch* streams = nullptr;
};

// Products over the same tokens that do not depend on each other; at most kLinearTogether. Beside
// few tokens' products: what a boundary left, by who adds up and has nothing to add yet.
Status linear(std::span<const LinearArgs> together, Stream stream, const Scratch& scratch = {},
              const HyperMixes& mixes = {});
inline Status linear(const LinearArgs& a, Stream stream) {
  return linear(std::span(&a, 1), stream);
}

}  // namespace lares::kernels::cuda
