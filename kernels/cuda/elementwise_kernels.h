// Bodies of what works on rows: quantise, rope_table, rms_norm, queries, put_window, embed, argmax.
#pragma once

#include "kernels/cuda/norm.h"
#include "kernels/cuda/quantise.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/vocabulary.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kRowThreads = 128;

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
  quantise_block(v, k < a.n, a.codes + row * a.codes_stride + k, a.scale + row * a.scale_stride + block);
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

// A block a row, which it holds as floats; the first warp sums the squares.
LARES_KERNEL(kRowThreads, 4) rms_norm_kernel(const RmsNormArgs a) {
  wait_for_inputs();
  float* const row = shared<float>();
  const bf16* const x = a.x + static_cast<std::int64_t>(block_x()) * a.x_stride;
  for (int i = thread(); i < a.dim; i += kRowThreads) row[i + 1] = bf16_value(x[i]);
  sync_block();
  if (thread() < 32) {
    const float root = rms_root(sum_of_squares(row + 1, a.dim), a.dim, a.eps);
    if (thread() == 0) row[0] = root;
  }
  sync_block();
  const float root = row[0];
  for (int base = 0; base < a.dim; base += 4 * kRowThreads) {
    const int k = base + 4 * thread();
    const bool inside = k < a.dim;
    float v[4] = {0, 0, 0, 0};
    LARES_UNROLL for (int i = 0; i < 4; ++i)
      if (inside) v[i] = bf16_rounded(row[k + i + 1] / root * a.w[k + i]);
    if (inside && a.y) {
      const Vec8 out{{pair(to_bf16(v[0]), to_bf16(v[1])), pair(to_bf16(v[2]), to_bf16(v[3]))}};
      *reinterpret_cast<Vec8*>(a.y + static_cast<std::int64_t>(block_x()) * a.y_stride + k) = out;
    }
    if (a.codes && base + thread() / 32 * 128 < a.dim)
      quantise_block(v, inside, a.codes + static_cast<std::int64_t>(block_x()) * a.codes_stride + k,
                     a.code_scale + static_cast<std::int64_t>(block_x()) * a.code_scale_stride + k / 128);
  }
}
constexpr int rms_norm_shared(int dim) { return (dim + 1) * 4; }

// A warp four heads: eight lanes sum each, as the CPU does.
inline constexpr int kHeadPad = 8;
LARES_KERNEL(kRowThreads, 4) queries_kernel(const QueryArgs a) {
  wait_for_inputs();
  const int warp = thread() / 32, lane = thread() % 32, width = a.head_dim + kHeadPad, pairs = a.rope_dim / 2,
            plain = a.head_dim - a.rope_dim;
  float* const heads = shared<float>() + warp * 4 * width;
  const std::int64_t first = (static_cast<std::int64_t>(block_x()) * (kRowThreads / 32) + warp) * 4,
                     all = static_cast<std::int64_t>(a.n_tokens) * a.n_heads;
  const int n = first < all ? static_cast<int>(all - first < 4 ? all - first : 4) : 0;
  auto* const q = reinterpret_cast<std::uint32_t*>(a.q + first * a.head_dim);
  for (int i = lane; i < n * a.head_dim / 2; i += 32) {
    float* const to = heads + 2 * i / a.head_dim * width + 2 * i % a.head_dim;
    const std::uint32_t v = q[i];
    to[0] = bf16_value(v & 0xFFFFu);
    to[1] = bf16_value(v >> 16);
  }
  sync_warp();
  float acc = 0;
  if (lane / 8 < n)
    for (int i = lane % 8; i < a.head_dim; i += 8) {
      const float v = heads[lane / 8 * width + i];
      acc = acc + bf16_rounded(v * v);
    }
  const float mean = bf16_rounded(fold_lanes(acc) / static_cast<float>(a.head_dim));
  const float mine = bf16_rounded(1.0f / sqrtf(bf16_rounded(mean + a.eps)));
  float factor[4];
  LARES_UNROLL for (int h = 0; h < 4; ++h) factor[h] = shuffle_from(mine, 8 * h);
  for (int i = lane; i < n * a.head_dim / 2; i += 32) {
    const int h = 2 * i / a.head_dim, c = 2 * i % a.head_dim;
    const float* const from = heads + h * width + c;
    const float f = h == 0 ? factor[0] : h == 1 ? factor[1] : h == 2 ? factor[2] : factor[3];
    float v0 = bf16_rounded(from[0] * f), v1 = bf16_rounded(from[1] * f);
    if (c >= plain) {
      const double* const angle = a.rope + ((first + h) / a.n_heads * pairs + (c - plain) / 2) * 2;
      turn(v0, v1, angle[0], angle[1]);
      v0 = bf16_rounded(v0);
      v1 = bf16_rounded(v1);
    }
    q[i] = pair(to_bf16(flushed(v0)), to_bf16(flushed(v1)));
  }
}
constexpr int queries_blocks(int n_tokens, int n_heads) {
  return static_cast<int>((static_cast<std::int64_t>(n_tokens) * n_heads + 15) / 16);
}
constexpr int queries_shared(int head_dim) { return kRowThreads / 32 * 4 * (head_dim + kHeadPad) * 4; }

