// Bodies of draft_rows() and add_to_streams(). Eight values a thread.
#pragma once

#include "kernels/cuda/draft_rows.h"
#include "kernels/cuda/rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kDraftThreads = 256;
constexpr int draft_blocks(int values) { return (values / 8 + kDraftThreads - 1) / kDraftThreads; }

LARES_DEVICE float half_of(const Vec16& v, int i) {
  return bf16_value(v.w[i / 2] >> i % 2 * 16 & 0xFFFFu);
}
LARES_DEVICE Vec16 eight_halves(const float (&v)[8]) {
  return {{pair(to_bf16(v[0]), to_bf16(v[1])), pair(to_bf16(v[2]), to_bf16(v[3])),
           pair(to_bf16(v[4]), to_bf16(v[5])), pair(to_bf16(v[6]), to_bf16(v[7]))}};
}

// Block (x: token, y: values). The host's addresses are copied before any launch of a step.
LARES_KERNEL(kDraftThreads, 4) draft_rows_kernel(const DraftRowsArgs a) {
  bf16* const row = a.row[block_x()];
  wait_for_inputs();
  const int values = a.what == DraftRows::keep_means ? a.dim : a.n_streams * a.dim,
            k = 8 * (block_y() * kDraftThreads + thread());
  if (!row || k >= values) return;
  auto* const x = reinterpret_cast<Vec16*>(
      a.x + static_cast<std::int64_t>(block_x()) * a.n_streams * a.dim + k);
  auto* const kept = reinterpret_cast<Vec16*>(row + a.offset + k);
  if (a.what == DraftRows::recall) {
    *x = *kept;
  } else if (a.what == DraftRows::keep) {
    *kept = *x;
  } else {
    float sum[8];
    LARES_UNROLL for (int i = 0; i < 8; ++i) sum[i] = half_of(*x, i);
    for (int s = 1; s < a.n_streams; ++s) {
      const Vec16 more = x[static_cast<std::int64_t>(s) * (a.dim / 8)];
      LARES_UNROLL for (int i = 0; i < 8; ++i) sum[i] = sum[i] + half_of(more, i);
    }
    LARES_UNROLL for (int i = 0; i < 8; ++i) sum[i] = sum[i] / static_cast<float>(a.n_streams);
    *kept = eight_halves(sum);
  }
}

// Block (x: token, y: values of a stream).
LARES_KERNEL(kDraftThreads, 4) add_to_streams_kernel(const AddToStreamsArgs a) {
  wait_for_inputs();
  const int k = 8 * (block_y() * kDraftThreads + thread());
  if (k >= a.dim) return;
  const Vec16 y =
      *reinterpret_cast<const Vec16*>(a.y + static_cast<std::int64_t>(block_x()) * a.dim + k);
  for (int s = 0; s < a.n_streams; ++s) {
    auto* const x = reinterpret_cast<Vec16*>(
        a.x + (static_cast<std::int64_t>(block_x()) * a.n_streams + s) * a.dim + k);
    const Vec16 in = *x;
    float sum[8];
    LARES_UNROLL for (int i = 0; i < 8; ++i) sum[i] = half_of(y, i) + half_of(in, i);
    *x = eight_halves(sum);
  }
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
