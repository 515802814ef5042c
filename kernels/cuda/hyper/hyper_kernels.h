// Bodies of hyper() for few tokens: slices of the streams, then the mixing of each token.
// hyper_many_kernels.h has those for many.
#pragma once

#include "kernels/cuda/simt/bulk.h"
#include "kernels/cuda/hyper/hyper_mixes.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kSliceThreads = 256;
inline constexpr int kSliceTokens = 8;                       // of a block
inline constexpr int kSliceK = kHyperStreams * kHyperSlice;  // values of a token in a slice
inline constexpr int kSliceChunk = 32;                       // a warp's
inline constexpr int kSliceChunks = kSliceK / kSliceChunk;
inline constexpr int kSliceRow = kSliceK + 4;  // floats: rows begin in other banks
inline constexpr int kSums = kHyperRows + 1;   // products, then the sum of squares
constexpr int slice_shared(int tokens) {
  return (tokens * kSliceRow + kHyperRows * kSliceRow + kSliceChunks * kSums * tokens) * 4;
}
static_assert(kSliceChunks <= kSliceThreads / 32);

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

// Where the first ranks' outputs of a token are.
inline constexpr int kSlotsTogether = 8;
struct Slots {
  std::int32_t slot[kSlotsTogether];
};
LARES_DEVICE Slots slots_of(const HyperArgs& a, std::int64_t t, int first) {
  const ExpertOutputs& e = a.experts;
  Slots s = {};
  if (!e.out) return s;
  LARES_UNROLL for (int i = 0; i < kSlotsTogether; ++i) if (first + i < e.k)
      s.slot[i] = e.slot_of[(e.first + t) * e.k + first + i];
  return s;
}

// Two dims of what leaves, on their way: of experts the shared one's and the first ranks'.
struct Leaving {
  std::uint32_t y, rank[kSlotsTogether];
};
LARES_DEVICE std::uint32_t expert_output(const ExpertOutputs& e, std::int64_t slot, int d) {
  return *reinterpret_cast<const std::uint32_t*>(e.out + slot * e.stride + d);
}
LARES_DEVICE Leaving ask_leaving(const HyperArgs& a, std::int64_t t, int d, const Slots& slots) {
  Leaving l = {};
  if (a.y) {
    l.y = *reinterpret_cast<const std::uint32_t*>(a.y + t * a.dim + d);
    return l;
  }
  const ExpertOutputs& e = a.experts;
  l.y = expert_output(e, static_cast<std::int64_t>(e.n_tokens) * e.k + e.first + t, d);
  LARES_UNROLL for (int i = 0; i < kSlotsTogether; ++i) if (i < e.k)
      l.rank[i] = expert_output(e, slots.slot[i], d);
  return l;
}
// ... as they leave.
LARES_DEVICE TwoFloats leaving(const HyperArgs& a, std::int64_t t, int d, Leaving l) {
  const float y[2] = {bf16_value(l.y & 0xFFFFu), bf16_value(l.y >> 16)};
  if (a.y) return {{y[0], y[1]}};
  const ExpertOutputs& e = a.experts;
  float sum[2] = {0, 0};
  // Eight ranks' loads are on their way together: first which slots, then what is in them.
  for (int first = 0; first < e.k; first += kSlotsTogether) {
    if (first > 0) {
      const Slots slots = slots_of(a, t, first);
      LARES_UNROLL for (int i = 0; i < kSlotsTogether; ++i)
          l.rank[i] = first + i < e.k ? expert_output(e, slots.slot[i], d) : 0;
    }
    LARES_UNROLL for (int i = 0; i < kSlotsTogether; ++i) if (first + i < e.k) {
      const float rank[2] = {bf16_value(l.rank[i] & 0xFFFFu), bf16_value(l.rank[i] >> 16)};
      LARES_UNROLL for (int half = 0; half < 2; ++half)
          sum[half] = first + i == 0 ? rank[half] : sum[half] + rank[half];
    }
  }
  return {{bf16_rounded(sum[0] + y[0]), bf16_rounded(sum[1] + y[1])}};
}
LARES_DEVICE TwoFloats leaving(const HyperArgs& a, std::int64_t t, int d, const Slots& slots) {
  return leaving(a, t, d, ask_leaving(a, t, d, slots));
}

