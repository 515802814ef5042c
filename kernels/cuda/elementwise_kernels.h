// Bodies of what works on rows: quantise, rope_table, rms_norm, queries, put_window, embed, argmax.
#pragma once

#include "kernels/cuda/attention/attention_rows.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/quantise.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/vocabulary.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kNormThreads = 256;

// A warp a block of 128.
LARES_KERNEL(256, 4) quantise_kernel(const QuantiseArgs a) {
  wait_for_inputs();
  const int blocks = (a.n + 127) / 128, lane = thread() % 32;
  const std::int64_t i = static_cast<std::int64_t>(block_x()) * 8 + thread() / 32;
  if (i >= static_cast<std::int64_t>(a.n_rows) * blocks) return;
  const std::int64_t row = i / blocks;
  const int block = static_cast<int>(i % blocks), k = block * 128 + 4 * lane;
  float v[4] = {0, 0, 0, 0};
  if (k < a.n) {
    const Vec8 in = *reinterpret_cast<const Vec8*>(a.x + row * a.x_stride + k);
    LARES_UNROLL for (int j = 0; j < 4; ++j) v[j] = bf16_value(in.w[j / 2] >> j % 2 * 16 & 0xFFFFu);
  }
  quantise_block(v, k < a.n, a.codes + row * a.codes_stride + k,
                 a.scale + row * a.scale_stride + block);
}
constexpr int quantise_blocks(int n_rows, int n) {
  return static_cast<int>((static_cast<std::int64_t>(n_rows) * ((n + 127) / 128) + 7) / 8);
}

LARES_KERNEL(128, 4) rope_table_kernel(const RopeTableArgs a) {
  wait_for_inputs();
  const std::int64_t i = static_cast<std::int64_t>(block_x()) * 128 + thread();
  const int pairs = a.dim / 2;
  if (i >= static_cast<std::int64_t>(a.n) * pairs) return;
  const float angle = static_cast<float>(a.position[i / pairs]) * a.frequencies[i % pairs];
  a.table[2 * i] = cos(static_cast<double>(angle));
  a.table[2 * i + 1] = sin(static_cast<double>(angle));
}

// A block a row, which it holds as floats; each warp sums the squares by itself.
LARES_KERNEL(kNormThreads, 2) rms_norm_kernel(const RmsNormArgs a) {
  float* const row = shared<float>();
  float* const w = row + a.dim;
  for (int i = 4 * thread(); i < a.dim; i += 4 * kNormThreads)
    *reinterpret_cast<Vec16*>(w + i) = *reinterpret_cast<const Vec16*>(a.w + i);
  wait_for_inputs();
  const bf16* const x = a.x + static_cast<std::int64_t>(block_x()) * a.x_stride;
  for (int i = 4 * thread(); i < a.dim; i += 4 * kNormThreads) {
    const Vec8 in = *reinterpret_cast<const Vec8*>(x + i);
    LARES_UNROLL for (int c = 0; c < 4; ++c)
        row[i + c] = bf16_value(in.w[c / 2] >> c % 2 * 16 & 0xFFFFu);
  }
  sync_block();
  const float root = rms_root(sum_of_squares(row, a.dim), a.dim, a.eps);
  for (int base = 0; base < a.dim; base += 4 * kNormThreads) {
    const int k = base + 4 * thread();
    const bool inside = k < a.dim;
    float v[4] = {0, 0, 0, 0};
    LARES_UNROLL for (int i = 0; i < 4; ++i) if (inside)
        v[i] = bf16_rounded(row[k + i] / root * w[k + i]);
    if (inside && a.y) {
      const Vec8 out{{pair(to_bf16(v[0]), to_bf16(v[1])), pair(to_bf16(v[2]), to_bf16(v[3]))}};
      *reinterpret_cast<Vec8*>(a.y + static_cast<std::int64_t>(block_x()) * a.y_stride + k) = out;
    }
    if (a.codes && base + thread() / 32 * 128 < a.dim)
      quantise_block(
          v, inside, a.codes + static_cast<std::int64_t>(block_x()) * a.codes_stride + k,
          a.code_scale + static_cast<std::int64_t>(block_x()) * a.code_scale_stride + k / 128);
  }
}
constexpr int rms_norm_shared(int dim) { return 2 * dim * 4; }

