// Bodies of hyper(): slices of the streams, then the mixing of each token.
#pragma once

#include "kernels/cuda/bulk.h"
#include "kernels/cuda/hyper.h"
#include "kernels/cuda/rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kSliceThreads = 256;
inline constexpr int kSliceTokens = 32;                             // of a block
inline constexpr int kSliceK = kHyperStreams * kHyperSlice;         // values of a token in a slice
inline constexpr int kSliceChunk = kSliceK / (kSliceThreads / 32);  // a warp's: 32
inline constexpr int kSliceRow = kSliceK + 4;                       // floats: rows begin in other banks
inline constexpr int kFewSliceTokens = 4;                           // up to which lanes are rows of fn, not tokens
inline constexpr int kSums = kHyperRows + 1;                        // products, then the sum of squares
constexpr int slice_shared(int tokens) {
  return (tokens * kSliceRow + kHyperRows * kSliceRow + kSliceThreads / 32 * kSums * tokens) * 4;
}
static_assert(kSliceChunk == 32);

struct alignas(16) FourFloats {
  float v[4];
};
LARES_DEVICE void load_chunk(float (&x)[kSliceChunk], const float* from) {
  LARES_UNROLL for (int i = 0; i < kSliceChunk / 4; ++i) {
    const FourFloats f = reinterpret_cast<const FourFloats*>(from)[i];
    LARES_UNROLL for (int c = 0; c < 4; ++c) x[4 * i + c] = f.v[c];
  }
}
// Thirty-two values one after the other.
LARES_DEVICE float chunk_dot(const float* w, const float (&x)[kSliceChunk]) {
  float sum = 0;
  LARES_UNROLL for (int i = 0; i < kSliceChunk / 4; ++i) {
    const FourFloats f = reinterpret_cast<const FourFloats*>(w)[i];
    LARES_UNROLL for (int c = 0; c < 4; ++c) sum = fmaf(f.v[c], x[4 * i + c], sum);
  }
  return sum;
}

// Two dims of what leaves.
struct TwoFloats {
  float v[2];
};
LARES_DEVICE TwoFloats leaving(const HyperArgs& a, std::int64_t t, int d) {
  if (a.y) {
    const std::uint32_t in = *reinterpret_cast<const std::uint32_t*>(a.y + t * a.dim + d);
    return {{bf16_value(in & 0xFFFFu), bf16_value(in >> 16)}};
  }
  const ExpertOutputs& e = a.experts;
  const std::int64_t token = e.first + t;
  const auto at = [&](std::int64_t slot) { return *reinterpret_cast<const std::uint32_t*>(e.out + slot * e.stride + d); };
  const std::uint32_t shared_one = at(static_cast<std::int64_t>(e.n_tokens) * e.k + token);
  float sum[2] = {0, 0};
  LARES_UNROLL_8 for (int i = 0; i < e.k; ++i) {
    const std::uint32_t in = at(e.slot_of[token * e.k + i]);
    sum[0] = i == 0 ? bf16_value(in & 0xFFFFu) : sum[0] + bf16_value(in & 0xFFFFu);
    sum[1] = i == 0 ? bf16_value(in >> 16) : sum[1] + bf16_value(in >> 16);
  }
  return {{bf16_rounded(sum[0] + bf16_value(shared_one & 0xFFFFu)), bf16_rounded(sum[1] + bf16_value(shared_one >> 16))}};
}