// Two dims of a token's streams, and what they are mixed by where something leaves.
struct Arriving {
  std::uint32_t x[kHyperStreams];
  FourFloats comb[kHyperStreams], post;
  Slots slots;
};
LARES_DEVICE std::uint32_t* stream_at(const HyperArgs& a, std::int64_t t, int stream, int d) {
  return reinterpret_cast<std::uint32_t*>(a.x + (t * kHyperStreams + stream) * a.dim + d);
}
LARES_DEVICE Arriving arriving(const HyperArgs& a, std::int64_t t, int d) {
  Arriving in = {};
  LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j) in.x[j] = *stream_at(a, t, j, d);
  if (!a.y && !a.experts.out) return in;
  LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j)
      in.comb[j] = reinterpret_cast<const FourFloats*>(a.comb)[t * kHyperStreams + j];
  in.post = reinterpret_cast<const FourFloats*>(a.post)[t];
  in.slots = slots_of(a, t, 0);
  return in;
}
// ... as floats, and what becomes of them when `y` leaves.
LARES_DEVICE void two_dims(const std::uint32_t (&x)[kHyperStreams], float (&v)[kHyperStreams][2]) {
  LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j) {
    v[j][0] = bf16_value(x[j] & 0xFFFFu);
    v[j][1] = bf16_value(x[j] >> 16);
  }
}
// One value of stream k: `by` is comb's column k.
LARES_DEVICE float taken_along(const float (&x)[kHyperStreams], const float (&by)[kHyperStreams],
                               float post, float y) {
  float m = by[0] * x[0];
  LARES_UNROLL for (int j = 1; j < kHyperStreams; ++j) m = fmaf(by[j], x[j], m);
  return bf16_rounded(post * y + m);
}
LARES_DEVICE void take_along(float (&v)[kHyperStreams][2], const FourFloats (&comb)[kHyperStreams],
                             const FourFloats& post, const TwoFloats& y) {
  LARES_UNROLL for (int half = 0; half < 2; ++half) {
    float x[kHyperStreams];
    LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j) x[j] = v[j][half];
    LARES_UNROLL for (int k = 0; k < kHyperStreams; ++k) {
      float by[kHyperStreams];
      LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j) by[j] = comb[j].v[k];
      v[k][half] = taken_along(x, by, post.v[k], y.v[half]);
    }
  }
}

// A slice of n tokens from `first` on, at most kSliceTokens, by the first kThreads threads of a
// block.
template <int kThreads>
LARES_DEVICE void put_slice(const HyperArgs& a, int slice, int first, int n) {
  const int d0 = slice * kHyperSlice, n_slices = a.dim / kHyperSlice,
            rows = a.head ? kHyperStreams : kHyperRows;
  const int warp = thread() / 32, lane = thread() % 32;
  const bool works = thread() < kThreads;
  float* const xs = shared<float>();
  float* const fn = xs + n * kSliceRow;
  float* const sums = fn + kHyperRows * kSliceRow;  // [chunk, kSums, n]
  // Weights, which nobody writes: before the wait, and beside the loads that follow
  if (a.fn && works) {
    for (int i = thread(); i < rows * kSliceK / 4; i += kThreads) {
      const int row = i / (kSliceK / 4), k = i % (kSliceK / 4) * 4;
      copy_later<16>(
          fn + row * kSliceRow + k,
          a.fn + (static_cast<std::int64_t>(row) * kHyperStreams + k / kHyperSlice) * a.dim + d0 +
              k % kHyperSlice);
    }
    // Mixing needs the norm's weights at its end; so far nobody may have read them since the last
    // step.
    if (thread() < kHyperSlice / 32) ask_line(a.norm + d0 + 32 * thread());
  }
  // Two dims of a token's streams a thread. Where something leaves, a sub-layer's launches came
  // between what wrote streams, post and comb and this one: the first ones need not wait.
  const bool leaves = a.y || a.experts.out;
  const int begin = works ? thread() : n * (kHyperSlice / 2), end = n * (kHyperSlice / 2);
  Arriving in;
  if (leaves && begin < end)
    in = arriving(a, first + begin / (kHyperSlice / 2), d0 + begin % (kHyperSlice / 2) * 2);
  wait_for_inputs();
  for (int i = begin; i < end; i += kThreads) {
    const int token = i / (kHyperSlice / 2), d = i % (kHyperSlice / 2) * 2;
    const std::int64_t t = first + token;
    if (!leaves || i != begin) in = arriving(a, t, d0 + d);
    float v[kHyperStreams][2];
    two_dims(in.x, v);
    if (leaves) {
      take_along(v, in.comb, in.post, leaving(a, t, d0 + d, in.slots));
      LARES_UNROLL for (int k = 0; k < kHyperStreams; ++k) *
          stream_at(a, t, k, d0 + d) = pair(to_bf16(v[k][0]), to_bf16(v[k][1]));
    }
    LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j) {
      xs[token * kSliceRow + j * kHyperSlice + d] = v[j][0];
      xs[token * kSliceRow + j * kHyperSlice + d + 1] = v[j][1];
    }
  }
  if (!a.fn) return;
  finish_copies();
  sync_block();
  if (warp < kSliceChunks) {
    const int k = warp * kSliceChunk;
    float x[kSliceChunk];
    for (int token = 0; token < n; ++token) {
      const float* const from = xs + token * kSliceRow + k;
      load_chunk(x, from);
      if (lane < rows)
        sums[(warp * kSums + lane) * n + token] = chunk_dot(fn + lane * kSliceRow + k, x);
      if (lane == 31) sums[(warp * kSums + kHyperRows) * n + token] = chunk_dot(from, x);
    }
  }
  sync_block();
  for (int i = works ? thread() : n * kSums; i < n * kSums; i += kThreads) {
    const int token = i / kSums, row = i % kSums;
    if (row >= rows && row < kHyperRows) continue;
    float sum = sums[row * n + token];
    LARES_UNROLL for (int c = 1; c < kSliceChunks; ++c)
        sum = sum + sums[(c * kSums + row) * n + token];
    a.partial[((first + token) * static_cast<std::int64_t>(n_slices) + slice) * kSums + row] = sum;
  }
}

