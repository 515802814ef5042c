// Bodies of hyper() for many tokens, with few tokens' bits. Both are bound by what an SM issues and
// reads from shared memory, so that products use what they read several times and everything that
// is loaded is on its way at once.
#pragma once

#include "kernels/cuda/hyper/hyper_kernels.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// ---- A slice of 32 tokens. Shared memory, floats: the tokens' slices, fn's, sums of chunks
// [chunk, kSums, tokens], post and comb.

inline constexpr int kManyTokens = 32;  // of a block
// Odd, so that rows of sums lie in different banks
inline constexpr int kManySum = kManyTokens + 1;
inline constexpr int kManyMix = 5 * kHyperStreams;  // post and comb of a token
// Of a thread: two dims of a token
inline constexpr int kManyItems = kManyTokens * (kHyperSlice / 2) / kSliceThreads;
static_assert(kManyItems * kSliceThreads == kManyTokens * (kHyperSlice / 2) &&
              kHyperSlice / 2 == 32 && kSliceChunks == kSliceThreads / 32);
constexpr int slice_many_shared() {
  return (kManyTokens * kSliceRow + kHyperRows * kSliceRow + kSliceChunks * kSums * kManySum +
          kManyTokens * kManyMix) *
         4;
}

// A warp's chunk of all tokens: a lane has tokens lane % 8 + 8 j and six rows of fn, from row
// 6 (lane / 8) on, so that a value of fn is read for four tokens, one of a token for six rows, and
// sums go to banks of their own but for two of them. Sums are chunk_dot()'s.
LARES_DEVICE void multiply_chunk(const float* xs, const float* fn, float* sums, int rows) {
  constexpr int kEach = kHyperRows / 4, kPart = kSliceChunk / 2;
  const int lane = thread() % 32, first_row = lane / 8 * kEach, first = lane % 8;
  float acc[kEach][4] = {};
  LARES_UNROLL for (int k = 0; k < kSliceChunk; k += kPart) {
    float x[4][kPart];
    LARES_UNROLL for (int j = 0; j < 4; ++j) LARES_UNROLL for (int i = 0; i < kPart; i += 4) {
      const FourFloats f =
          *reinterpret_cast<const FourFloats*>(xs + (first + 8 * j) * kSliceRow + k + i);
      LARES_UNROLL for (int c = 0; c < 4; ++c) x[j][i + c] = f.v[c];
    }
    LARES_UNROLL for (int e = 0; e < kEach; ++e) if (first_row + e < rows)
        LARES_UNROLL for (int i = 0; i < kPart; i += 4) {
      const FourFloats f =
          *reinterpret_cast<const FourFloats*>(fn + (first_row + e) * kSliceRow + k + i);
      LARES_UNROLL for (int c = 0; c < 4; ++c) LARES_UNROLL for (int j = 0; j < 4; ++j)
          acc[e][j] = fmaf(f.v[c], x[j][i + c], acc[e][j]);
    }
  }
  LARES_UNROLL for (int e = 0; e < kEach; ++e) if (first_row + e < rows)
      LARES_UNROLL for (int j = 0; j < 4; ++j)
          sums[(first_row + e) * kManySum + first + 8 * j] = acc[e][j];
  float x[kSliceChunk];
  const float* const own = xs + lane * kSliceRow;
  load_chunk(x, own);
  sums[kHyperRows * kManySum + lane] = chunk_dot(own, x);
}

// Block (x: slice, y: tokens). What is read before the wait is hyper.h's.
LARES_KERNEL(kSliceThreads, 2) hyper_slice_many_kernel(const HyperArgs a) {
  const int d0 = block_x() * kHyperSlice, n_slices = a.dim / kHyperSlice,
            rows = a.head ? kHyperStreams : kHyperRows, warp = thread() / 32, lane = thread() % 32;
  const std::int64_t first = static_cast<std::int64_t>(block_y()) * kManyTokens;
  const int n = smaller(kManyTokens, a.n_tokens - static_cast<int>(first)), d = d0 + 2 * lane;
  float* const xs = shared<float>();
  float* const fn = xs + kManyTokens * kSliceRow;
  float* const sums = fn + kHyperRows * kSliceRow;
  float* const mix = sums + kSliceChunks * kSums * kManySum;  // [tokens, kManyMix] post, then comb
  if (a.fn) {
    constexpr int kAtOnce = kSliceThreads / (kSliceK / 4);  // rows
    const int k = thread() % (kSliceK / 4) * 4, row0 = thread() / (kSliceK / 4);
    const float* from =
        a.fn + (static_cast<std::int64_t>(row0) * kHyperStreams + k / kHyperSlice) * a.dim + d0 +
        k % kHyperSlice;
    LARES_UNROLL_2 for (int row = row0; row < rows; row += kAtOnce) {
      copy_later<16>(fn + row * kSliceRow + k, from);
      from += static_cast<std::int64_t>(kAtOnce * kHyperStreams) * a.dim;
    }
  }
  const bool leaves = a.y || a.experts.out;
  std::uint32_t x[kManyItems][kHyperStreams], y[kManyItems];
  const auto load_streams = [&] {
    LARES_UNROLL for (int i = 0; i < kManyItems;
                      ++i) if (const int token = warp + kSliceThreads / 32 * i; token < n)
        LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j)
            x[i][j] = *stream_at(a, first + token, j, d);
  };
  if (leaves) {
    load_streams();
    if (thread() < n * 5) {
      const std::int64_t token = first + thread() / 5;
      const int piece = thread() % 5;
      copy_later<16>(mix + 4 * thread(),
                     piece == 0 ? a.post + token * kHyperStreams
                                : a.comb + (token * kHyperStreams + piece - 1) * kHyperStreams);
    }
  }
  wait_for_inputs();
  if (!leaves) load_streams();
  if (a.y)
    LARES_UNROLL for (int i = 0; i < kManyItems;
                      ++i) if (const int token = warp + kSliceThreads / 32 * i; token < n)
        y[i] = *reinterpret_cast<const std::uint32_t*>(a.y + (first + token) * a.dim + d);
  finish_copies();
  sync_block();
  LARES_UNROLL for (int i = 0; i < kManyItems; ++i) {
    const int token = warp + kSliceThreads / 32 * i;
    if (token >= n) break;
    const std::int64_t t = first + token;
    float v[kHyperStreams][2];
    two_dims(x[i], v);
    if (leaves) {
      const auto* const by = reinterpret_cast<const FourFloats*>(mix + token * kManyMix);
      const FourFloats post = by[0], comb[kHyperStreams] = {by[1], by[2], by[3], by[4]};
      take_along(v, comb, post,
                 a.y ? TwoFloats{{bf16_value(y[i] & 0xFFFFu), bf16_value(y[i] >> 16)}}
                     : leaving(a, t, d, slots_of(a, t, 0)));
      LARES_UNROLL for (int k = 0; k < kHyperStreams; ++k) *
          stream_at(a, t, k, d) = upper_halves(v[k][0], v[k][1]);
    }
    LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j) *
        reinterpret_cast<TwoFloats*>(xs + token * kSliceRow + j * kHyperSlice +
                                     2 * lane) = {{v[j][0], v[j][1]}};
  }
  if (!a.fn) return;
  sync_block();
  multiply_chunk(xs + warp * kSliceChunk, fn + warp * kSliceChunk, sums + warp * kSums * kManySum,
                 rows);
  sync_block();
  if (lane >= kSums || (lane >= rows && lane < kHyperRows)) return;
  for (int token = warp; token < n; token += kSliceThreads / 32) {  // a lane a row
    float sum = sums[lane * kManySum + token];
    LARES_UNROLL for (int c = 1; c < kSliceChunks; ++c)
        sum = sum + sums[(c * kSums + lane) * kManySum + token];
    a.partial[((first + token) * n_slices + block_x()) * kSums + lane] = sum;
  }
}

