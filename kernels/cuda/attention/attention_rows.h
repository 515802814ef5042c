// What queries() and put_window() do with their rows.
#pragma once

#include "kernels/cuda/norm.h"
#include "kernels/cuda/rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kRowThreads = 128;

// A warp's heads from `first` on, at most four: eight lanes sum each, as the CPU does.
inline constexpr int kHeadPad = 8;
LARES_DEVICE void turn_queries(const QueryArgs& a, std::int64_t first, int n, float* heads) {
  const int lane = thread() % 32, width = a.head_dim + kHeadPad, pairs = a.rope_dim / 2,
            plain = a.head_dim - a.rope_dim, words = a.head_dim / 2;
  auto* const q = reinterpret_cast<std::uint32_t*>(a.q + first * a.head_dim);
  for (int h = 0; h < n; ++h) LARES_UNROLL_8 for (int i = lane; i < words; i += 32) {
      const std::uint32_t v = q[h * words + i];
      heads[h * width + 2 * i] = bf16_value(v & 0xFFFFu);
      heads[h * width + 2 * i + 1] = bf16_value(v >> 16);
    }
  sync_warp();
  float acc = 0;
  if (lane / 8 < n) LARES_UNROLL_8 for (int i = lane % 8; i < a.head_dim; i += 8) {
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
      float v0 = bf16_rounded(heads[h * width + c] * factor),
            v1 = bf16_rounded(heads[h * width + c + 1] * factor);
      if (c >= plain) {
        turn(v0, v1, angles[c - plain], angles[c - plain + 1]);
        v0 = bf16_rounded(v0);
        v1 = bf16_rounded(v1);
      }
      q[h * words + i] = pair(to_bf16(flushed(v0)), to_bf16(flushed(v1)));
    }
  }
}

struct Angle {
  double cosine, sine;
};
// By which a lane turns its first pair.
LARES_DEVICE Angle query_angle(const QueryArgs& a, int head, int i) {
  if (i >= a.rope_dim / 2) return {};
  const double* const at = a.rope + static_cast<std::int64_t>(head / a.n_heads) * a.rope_dim +
                           2 * i;
  return {at[0], at[1]};
}
// A warp's head, with the same sums, and a lane a pair of what is turned; row [head_dim], next:
// query_angle() of this lane.
LARES_DEVICE void turn_query(const QueryArgs& a, int head, Angle next, float* row) {
  constexpr int kPairs = 8;  // of a lane: head_dim at most 512
  const int lane = thread() % 32, pairs = a.head_dim / 2, turned = a.rope_dim / 2,
            plain = pairs - turned;
  auto* const q =
      reinterpret_cast<std::uint32_t*>(a.q + static_cast<std::int64_t>(head) * a.head_dim);
  std::uint32_t own[kPairs];
  LARES_UNROLL for (int i = 0; i < kPairs; ++i) if (const int p = lane + 32 * i; p < pairs)
      own[i] = q[p];
  LARES_UNROLL for (int i = 0; i < kPairs; ++i) if (const int p = lane + 32 * i; p < pairs) {
    const float v0 = bf16_value(own[i] & 0xFFFFu), v1 = bf16_value(own[i] >> 16);
    *reinterpret_cast<TwoFloats*>(row + 2 * p) = {{bf16_rounded(v0 * v0), bf16_rounded(v1 * v1)}};
  }
  sync_warp();
  float acc = 0;
  LARES_UNROLL_8 for (int i = lane % 8; i < a.head_dim; i += 8) acc = acc + row[i];
  const float mean = bf16_rounded(fold_lanes(acc) / static_cast<float>(a.head_dim));
  const float factor = bf16_rounded(1.0f / sqrtf(bf16_rounded(mean + a.eps)));
  sync_warp();
  LARES_UNROLL for (int i = 0; i < kPairs; ++i) if (const int p = lane + 32 * i; p < pairs) {
    const float v0 = bf16_rounded(bf16_value(own[i] & 0xFFFFu) * factor),
                v1 = bf16_rounded(bf16_value(own[i] >> 16) * factor);
    if (p < plain)
      q[p] = pair(to_bf16(flushed(v0)), to_bf16(flushed(v1)));
    else
      *reinterpret_cast<TwoFloats*>(row + 2 * p) = {{v0, v1}};
  }
  sync_warp();
  LARES_ROLLED for (int i = lane; i < turned; i += 32) {
    const Angle now = next;
    next = query_angle(a, head, i + 32);
    TwoFloats v = *reinterpret_cast<const TwoFloats*>(row + 2 * (plain + i));
    turn(v.v[0], v.v[1], now.cosine, now.sine);
    q[plain + i] = pair(to_bf16(flushed(bf16_rounded(v.v[0]))),
                        to_bf16(flushed(bf16_rounded(v.v[1]))));
  }
}

// A block a token, of any number of warps. In a chunk longer than the ring only its last rows have
// a place.
LARES_DEVICE void put_window_row(const WindowArgs& a, int t, const TokenPlace& place, float* row) {
  const int pairs = a.rope_dim / 2, plain = a.head_dim - a.rope_dim, n = threads();
  if (t + a.window_capacity < place.part.begin + place.part.n) return;
  for (int i = 2 * thread(); i < a.head_dim; i += 2 * n) {
    const std::uint32_t v = *reinterpret_cast<const std::uint32_t*>(
        a.kv + static_cast<std::int64_t>(t) * a.head_dim + i);
    row[i] = bf16_value(v & 0xFFFFu);
    row[i + 1] = bf16_value(v >> 16);
  }
  sync_block();
  // Each warp for itself
  const float root = rms_root(sum_of_squares(row, a.head_dim), a.head_dim, a.eps);
  sync_block();
  for (int i = 2 * thread(); i < a.head_dim; i += 2 * n) {
    float v0 = bf16_rounded(row[i] / root * a.norm[i]),
          v1 = bf16_rounded(row[i + 1] / root * a.norm[i + 1]);
    if (i >= plain) {
      const double* const angle = a.rope +
                                  (static_cast<std::int64_t>(t) * pairs + (i - plain) / 2) * 2;
      turn(v0, v1, angle[0], angle[1]);
      v0 = bf16_rounded(v0);
      v1 = bf16_rounded(v1);
    }
    row[i] = v0;
    row[i + 1] = v1;
  }
  sync_block();
  const int plain_bytes = (plain + plain / 64 + 7) / 8 * 8,
            bytes = (plain_bytes + 2 * a.rope_dim + 7) / 8 * 8;
  put_cell(row, a.head_dim, a.rope_dim,
           place.part.window + place.position % a.window_capacity * bytes, thread() / 32, n / 32);
}
}  // namespace lares::kernels::cuda::inline LARES_SIDE