// Block (x: slice, y: tokens).
LARES_KERNEL(kSliceThreads, 2) hyper_slice_kernel(const HyperArgs a) {
  const int first = block_y() * kSliceTokens;
  put_slice<kSliceThreads>(a, block_x(), first, smaller(kSliceTokens, a.n_tokens - first));
}

// ---- Mixing weights, input and norm of a token: kThreads threads, and a warp that does what only
// the next boundary needs, beside them.

inline constexpr int kMixThreads = 512;
inline constexpr int kSlicesMax = kHyperDimMax / kHyperSlice;
// Floats: the groups' sums, the slices' squares.
inline constexpr int kMixShared = kHyperGroups * kSums + kSlicesMax;
static_assert(kMixShared % 4 == 0);
constexpr int mix_shared() { return kMixShared * 4; }
constexpr int token_shared() { return slice_shared(1); }
static_assert(token_shared() >= mix_shared() + 4);

// What a lane's row is scaled by and moved by: weights.
struct RowScale {
  float scale, base;
};
LARES_DEVICE RowScale row_scale(const HyperArgs& a) {
  const int lane = thread() % 32;
  if (lane >= (a.head ? kHyperStreams : kHyperRows)) return {0, 0};
  return {a.scale[lane < kHyperStreams ? 0 : lane < 2 * kHyperStreams ? 1 : 2], a.base[lane]};
}
// An even number, so that a group has whole blocks of quantised values.
constexpr int slices_of_group(int n_slices) {
  return 2 * ((n_slices + 2 * kHyperGroups - 1) / (2 * kHyperGroups));
}
inline constexpr int kGroupSlicesMax = slices_of_group(kSlicesMax);
// Token t's sums of slices, by the first kThreads threads; then sync_block().
template <int kThreads>
LARES_DEVICE void sum_groups(const HyperArgs& a, std::int64_t t, float* groups) {
  const int n_slices = a.dim / kHyperSlice, run = slices_of_group(n_slices), lane = thread() % 32;
  const int rows = a.head ? kHyperStreams : kHyperRows;
  if (lane >= kSums || (lane >= rows && lane < kHyperRows)) return;
  constexpr int kEach = kHyperGroups / (kThreads / 32), kLongest = kGroupSlicesMax;
  const int g0 = thread() / 32;
  float part[kEach][kLongest];
  LARES_UNROLL for (int e = 0; e < kEach; ++e) LARES_UNROLL for (int i = 0; i < kLongest; ++i) {
    const int slice = (g0 + e * (kThreads / 32)) * run + i;
    part[e][i] = i < run && slice < n_slices ? a.partial[(t * n_slices + slice) * kSums + lane] : 0;
  }
  LARES_UNROLL for (int e = 0; e < kEach; ++e) {
    const int g = g0 + e * (kThreads / 32);
    if (g * run >= n_slices) break;
    float sum = part[e][0];
    LARES_UNROLL for (int i = 1; i < kLongest; ++i) if (i < run && g * run + i < n_slices)
        sum = sum + part[e][i];
    groups[g * kSums + lane] = sum;
  }
}
// Lane l: mix l of 24 (the head's 4), by each warp for itself.
LARES_DEVICE float mix_of_lane(const HyperArgs& a, const float* groups, const RowScale& w) {
  const int n_slices = a.dim / kHyperSlice, run = slices_of_group(n_slices), lane = thread() % 32;
  const int row = lane < (a.head ? kHyperStreams : kHyperRows) ? lane : kHyperRows;
  float sum = groups[row];
  LARES_UNROLL for (int g = 1; g < kHyperGroups; ++g) if (g * run < n_slices)
      sum = sum + groups[g * kSums + row];
  const float root = rms_root(shuffle_from(sum, 31), kHyperStreams * a.dim, a.norm_eps);
  return sum / root * w.scale + w.base;
}