// Block (x: slice, y: tokens).
LARES_KERNEL(kSliceThreads, 2) hyper_slice_kernel(const HyperArgs a) {
  const int first = block_y() * kSliceTokens, n = smaller(kSliceTokens, a.n_tokens - first), d0 = block_x() * kHyperSlice,
            n_slices = a.dim / kHyperSlice;
  const int rows = a.head ? kHyperStreams : kHyperRows, warp = thread() / 32, lane = thread() % 32;
  float* const xs = shared<float>();
  float* const fn = xs + n * kSliceRow;
  float* const sums = fn + kHyperRows * kSliceRow;  // [chunk, kSums, n]
  if (a.fn)  // weights, which nobody writes: before the wait
    for (int i = thread(); i < rows * kSliceK / 4; i += kSliceThreads) {
      const int row = i / (kSliceK / 4), k = i % (kSliceK / 4) * 4;
      *reinterpret_cast<FourFloats*>(fn + row * kSliceRow + k) =
          *reinterpret_cast<const FourFloats*>(a.fn + (static_cast<std::int64_t>(row) * kHyperStreams + k / kHyperSlice) * a.dim + d0 + k % kHyperSlice);
    }
  wait_for_inputs();
  // Two dims of a token's streams a thread.
  for (int i = thread(); i < n * (kHyperSlice / 2); i += kSliceThreads) {
    const int token = i / (kHyperSlice / 2), d = i % (kHyperSlice / 2) * 2;
    const std::int64_t t = first + token;
    float v[kHyperStreams][2];
    std::uint32_t* at[kHyperStreams];
    LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j) {
      at[j] = reinterpret_cast<std::uint32_t*>(a.x + (t * kHyperStreams + j) * a.dim + d0 + d);
      v[j][0] = bf16_value(*at[j] & 0xFFFFu);
      v[j][1] = bf16_value(*at[j] >> 16);
    }
    if (a.y || a.experts.out) {
      const TwoFloats y = leaving(a, t, d0 + d);
      const float* const comb = a.comb + t * kHyperStreams * kHyperStreams;
      float left[kHyperStreams][2];
      LARES_UNROLL for (int k = 0; k < kHyperStreams; ++k) {
        LARES_UNROLL for (int half = 0; half < 2; ++half) {
          float m = comb[k] * v[0][half];
          LARES_UNROLL for (int j = 1; j < kHyperStreams; ++j) m = fmaf(comb[j * kHyperStreams + k], v[j][half], m);
          left[k][half] = bf16_rounded(a.post[t * kHyperStreams + k] * y.v[half] + m);
        }
      }
      LARES_UNROLL for (int k = 0; k < kHyperStreams; ++k) {
        v[k][0] = left[k][0];
        v[k][1] = left[k][1];
        *at[k] = pair(to_bf16(v[k][0]), to_bf16(v[k][1]));
      }
    }
    LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j) {
      xs[token * kSliceRow + j * kHyperSlice + d] = v[j][0];
      xs[token * kSliceRow + j * kHyperSlice + d + 1] = v[j][1];
    }
  }
  if (!a.fn) return;
  sync_block();
  const int k = warp * kSliceChunk;
  float x[kSliceChunk];
  if (n <= kFewSliceTokens) {
    for (int token = 0; token < n; ++token) {
      const float* const from = xs + token * kSliceRow + k;
      load_chunk(x, from);
      if (lane < rows) sums[(warp * kSums + lane) * n + token] = chunk_dot(fn + lane * kSliceRow + k, x);
      if (lane == 31) sums[(warp * kSums + kHyperRows) * n + token] = chunk_dot(from, x);
    }
  } else if (lane < n) {
    const float* const from = xs + lane * kSliceRow + k;
    load_chunk(x, from);
    for (int row = 0; row < rows; ++row) sums[(warp * kSums + row) * n + lane] = chunk_dot(fn + row * kSliceRow + k, x);
    sums[(warp * kSums + kHyperRows) * n + lane] = chunk_dot(from, x);
  }
  sync_block();
  for (int i = thread(); i < n * kSums; i += kSliceThreads) {
    const int token = i / kSums, row = i % kSums;
    if (row >= rows && row < kHyperRows) continue;
    float sum = sums[row * n + token];
    for (int c = 1; c < kSliceThreads / 32; ++c) sum = sum + sums[(c * kSums + row) * n + token];
    a.partial[((first + token) * static_cast<std::int64_t>(n_slices) + block_x()) * kSums + row] = sum;
  }
}

// Mixing weights, input and norm of a token. The last warp does what only the next boundary needs, beside the others.
inline constexpr int kMixThreads = 512;
inline constexpr int kMixPieces = (kHyperDimMax + 4 * kMixThreads - 1) / (4 * kMixThreads);  // of four dims, that a thread has
constexpr int mix_shared(int dim) { return (dim / kHyperSlice * kSums + kSums + kHyperStreams + kMixThreads / 32 + 4) * 4; }

