// What queries() and put_window() do with their rows.
#pragma once

#include "kernels/cuda/norm.h"
#include "kernels/cuda/rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kRowThreads = 128;

// A warp's heads from `first` on, at most four: eight lanes sum each, as the CPU does.
inline constexpr int kHeadPad = 8;
LARES_DEVICE void turn_queries(const QueryArgs& a, std::int64_t first, int n, float* heads) {
  const int lane = thread() % 32, width = a.head_dim + kHeadPad, pairs = a.rope_dim / 2, plain = a.head_dim - a.rope_dim, words = a.head_dim / 2;
  auto* const q = reinterpret_cast<std::uint32_t*>(a.q + first * a.head_dim);
  for (int h = 0; h < n; ++h)
    LARES_UNROLL_8 for (int i = lane; i < words; i += 32) {
      const std::uint32_t v = q[h * words + i];
      heads[h * width + 2 * i] = bf16_value(v & 0xFFFFu);
      heads[h * width + 2 * i + 1] = bf16_value(v >> 16);
    }
  sync_warp();
  float acc = 0;
  if (lane / 8 < n)
    LARES_UNROLL_8 for (int i = lane % 8; i < a.head_dim; i += 8) {
      const float v = heads[lane / 8 * width + i];
      acc = acc + bf16_rounded(v * v);
    }
  const float mean = bf16_rounded(fold_lanes(acc) / static_cast<float>(a.head_dim));
  const float mine = bf16_rounded(1.0f / sqrtf(bf16_rounded(mean + a.eps)));
  for (int h = 0; h < n; ++h) {
    const float factor = shuffle_from(mine, 8 * h);
    const double* const angles = a.rope + (first + h) / a.n_heads * pairs * 2;
    LARES_ROLLED for (int i = lane; i < words; i += 32) {
      const int c = 2 * i;
      float v0 = bf16_rounded(heads[h * width + c] * factor), v1 = bf16_rounded(heads[h * width + c + 1] * factor);
      if (c >= plain) {
        turn(v0, v1, angles[c - plain], angles[c - plain + 1]);
        v0 = bf16_rounded(v0);
        v1 = bf16_rounded(v1);
      }
      q[h * words + i] = pair(to_bf16(flushed(v0)), to_bf16(flushed(v1)));
    }
  }
}

// A block a token, of any number of warps. In a chunk longer than the ring only its last rows have a place.
LARES_DEVICE void put_window_row(const WindowArgs& a, int t, float* row) {
  const int pairs = a.rope_dim / 2, plain = a.head_dim - a.rope_dim, n = threads();
  const Part& part = a.places.parts[a.places.part[t]];
  if (t + a.window_capacity < part.begin + part.n) return;
  std::uint8_t* const window = part.window;
  const std::int64_t position = a.places.position[t];
  for (int i = 2 * thread(); i < a.head_dim; i += 2 * n) {
    const std::uint32_t v = *reinterpret_cast<const std::uint32_t*>(a.kv + static_cast<std::int64_t>(t) * a.head_dim + i);
    row[i] = bf16_value(v & 0xFFFFu);
    row[i + 1] = bf16_value(v >> 16);
  }
  sync_block();
  const float root = rms_root(sum_of_squares(row, a.head_dim), a.head_dim, a.eps);  // each warp for itself
  sync_block();
  for (int i = 2 * thread(); i < a.head_dim; i += 2 * n) {
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
  sync_block();
  const int plain_bytes = (plain + plain / 64 + 7) / 8 * 8, bytes = (plain_bytes + 2 * a.rope_dim + 7) / 8 * 8;
  put_cell(row, a.head_dim, a.rope_dim, window + position % a.window_capacity * bytes, thread() / 32, n / 32);
}
}  // namespace lares::kernels::cuda::inline LARES_SIDE