// By the warp of a token that has nothing else to do: now, or for later, in place of sums that
// everybody has read.
LARES_DEVICE void leave_mixes(const HyperArgs& a, std::int64_t t, float mix) {
  const HyperMixes m = hyper_mixes(a.partial, a.dim, a.post, a.comb, a.n_tokens, a.iters, a.eps);
  if (!a.later)
    put_post_and_comb(m, t, mix);
  else if (thread() % 32 < kHyperRows)
    a.partial[t * m.stride + thread() % 32] = mix;
}

// Four dims of what enters, and the sum of their squares.
LARES_DEVICE float mix_dims(const float (&x)[kHyperStreams][4], const float (&pre)[kHyperStreams],
                            float (&v)[4]) {
  float squares = 0;
  LARES_UNROLL for (int c = 0; c < 4; ++c) {
    float sum = pre[0] * x[0][c];
    LARES_UNROLL for (int j = 1; j < kHyperStreams; ++j) sum = sum + pre[j] * x[j][c];
    v[c] = bf16_rounded(sum);
    squares = fmaf(v[c], v[c], squares);
  }
  return squares;
}
LARES_DEVICE float mix_streams(const Vec8 (&in)[kHyperStreams], const float (&pre)[kHyperStreams],
                               float (&v)[4]) {
  float x[kHyperStreams][4];
  LARES_UNROLL for (int j = 0; j < kHyperStreams; ++j) LARES_UNROLL for (int c = 0; c < 4; ++c)
      x[j][c] = bf16_value(in[j].w[c / 2] >> c % 2 * 16 & 0xFFFFu);
  return mix_dims(x, pre, v);
}
LARES_DEVICE Vec8 four_halves(const float (&v)[4]) {
  return {{pair(to_bf16(v[0]), to_bf16(v[1])), pair(to_bf16(v[2]), to_bf16(v[3]))}};
}
// Dims d .. d + 3 normed, as they are and as codes; by whole warps, of which lanes outside have
// none.
LARES_DEVICE void put_normed(const HyperArgs& a, std::int64_t t, int d, const float (&v)[4],
                             float root, const FourFloats& norm) {
  const bool inside = d < a.dim;
  float y[4] = {0, 0, 0, 0};
  LARES_UNROLL for (int c = 0; c < 4; ++c) if (inside) y[c] = bf16_rounded(v[c] / root * norm.v[c]);
  if (inside)
    *reinterpret_cast<Vec8*>(a.normed + t * a.dim + d) =
        Vec8{{upper_halves(y[0], y[1]), upper_halves(y[2], y[3])}};
  if (a.codes)
    quantise_block(y, inside, a.codes + t * a.dim + d,
                   a.code_scale + t * ((a.dim + 127) / 128) + d / 128);
}
// A slice's squares: its dims are four each of sixteen lanes that begin at a multiple of sixteen.
LARES_DEVICE float sum_of_slice(float v) {
  LARES_UNROLL for (int mask = 8; mask > 0; mask /= 2) v = v + shuffle_xor(v, mask);
  return v;
}
// By a warp, from the slices' squares.
LARES_DEVICE float squares_root(const HyperArgs& a, const float* squares) {
  const int n_slices = a.dim / kHyperSlice, run = slices_of_group(n_slices),
            first = thread() % kHyperGroups * run;
  float group = 0, total = 0;
  LARES_UNROLL for (int i = 0; i < kGroupSlicesMax; ++i) if (i < run && first + i < n_slices)
      group = group + squares[first + i];
  LARES_UNROLL for (int g = 0; g < kHyperGroups; ++g) total = total + shuffle_from(group, g);
  return rms_root(total, a.dim, a.rms_eps);
}

