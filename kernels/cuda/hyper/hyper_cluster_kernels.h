// Body of hyper() for one token by a cluster, with the other forms' bits. A block has the dims of
// one group of slices from what leaves to what is normed, in its shared memory; what depends on all
// dims, 25 sums of a group and the slices' squares, every block tells every other one. So nothing
// goes through memory and back, at the price that few SMs read fn, which is on its way since before
// the wait.
#pragma once

#include <bit>

#include "kernels/cuda/simt/cluster.h"
#include "kernels/cuda/hyper/hyper_kernels.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kClusterWarps = kHyperGroups;  // each tells one block of the sums
inline constexpr int kClusterThreads = 32 * kClusterWarps;
inline constexpr int kThreadsOfStream = kClusterThreads / kHyperStreams;  // that a stream has
inline constexpr int kHeldChunks = 2;  // of a warp: fn in registers, rather than read after x
inline constexpr int kSquaresLane = 31;
inline constexpr int kWarpDims = 4 * 32;  // of a warp whose lanes have four each

constexpr int cluster_dims(int dim) { return slices_of_group(dim / kHyperSlice) * kHyperSlice; }
constexpr int cluster_blocks(int dim) {
  const int dims = cluster_dims(dim);
  return static_cast<int>(std::bit_ceil(static_cast<unsigned>((dim + dims - 1) / dims)));
}
// Shared memory, floats: fn [24, 4 dims + 4], the streams [4, dims], sums of chunks [chunk, kSums];
// then what comes from other blocks: groups' sums [16, kSums], slices' squares.
constexpr int cluster_shared(int dim) {
  const int values = kHyperStreams * cluster_dims(dim);
  return (kHyperRows * (values + 4) + values + values / kSliceChunk * kSums + kMixShared) * 4;
}
inline constexpr int kClusterDimsMax = kGroupSlicesMax * kHyperSlice;
inline constexpr int kLeavePairs = kClusterDimsMax / 2 / kThreadsOfStream;  // of a thread
inline constexpr int kChunksEach = kHyperStreams * kClusterDimsMax / kSliceChunk / kClusterWarps;
static_assert(kLeavePairs * 2 * kThreadsOfStream == kClusterDimsMax && kThreadsOfStream % 32 == 0);

constexpr int mixing_warps(int n) { return (n + kWarpDims - 1) / kWarpDims; }
static_assert(mixing_warps(kClusterDimsMax) < kClusterWarps);
// A block's streams, by the warps that mix nothing: after what others wait for, which a fence would
// have wait for this.
LARES_DEVICE void put_streams(const HyperArgs& a, const float* xs, int dims, int d0, int n) {
  const int others = mixing_warps(n), lane = thread() % 32;
  for (int i = thread() / 32 - others; i < kHyperStreams * others; i += kClusterWarps - others) {
    const int k = i % kHyperStreams, d = i / kHyperStreams * kWarpDims + 4 * lane;
    if (d >= n) continue;
    const FourFloats f = *reinterpret_cast<const FourFloats*>(xs + k * dims + d);
    *reinterpret_cast<Vec8*>(stream_at(a, 0, k, d0 + d)) = four_halves(f.v);
  }
}