LARES_KERNEL(kMixThreads + 32, 1) hyper_mix_kernel(const HyperArgs a) {
  wait_for_inputs();
  constexpr int S = kHyperStreams;
  const std::int64_t t = block_x();
  const int n_slices = a.dim / kHyperSlice, rows = a.head ? S : kHyperRows, lane = thread() % 32, d0 = 4 * thread();
  const bool mixes_streams = thread() < kMixThreads;
  float* const partial = shared<float>();  // [n_slices, kSums]
  float* const mixes = partial + n_slices * kSums;  // [24] before scale and base, [24]: the root
  float* const pre = mixes + kSums;
  float* const squares = pre + S;
  // Everything that is read is on its way before anything waits for it.
  Vec8 in[kMixPieces][S];
  FourFloats norm[kMixPieces];
  if (mixes_streams) {
    LARES_UNROLL for (int i = 0; i < kMixPieces; ++i)
      if (const int d = d0 + 4 * kMixThreads * i; d < a.dim) {
        LARES_UNROLL for (int j = 0; j < S; ++j) in[i][j] = *reinterpret_cast<const Vec8*>(a.x + (t * S + j) * a.dim + d);
        norm[i] = *reinterpret_cast<const FourFloats*>(a.norm + d);
      }
  }
  for (int i = thread(); i < n_slices * kSums; i += kMixThreads + 32) partial[i] = a.partial[t * n_slices * kSums + i];
  sync_block();
  if (thread() < kSums && (thread() < rows || thread() == kHyperRows)) {
    float sum = 0;
    LARES_UNROLL_8 for (int s = 0; s < n_slices; ++s) sum = sum + partial[s * kSums + thread()];
    mixes[thread()] = thread() < kHyperRows ? sum : rms_root(sum, S * a.dim, a.norm_eps);
  }
  sync_block();
  const auto mix = [&](int row, int scale) { return mixes[row] / mixes[kHyperRows] * a.scale[scale] + a.base[row]; };
  if (thread() < S) pre[thread()] = sigmoid(mix(thread(), 0)) + a.eps;
  sync_block();
  float v[kMixPieces][4];
  if (!mixes_streams) {
    if (!a.head) {
      // Lane 4 j + k has comb[j][k]; lanes beyond 15 do the same again.
      const int at = lane % 16, j = at / S, k = at % S;
      float m = mix(2 * S + at, 2), top = shuffle_from(m, j * S);
      LARES_UNROLL for (int i = 1; i < S; ++i) top = max2(top, shuffle_from(m, j * S + i));
      m = exponential(m - top);
      float total = 0;
      LARES_UNROLL for (int i = 0; i < S; ++i) total = total + shuffle_from(m, j * S + i);
      m = m / total + a.eps;
      for (int iter = 0; iter < a.iters; ++iter) {
        if (iter > 0) {
          total = shuffle_from(m, j * S);
          LARES_UNROLL for (int i = 1; i < S; ++i) total = total + shuffle_from(m, j * S + i);
          m = m / (total + a.eps);
        }
        total = shuffle_from(m, k);
        LARES_UNROLL for (int i = 1; i < S; ++i) total = total + shuffle_from(m, i * S + k);
        m = m / (total + a.eps);
      }
      if (lane < 16) a.comb[t * S * S + at] = m;
      if (lane < S) a.post[t * S + lane] = 2.0f * sigmoid(mix(S + lane, 1));
    }
  } else {
    float acc = 0;
    LARES_UNROLL for (int i = 0; i < kMixPieces; ++i)
      if (const int d = d0 + 4 * kMixThreads * i; d < a.dim) {
        LARES_UNROLL for (int c = 0; c < 4; ++c) {
          float x = 0;
          LARES_UNROLL for (int j = 0; j < S; ++j) {
            const float own = bf16_value(in[i][j].w[c / 2] >> c % 2 * 16 & 0xFFFFu);
            x = j == 0 ? pre[0] * own : x + pre[j] * own;
          }
          v[i][c] = bf16_rounded(x);
          acc = fmaf(v[i][c], v[i][c], acc);
        }
        if (a.entered)
          *reinterpret_cast<Vec8*>(a.entered + t * a.dim + d) =
              Vec8{{pair(to_bf16(v[i][0]), to_bf16(v[i][1])), pair(to_bf16(v[i][2]), to_bf16(v[i][3]))}};
      }
    for (int mask = 16; mask > 0; mask /= 2) acc = acc + shuffle_xor(acc, mask);
    if (lane == 0) squares[thread() / 32] = acc;
    // Not the last warp: it has no part in what follows.
    sync_some(1, kMixThreads);
    float total = 0;
    LARES_UNROLL for (int w = 0; w < kMixThreads / 32; ++w) total = total + squares[w];
    const float root = rms_root(total, a.dim, a.rms_eps);
    LARES_UNROLL for (int i = 0; i < kMixPieces; ++i) {
      const int d = d0 + 4 * kMixThreads * i;
      if (d - 4 * lane >= a.dim) continue;  // the whole warp
      const bool inside = d < a.dim;
      float y[4] = {0, 0, 0, 0};
      LARES_UNROLL for (int c = 0; c < 4; ++c)
        if (inside) y[c] = bf16_rounded(v[i][c] / root * norm[i].v[c]);
      if (inside)
        *reinterpret_cast<Vec8*>(a.normed + t * a.dim + d) =
            Vec8{{pair(to_bf16(y[0]), to_bf16(y[1])), pair(to_bf16(y[2]), to_bf16(y[3]))}};
      if (a.codes) quantise_block(y, inside, a.codes + t * a.dim + d, a.code_scale + t * ((a.dim + 127) / 128) + d / 128);
    }
  }
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