// Pieces of four dims that a thread has.
inline constexpr int kMixPieces = (kHyperDimMax + 4 * kMixThreads - 1) / (4 * kMixThreads);
// By kMixThreads + 32 threads; nothing of the shared memory is in use any more.
LARES_DEVICE void mix_token(const HyperArgs& a, std::int64_t t, const RowScale& row) {
  constexpr int S = kHyperStreams;
  const int lane = thread() % 32, d0 = 4 * thread();
  const bool mixes_streams = thread() < kMixThreads;
  float* const groups = shared<float>();
  float* const squares = groups + kHyperGroups * kSums;
  // Everything that is read is on its way before anything waits for it.
  Vec8 in[kMixPieces][S];
  FourFloats norm[kMixPieces];
  if (mixes_streams) {
    LARES_UNROLL for (int i = 0; i < kMixPieces; ++i) if (const int d = d0 + 4 * kMixThreads * i;
                                                          d < a.dim) {
      LARES_UNROLL for (int j = 0; j < S; ++j)
          in[i][j] = *reinterpret_cast<const Vec8*>(a.x + (t * S + j) * a.dim + d);
      norm[i] = *reinterpret_cast<const FourFloats*>(a.norm + d);
    }
    sum_groups<kMixThreads>(a, t, groups);
  }
  sync_block();
  const float mix = mix_of_lane(a, groups, row);
  if (!mixes_streams) {
    if (!a.head) leave_mixes(a, t, mix);
    return;
  }
  const float own = sigmoid(mix) + a.eps;
  float pre[S], v[kMixPieces][4];
  LARES_UNROLL for (int j = 0; j < S; ++j) pre[j] = shuffle_from(own, j);
  LARES_UNROLL for (int i = 0; i < kMixPieces; ++i) {
    const int d = d0 + 4 * kMixThreads * i;
    const float squared = sum_of_slice(d < a.dim ? mix_streams(in[i], pre, v[i]) : 0);
    if (d >= a.dim) continue;
    if (a.entered) *reinterpret_cast<Vec8*>(a.entered + t * a.dim + d) = four_halves(v[i]);
    if (lane % 16 == 0) squares[d / kHyperSlice] = squared;
  }
  sync_some(1, kMixThreads);  // not the last warp: it has no part in what follows
  const float root = squares_root(a, squares);
  LARES_UNROLL for (int i = 0; i < kMixPieces; ++i) if (const int d = d0 + 4 * kMixThreads * i;
                                                        d - 4 * lane < a.dim)
      put_normed(a, t, d, v[i], root, norm[i]);
}

// Few tokens: a block each.
LARES_KERNEL(kMixThreads + 32, 1) hyper_mix_kernel(const HyperArgs a) {
  const RowScale row = row_scale(a);
  wait_for_inputs();
  mix_token(a, block_x(), row);
}

// One token, all of it: a block a slice, and the last to have put its own mixes. fn is not null.
LARES_KERNEL(kMixThreads + 32, 1) hyper_token_kernel(const HyperArgs a) {
  const RowScale row = row_scale(a);
  put_slice<kMixThreads>(a, block_x(), 0, 1);
  sync_block();
  auto* const last = shared<std::uint32_t>() + kMixShared;  // behind what mixing uses
  if (thread() == 0) *last = arrive_last(a.arrived, static_cast<std::uint32_t>(grid_x()));
  sync_block();
  if (*last) mix_token(a, 0, row);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