LARES_KERNEL(kClusterThreads, 1) hyper_cluster_kernel(const HyperArgs a) {
  constexpr int S = kHyperStreams;
  arrive_cluster_with_nothing();  // has begun
  const int dims = cluster_dims(a.dim), row = S * dims + 4, rank = cluster_rank(), d0 = rank * dims,
            n = larger(0, smaller(dims, a.dim - d0)), rows = a.head ? S : kHyperRows;
  const int warp = thread() / 32, lane = thread() % 32;
  float* const fn = shared<float>();
  float* const xs = fn + kHyperRows * row;
  float* const sums = xs + S * dims;
  float* const groups = sums + S * dims / kSliceChunk * kSums;
  float* const squares = groups + kHyperGroups * kSums;
  for (int i = warp; i < rows * S; i += kClusterWarps)
    for (int d = 4 * lane; d < n; d += kWarpDims)
      copy_later<16>(fn + i / S * row + i % S * dims + d,
                     a.fn + static_cast<std::int64_t>(i) * a.dim + d0 + d);
  const RowScale scale = row_scale(a);
  const int d_mix = 4 * thread();  // of which a thread mixes four, where that is within n
  const bool mixes = warp < mixing_warps(n);
  FourFloats norm = {};
  if (d_mix < n) norm = *reinterpret_cast<const FourFloats*>(a.norm + d0 + d_mix);

  // A stream's new values a quarter of the threads. What is read before the wait is hyper.h's.
  const bool leaves = a.y || a.experts.out;
  const int k = thread() / kThreadsOfStream;
  std::uint32_t x[kLeavePairs][S];
  Leaving y[kLeavePairs];
  const auto each_pair = [&](auto&& f) {
    LARES_UNROLL for (int i = 0; i < kLeavePairs;
                      ++i) if (const int d = 2 *
                                             (thread() % kThreadsOfStream + kThreadsOfStream * i);
                               d < n) f(i, d);
  };
  const auto load_streams = [&](int i, int d) {
    LARES_UNROLL for (int j = 0; j < S; ++j) x[i][j] = *stream_at(a, 0, j, d0 + d);
  };
  float by[S], post = 0;
  Slots slots = {};
  if (leaves) {
    each_pair(load_streams);
    LARES_UNROLL for (int j = 0; j < S; ++j) by[j] = a.comb[S * j + k];
    post = a.post[k];
    slots = slots_of(a, 0, 0);
  }
  wait_for_inputs();
  if (!leaves) each_pair(load_streams);
  if (leaves) each_pair([&](int i, int d) { y[i] = ask_leaving(a, 0, d0 + d, slots); });
  finish_copies();
  sync_block();  // fn is there
  const int chunks = S * n / kSliceChunk;
  // Chunk c is the half c % 2 of stream c / 2 % S in slice c / 2 S.
  const auto chunk_at = [&](int c) {
    return c / 2 % S * dims + c / (2 * S) * kHyperSlice + c % 2 * kSliceChunk;
  };
  const float* const own_row = fn + (lane < rows ? lane : 0) * row;
  float held[kHeldChunks][kSliceChunk];
  LARES_UNROLL for (int e = 0; e < kHeldChunks; ++e) if (const int c = warp + kClusterWarps * e;
                                                         c < chunks)
      load_chunk(held[e], own_row + chunk_at(c));
  each_pair([&](int i, int d) {
    float v[S][2];
    two_dims(x[i], v);
    float own[2] = {0, 0};
    LARES_UNROLL for (int j = 0; j < S; ++j)
        LARES_UNROLL for (int half = 0; half < 2; ++half) if (j == k) own[half] = v[j][half];
    if (leaves) {
      const TwoFloats left = leaving(a, 0, d0 + d, y[i]);
      LARES_UNROLL for (int half = 0; half < 2; ++half) {
        float in[S];
        LARES_UNROLL for (int j = 0; j < S; ++j) in[j] = v[j][half];
        own[half] = taken_along(in, by, post, left.v[half]);
      }
    }
    *reinterpret_cast<TwoFloats*>(xs + k * dims + d) = {{own[0], own[1]}};
  });
  sync_block();

  // A chunk a warp, a row of fn a lane.
  LARES_UNROLL for (int e = 0; e < kChunksEach; ++e) {
    const int c = warp + kClusterWarps * e;
    if (c >= chunks) break;
    const float* const from = xs + chunk_at(c);
    float w[kSliceChunk];
    if (e < kHeldChunks)
      LARES_UNROLL for (int i = 0; i < kSliceChunk; ++i) w[i] = held[e % kHeldChunks][i];
    else
      load_chunk(w, own_row + chunk_at(c));
    if (lane == kSquaresLane) load_chunk(w, from);
    const float sum = chunk_dot(from, w);
    if (lane < rows) sums[c * kSums + lane] = sum;
    if (lane == kSquaresLane) sums[c * kSums + kHyperRows] = sum;
  }
  sync_block();
  // The group's, by every warp for another block.
  const bool sums_row = lane < rows || lane == kHyperRows;
  float group = 0;
  if (sums_row) LARES_UNROLL for (int s = 0; s < kGroupSlicesMax; ++s) if (s * kHyperSlice < n) {
      float slice = sums[s * kSliceChunks * kSums + lane];
      LARES_UNROLL for (int c = 1; c < kSliceChunks; ++c)
          slice = slice + sums[(s * kSliceChunks + c) * kSums + lane];
      group = s == 0 ? slice : group + slice;
    }
  const int blocks = cluster_blocks(a.dim);
  wait_cluster();  // all have begun
  if (sums_row && n > 0 && warp < blocks) store_in(warp, groups + rank * kSums + lane, group);
  arrive_cluster();
  wait_cluster();
  const float mix = mix_of_lane(a, groups, scale);
  if (!mixes) {
    arrive_cluster_with_nothing();
    if (leaves) put_streams(a, xs, dims, d0, n);
    if (rank == 0 && warp == kClusterWarps - 1 && !a.head) leave_mixes(a, 0, mix);
    wait_cluster();  // others may still store in this block
    return;
  }
  const float own = sigmoid(mix) + a.eps;
  float pre[S], v[4] = {}, squared = 0;
  LARES_UNROLL for (int j = 0; j < S; ++j) pre[j] = shuffle_from(own, j);
  if (d_mix < n) {
    float in[S][4];
    LARES_UNROLL for (int j = 0; j < S; ++j) {
      const FourFloats f = *reinterpret_cast<const FourFloats*>(xs + j * dims + d_mix);
      LARES_UNROLL for (int c = 0; c < 4; ++c) in[j][c] = f.v[c];
    }
    squared = mix_dims(in, pre, v);
  }
  squared = sum_of_slice(squared);
  if (d_mix < n && lane % kHyperGroups < blocks)
    store_in(lane % kHyperGroups, squares + (d0 + d_mix) / kHyperSlice, squared);
  arrive_cluster();
  wait_cluster();
  if (a.entered && d_mix < n) *reinterpret_cast<Vec8*>(a.entered + d0 + d_mix) = four_halves(v);
  put_normed(a, 0, d0 + d_mix, v, squares_root(a, squares), norm);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