// ---- Mixing: a block a token, of so few threads that several share an SM. Shared memory: as few
// tokens', then the norm's weights [dim] f32 and the streams [4, dim] bf16; what enters takes the
// place of the first two of these. A thread reads what it wrote.

inline constexpr int kMixManyThreads = 256;
constexpr int mix_many_shared(int dim) { return (kMixShared + 3 * dim) * 4; }
LARES_KERNEL(kMixManyThreads + 32, 4) hyper_mix_many_kernel(const HyperArgs a) {
  constexpr int S = kHyperStreams;
  const RowScale row = row_scale(a);
  const std::int64_t t = a.n_tokens - 1 - block_x();  // the last are still in L2
  const int lane = thread() % 32;
  const bool mixes_streams = thread() < kMixManyThreads;
  float* const groups = shared<float>();
  float* const squares = groups + kHyperGroups * kSums;
  float* const norm = groups + kMixShared;
  auto* const streams = reinterpret_cast<std::uint16_t*>(norm + a.dim);
  if (mixes_streams)
    for (int d = 4 * thread(); d < a.dim; d += 4 * kMixManyThreads)
      copy_later<16>(norm + d, a.norm + d);
  wait_for_inputs();
  if (mixes_streams) {
    for (int d = 4 * thread(); d < a.dim; d += 4 * kMixManyThreads)
      LARES_UNROLL for (int j = 0; j < S; ++j)
          copy_later<8>(streams + j * a.dim + d, a.x + (t * S + j) * a.dim + d);
    sum_groups<kMixManyThreads>(a, t, groups);
  }
  sync_block();
  const float mix = mix_of_lane(a, groups, row);
  if (!mixes_streams) {
    if (!a.head) leave_mixes(a, t, mix);
    return;
  }
  const float own = sigmoid(mix) + a.eps;
  float pre[S];
  LARES_UNROLL for (int j = 0; j < S; ++j) pre[j] = shuffle_from(own, j);
  finish_copies();
  for (int d = 4 * thread(); d - 4 * lane < a.dim; d += 4 * kMixManyThreads) {
    Vec8 in[S];
    float v[4], squared = 0;
    if (d < a.dim) {
      LARES_UNROLL for (int j = 0; j < S; ++j)
          in[j] = *reinterpret_cast<const Vec8*>(streams + j * a.dim + d);
      squared = mix_streams(in, pre, v);
      LARES_UNROLL for (int j = 0; j < 2; ++j) *
          reinterpret_cast<TwoFloats*>(streams + j * a.dim + d) = {{v[2 * j], v[2 * j + 1]}};
      if (a.entered) *reinterpret_cast<Vec8*>(a.entered + t * a.dim + d) = four_halves(v);
    }
    squared = sum_of_slice(squared);
    if (lane % 16 == 0 && d < a.dim) squares[d / kHyperSlice] = squared;
  }
  sync_some(1, kMixManyThreads);
  const float root = squares_root(a, squares);
  for (int d = 4 * thread(); d - 4 * lane < a.dim; d += 4 * kMixManyThreads) {
    float v[4] = {0, 0, 0, 0};
    FourFloats w = {};
    if (d < a.dim) {
      LARES_UNROLL for (int j = 0; j < 2; ++j) {
        const TwoFloats two = *reinterpret_cast<const TwoFloats*>(streams + j * a.dim + d);
        v[2 * j] = two.v[0];
        v[2 * j + 1] = two.v[1];
      }
      w = *reinterpret_cast<const FourFloats*>(norm + d);
    }
    put_normed(a, t, d, v, root, w);
  }
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