// A warp four heads.
LARES_KERNEL(kRowThreads, 4) queries_kernel(const QueryArgs a) {
  wait_for_inputs();
  const int warp = thread() / 32;
  const std::int64_t first = (static_cast<std::int64_t>(block_x()) * (kRowThreads / 32) + warp) * 4,
                     all = static_cast<std::int64_t>(a.n_tokens) * a.n_heads;
  turn_queries(a, first, first < all ? static_cast<int>(all - first < 4 ? all - first : 4) : 0,
               shared<float>() + warp * 4 * (a.head_dim + kHeadPad));
}
constexpr int queries_blocks(int n_tokens, int n_heads) {
  return static_cast<int>((static_cast<std::int64_t>(n_tokens) * n_heads + 15) / 16);
}
constexpr int queries_shared(int head_dim) {
  return kRowThreads / 32 * 4 * (head_dim + kHeadPad) * 4;
}

// A block a token.
LARES_KERNEL(kRowThreads, 8) put_window_kernel(const WindowArgs a) {
  const TokenPlace place = token_place(a.places, block_x());
  wait_for_inputs();
  put_window_row(a, block_x(), place, shared<float>());
}

LARES_KERNEL(256, 4) embed_kernel(const EmbedArgs a) {
  wait_for_inputs();
  const auto* const from = reinterpret_cast<const Vec16*>(
      a.table + static_cast<std::int64_t>(a.tokens[block_x()]) * a.dim);
  auto* const to =
      reinterpret_cast<Vec16*>(a.x + static_cast<std::int64_t>(block_x()) * a.n_streams * a.dim);
  for (int i = thread(); i < a.dim / 8; i += 256) {
    const Vec16 v = from[i];
    for (int s = 0; s < a.n_streams; ++s) to[s * (a.dim / 8) + i] = v;
  }
}

// Larger logit, larger number; equal ones, the lower token. 0: nothing.
LARES_BOTH std::uint64_t logit_rank(float v, int token) {
  const std::uint32_t u = bits_of(v + 0.0f);
  return static_cast<std::uint64_t>(u & 0x80000000u ? ~u : u | 0x80000000u) << 32 |
         (0xFFFFFFFFu - static_cast<std::uint32_t>(token));
}
// The best of each of kArgmaxParts parts of a row, then the best of those.
LARES_DEVICE std::uint64_t best_of_block(std::uint64_t mine, std::uint64_t* ranks) {
  ranks[thread()] = mine;
  sync_block();
  for (int half = threads() / 2; half > 0; half /= 2) {
    if (thread() < half && ranks[thread() + half] > ranks[thread()])
      ranks[thread()] = ranks[thread() + half];
    sync_block();
  }
  return ranks[0];
}
LARES_KERNEL(256, 4) argmax_parts_kernel(const ArgmaxArgs a) {
  wait_for_inputs();
  const int row = block_y(), part = (a.n + kArgmaxParts - 1) / kArgmaxParts,
            begin = block_x() * part, end = smaller(a.n, begin + part);
  const float* const logits = a.logits + static_cast<std::int64_t>(row) * a.n;
  const std::uint32_t* const allowed =
      a.allowed ? a.allowed + static_cast<std::int64_t>(row) * ((a.n + 31) / 32) : nullptr;
  std::uint64_t best = 0;
  for (int i = begin + thread(); i < end; i += 256) {
    const float v = logits[i];
    if (v != v || (allowed && !(allowed[i / 32] >> i % 32 & 1))) continue;
    const std::uint64_t r = logit_rank(v, i);
    best = r > best ? r : best;
  }
  best = best_of_block(best, shared<std::uint64_t>());
  if (thread() == 0) a.scratch[static_cast<std::int64_t>(row) * kArgmaxParts + block_x()] = best;
}
LARES_KERNEL(kArgmaxParts, 4) argmax_kernel(const ArgmaxArgs a) {
  wait_for_inputs();
  const std::uint64_t best = best_of_block(
      a.scratch[static_cast<std::int64_t>(block_x()) * kArgmaxParts + thread()],
      shared<std::uint64_t>());
  if (thread() != 0) return;
  const int token = best == 0 ? -1
                              : static_cast<int>(0xFFFFFFFFu - static_cast<std::uint32_t>(best));
  a.token[block_x()] = token;
  if (a.value)
    a.value[block_x()] = token < 0 ? float_of(0xFF800000u)
                                   : a.logits[static_cast<std::int64_t>(block_x()) * a.n + token];
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