// A warp a token. In a chunk longer than the ring only its last rows have a place.
LARES_KERNEL(32, 16) put_window_kernel(const WindowArgs a) {
  wait_for_inputs();
  float* const row = shared<float>();
  const int t = block_x(), lane = thread(), pairs = a.rope_dim / 2, plain = a.head_dim - a.rope_dim;
  const Part& part = a.places.parts[a.places.part[t]];
  if (t + a.window_capacity < part.begin + part.n) return;
  for (int i = lane; i < a.head_dim; i += 32) row[i] = bf16_value(a.kv[static_cast<std::int64_t>(t) * a.head_dim + i]);
  sync_warp();
  const float root = rms_root(sum_of_squares(row, a.head_dim), a.head_dim, a.eps);
  sync_warp();
  for (int i = 2 * lane; i < a.head_dim; i += 64) {
    float v0 = bf16_rounded(row[i] / root * a.norm[i]), v1 = bf16_rounded(row[i + 1] / root * a.norm[i + 1]);
    if (i >= plain) {
      const double* const angle = a.rope + (static_cast<std::int64_t>(t) * pairs + (i - plain) / 2) * 2;
      turn(v0, v1, angle[0], angle[1]);
      v0 = bf16_rounded(v0);
      v1 = bf16_rounded(v1);
    }
    row[i] = v0;
    row[i + 1] = v1;
  }
  sync_warp();
  const int plain_bytes = (plain + plain / 64 + 7) / 8 * 8, bytes = (plain_bytes + 2 * a.rope_dim + 7) / 8 * 8;
  put_cell(row, a.head_dim, a.rope_dim, part.window + a.places.position[t] % a.window_capacity * bytes);
}

LARES_KERNEL(256, 4) embed_kernel(const EmbedArgs a) {
  wait_for_inputs();
  const auto* const from = reinterpret_cast<const Vec16*>(a.table + static_cast<std::int64_t>(a.tokens[block_x()]) * a.dim);
  auto* const to = reinterpret_cast<Vec16*>(a.x + static_cast<std::int64_t>(block_x()) * a.n_streams * a.dim);
  for (int i = thread(); i < a.dim / 8; i += 256) {
    const Vec16 v = from[i];
    for (int s = 0; s < a.n_streams; ++s) to[s * (a.dim / 8) + i] = v;
  }
}

// Larger logit, larger number; equal ones, the lower token. 0: nothing.
LARES_BOTH std::uint64_t logit_rank(float v, int token) {
  const std::uint32_t u = bits_of(v + 0.0f);
  return static_cast<std::uint64_t>(u & 0x80000000u ? ~u : u | 0x80000000u) << 32 | (0xFFFFFFFFu - static_cast<std::uint32_t>(token));
}
// The best of each of kArgmaxParts parts of a row, then the best of those.
LARES_DEVICE std::uint64_t best_of_block(std::uint64_t mine, std::uint64_t* ranks) {
  ranks[thread()] = mine;
  sync_block();
  for (int half = threads() / 2; half > 0; half /= 2) {
    if (thread() < half && ranks[thread() + half] > ranks[thread()]) ranks[thread()] = ranks[thread() + half];
    sync_block();
  }
  return ranks[0];
}
LARES_KERNEL(256, 4) argmax_parts_kernel(const ArgmaxArgs a) {
  wait_for_inputs();
  const int row = block_y(), part = (a.n + kArgmaxParts - 1) / kArgmaxParts, begin = block_x() * part,
            end = smaller(a.n, begin + part);
  const float* const logits = a.logits + static_cast<std::int64_t>(row) * a.n;
  const std::uint32_t* const allowed = a.allowed ? a.allowed + static_cast<std::int64_t>(row) * ((a.n + 31) / 32) : nullptr;
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
  const std::uint64_t best =
      best_of_block(a.scratch[static_cast<std::int64_t>(block_x()) * kArgmaxParts + thread()], shared<std::uint64_t>());
  if (thread() != 0) return;
  const int token = best == 0 ? -1 : static_cast<int>(0xFFFFFFFFu - static_cast<std::uint32_t>(best));
  a.token[block_x()] = token;
  if (a.value) a.value[block_x()] = token < 0 ? float_of(0xFF800000u) : a.logits[static_cast<std::int64_t>(block_x()) * a.n + token];
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
