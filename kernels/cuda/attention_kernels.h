// Bodies of attention(). A block holds 32 or 64 heads of a token and takes its rows 64 at a time: cells to bf16 in shared memory, scores,
// weights, values, each an mma of all warps. It does all of a token's rows and ends with the output, or one block of rows and leaves
// (m, l, O) to attention_fold_kernel; the folds are the same, and so are the bits.
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/arithmetic.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kAttentionThreads = 256;
// Heads of a block, 16 a warp; so many warps share out a block's rows, then its columns: a warp never has more than 64 sums a lane.
constexpr int attention_heads(int head_dim) { return head_dim > 256 ? 32 : 64; }
constexpr int attention_shares(int head_dim) { return kAttentionThreads / 32 / (attention_heads(head_dim) / 16); }
inline constexpr int kMatrixPad = 8;  // values behind a row, so that eight rows of a matrix lie in different banks
inline constexpr int kWeightRow = kAttentionBlock + kMatrixPad;

// Shared memory: q [heads, dim + pad] and rows [64, dim + pad] bf16, weights [heads, 64 + pad] bf16, the shares' maxima and sums
// [shares, heads], the token's rows, and where a block's cells are.
constexpr int attention_shared(int head_dim) {
  const int heads = attention_heads(head_dim);
  return (heads + 64) * (head_dim + kMatrixPad) * 2 + heads * kWeightRow * 2 + 2 * attention_shares(head_dim) * heads * 4 + 64 + 8 * kAttentionBlock;
}

// The rows a token attends.
struct TokenRows {
  std::int64_t first, last;  // window positions
  int window_blocks, n_entries, n_blocks;
  bool chosen;
};
static_assert(sizeof(TokenRows) <= 64 && sizeof(TokenRows) % 8 == 0);
LARES_DEVICE TokenRows token_rows(const AttentionArgs& a, int t) {
  const std::int64_t p = a.places.position[t];
  const Part& part = a.places.parts[a.places.part[t]];
  TokenRows r;
  r.first = a.seen_from >= 0 ? a.seen_from : p + 1 < a.window ? 0 : p + 1 - a.window;
  r.last = a.seen_from >= 0 ? part.position + part.n - 1 : p;
  r.window_blocks = static_cast<int>(r.last / kAttentionBlock - r.first / kAttentionBlock) + 1;
  const std::int64_t seen = a.ratio == 0 ? 0 : (p + 1) / a.ratio;
  r.chosen = a.chosen && seen > a.k;
  r.n_entries = r.chosen ? a.k : static_cast<int>(seen);
  r.n_blocks = r.window_blocks + (r.n_entries + kAttentionBlock - 1) / kAttentionBlock;
  return r;
}

// A lane's words of a cell: codes of every 32nd word, their scales, and the rotary values.
template <int C>
struct CellWords {
  static constexpr int kCodes = (C / 4 + 31) / 32, kTurned = 2;  // rope_dim is at most 128
  std::uint32_t codes[kCodes], turned[kTurned], scale[kCodes];
};
// By one warp; null: zeros.
template <int C>
LARES_DEVICE void load_cell(CellWords<C>& w, const std::uint8_t* cell, int rope_dim) {
  const int lane = thread() % 32, n = C - rope_dim, rope_at = (n + n / 64 + 7) / 8 * 8;
  LARES_UNROLL for (int i = 0; i < CellWords<C>::kCodes; ++i)
    if (const int at = lane + 32 * i; at < n / 4) {
      w.codes[i] = cell ? reinterpret_cast<const std::uint32_t*>(cell)[at] : 0;
      w.scale[i] = cell ? cell[n + at / 16] : 0;
    }
  LARES_UNROLL for (int i = 0; i < CellWords<C>::kTurned; ++i)
    if (const int at = lane + 32 * i; at < rope_dim / 2) w.turned[i] = cell ? *reinterpret_cast<const std::uint32_t*>(cell + rope_at + 4 * at) : 0;
}
// ... as bf16 values.
template <int C>
LARES_DEVICE void put_values(const CellWords<C>& w, int rope_dim, std::uint16_t* to) {
  const int lane = thread() % 32, n = C - rope_dim;
  LARES_UNROLL for (int i = 0; i < CellWords<C>::kCodes; ++i)
    if (const int at = lane + 32 * i; at < n / 4) {
      const std::uint32_t s = w.scale[i];
      const std::uint32_t scale = s == 0 ? 0x00400040u : s << 7 | s << 23;  // 2^(s - 127); 255 with codes of 0 makes NaN
      *reinterpret_cast<Vec8*>(to + 4 * at) = Vec8{{multiply_bf16(times_2_120(e4m3_bf16(spread_low(w.codes[i]))), scale),
                                                    multiply_bf16(times_2_120(e4m3_bf16(spread_high(w.codes[i]))), scale)}};
    }
  LARES_UNROLL for (int i = 0; i < CellWords<C>::kTurned; ++i)
    if (const int at = lane + 32 * i; at < rope_dim / 2) *reinterpret_cast<std::uint32_t*>(to + n + 2 * at) = w.turned[i];
}

// A fold: what earlier blocks have, and a block's own.
struct Fold {
  float m, earlier, own;  // the new maximum, and what both are multiplied by
};
LARES_BOTH Fold fold(float m, float block_m) {
  const float top = max2(m, block_m);
  return {top, exponential(m - top), exponential(block_m - top)};
}
LARES_BOTH float folded(float earlier, float own, const Fold& f) { return fmaf(own, f.own, earlier * f.earlier); }

// Two columns of a head's output, divided, rounded, and turned back where they are rotary.
LARES_DEVICE void put_output(const AttentionArgs& a, int t, int h, int c, float v0, float v1, float divisor) {
  v0 = bf16_rounded(v0 / divisor);
  v1 = bf16_rounded(v1 / divisor);
  if (const int plain = a.head_dim - a.rope_dim; c >= plain) {
    const double* const angle = a.rope + (static_cast<std::int64_t>(t) * (a.rope_dim / 2) + (c - plain) / 2) * 2;
    turn(v0, v1, angle[0], -angle[1]);
  }
  *reinterpret_cast<std::uint32_t*>(a.out + (static_cast<std::int64_t>(t) * a.n_heads + h) * a.head_dim + c) =
      pair(to_bf16(v0), to_bf16(v1));
}

// (m, l) of a block and head lie behind all O.
LARES_DEVICE float* partial_values(const AttentionArgs& a, int n_blocks, int t, int b, int h) {
  return a.workspace + ((static_cast<std::int64_t>(t) * n_blocks + b) * a.n_heads + h) * a.head_dim;
}
LARES_DEVICE float* partial_sums(const AttentionArgs& a, int n_blocks, int t, int b, int h) {
  return a.workspace + static_cast<std::int64_t>(a.places.n_tokens) * n_blocks * a.n_heads * a.head_dim +
         ((static_cast<std::int64_t>(t) * n_blocks + b) * a.n_heads + h) * 2;
}

// Block (x: block of rows where they are apart, y: token, z: heads). n_blocks: of the workspace.
template <int C, bool apart>
LARES_KERNEL(kAttentionThreads, 1)
attention_kernel(const AttentionArgs a, int n_blocks) {
  wait_for_inputs();
  constexpr int kHeads = attention_heads(C), kShares = attention_shares(C), kRow = C + kMatrixPad;
  constexpr int kRows = kAttentionBlock / kShares, kDown = kRows / 8;       // a warp's rows of a block, as n8 tiles
  constexpr int kColumns = C / kShares, kAcross = kColumns / 8, kPass = 4;  // its columns, so many tiles at a time
  static_assert(kAcross % kPass == 0 && kDown * 8 * kShares == kAttentionBlock);
  const int t = block_y(), h0 = block_z() * kHeads, heads = smaller(kHeads, a.n_heads - h0);
  const Part& part = a.places.parts[a.places.part[t]];
  const int warp = thread() / 32, lane = thread() % 32, g = lane / 4, q = lane % 4, m0 = warp % (kHeads / 16) * 16,
            share = warp / (kHeads / 16);
  auto* const qs = shared<std::uint16_t>();
  std::uint16_t* const ks = qs + kHeads * kRow;
  std::uint16_t* const ps = ks + 64 * kRow;
  auto* const tops = reinterpret_cast<float*>(ps + kHeads * kWeightRow);  // [shares, heads]
  float* const totals = tops + kHeads * kShares;
  auto* const held = reinterpret_cast<TokenRows*>(totals + kHeads * kShares);  // in nobody's registers
  auto* const cells = reinterpret_cast<const std::uint8_t**>(held + 1);
  if (thread() == 0) *held = token_rows(a, t);
  sync_block();
  const TokenRows& rows = *held;
  if (apart && block_x() >= rows.n_blocks) return;
  for (int i = thread(); i < kHeads * (C / 8); i += kAttentionThreads) {
    const int h = i / (C / 8), c = i % (C / 8);
    Vec16 v{{0, 0, 0, 0}};
    if (h < heads) v = reinterpret_cast<const Vec16*>(a.q + (static_cast<std::int64_t>(t) * a.n_heads + h0 + h) * C)[c];
    *reinterpret_cast<Vec16*>(qs + h * kRow + 8 * c) = v;
  }
  const int plain = C - a.rope_dim, cell_bytes = ((plain + plain / 64 + 7) / 8 * 8 + 2 * a.rope_dim + 7) / 8 * 8;
  float out[kAcross][4];
  float m[2] = {0, 0}, l[2] = {0, 0};  // of heads m0 + g, + 8
  const int begin = apart ? block_x() : 0, end = apart ? begin + 1 : rows.n_blocks;
  for (int b = begin; b < end; ++b) {
    // Rows b's block has, and the cells.
    const bool window = b < rows.window_blocks;
    const std::int64_t block_first = (rows.first / kAttentionBlock + b) * kAttentionBlock,
                       low = block_first < rows.first ? rows.first : block_first;
    const int rank0 = (b - rows.window_blocks) * kAttentionBlock;
    const int n = window
                      ? static_cast<int>(
                            (block_first + kAttentionBlock - 1 < rows.last ? block_first + kAttentionBlock - 1 : rows.last) - low) +
                            1
                      : smaller(kAttentionBlock, rows.n_entries - rank0);
    if (thread() < kAttentionBlock) {  // where they are, all at once
      const int i = thread();
      const std::uint8_t* cell = nullptr;
      if (i < n && window) cell = part.window + (low + i) % a.window_capacity * cell_bytes;
      else if (i < n) {
        const int j = rows.chosen ? a.chosen[static_cast<std::int64_t>(t) * a.k + rank0 + i] : rank0 + i;
        cell = part.pages[j / a.entries.per_page] + a.entries.offset + static_cast<std::int64_t>(j % a.entries.per_page) * cell_bytes;
      }
      cells[i] = cell;
    }
    sync_block();
    constexpr int kWarps = kAttentionThreads / 32, kTogether = 4;  // cells of a warp on their way
    for (int i0 = warp; i0 < kAttentionBlock; i0 += kTogether * kWarps) {
      CellWords<C> words[kTogether];
      LARES_UNROLL for (int d = 0; d < kTogether; ++d) load_cell<C>(words[d], cells[i0 + d * kWarps], a.rope_dim);
      LARES_UNROLL for (int d = 0; d < kTogether; ++d) put_values<C>(words[d], a.rope_dim, ks + (i0 + d * kWarps) * kRow);
    }
    sync_block();
    // Scores of 16 heads with its share of the rows, a warp.
    float s[kDown][4] = {};
    for (int k = 0; k < C; k += 32) {
      std::uint32_t qa[2][4];
      LARES_UNROLL for (int step = 0; step < 2; ++step) load_matrices(qa[step], qs + (m0 + lane % 16) * kRow + k + 16 * step + lane / 16 * 8);
      LARES_UNROLL for (int c = 0; c < kDown; ++c) {
        std::uint32_t kb[4];
        load_matrices(kb, ks + (kRows * share + 8 * c + lane % 8) * kRow + k + lane / 8 * 8);
        mma_bf16(s[c], qa[0][0], qa[0][1], qa[0][2], qa[0][3], kb[0], kb[1]);
        mma_bf16(s[c], qa[1][0], qa[1][1], qa[1][2], qa[1][3], kb[2], kb[3]);
      }
    }
    float top[2] = {float_of(0xFF800000u), float_of(0xFF800000u)};
    LARES_UNROLL for (int c = 0; c < kDown; ++c)
      LARES_UNROLL for (int i = 0; i < 4; ++i) {
        s[c][i] = kRows * share + 8 * c + 2 * q + i % 2 < n ? s[c][i] * a.scale : float_of(0xFF800000u);
        top[i / 2] = max2(s[c][i], top[i / 2]);
      }
    LARES_UNROLL for (int r = 0; r < 2; ++r) {
      for (int mask = 1; mask < 4; mask *= 2) top[r] = max2(shuffle_xor(top[r], mask), top[r]);
      if (q == 0) tops[share * kHeads + m0 + g + 8 * r] = top[r];
    }
    sync_block();
    float total[2] = {0, 0};
    LARES_UNROLL for (int r = 0; r < 2; ++r)
      LARES_UNROLL for (int w = 0; w < kShares; ++w) top[r] = max2(tops[w * kHeads + m0 + g + 8 * r], top[r]);
    LARES_UNROLL for (int c = 0; c < kDown; ++c)
      LARES_UNROLL for (int r = 0; r < 2; ++r) {
        float e[2];
        LARES_UNROLL for (int i = 0; i < 2; ++i) {
          e[i] = exponential(s[c][2 * r + i] - top[r]);
          total[r] = total[r] + e[i];
        }
        *reinterpret_cast<std::uint32_t*>(ps + (m0 + g + 8 * r) * kWeightRow + kRows * share + 8 * c + 2 * q) =
            pair(to_bf16(flushed(bf16_rounded(e[0]))), to_bf16(flushed(bf16_rounded(e[1]))));
      }
    LARES_UNROLL for (int r = 0; r < 2; ++r) {
      for (int mask = 1; mask < 4; mask *= 2) total[r] = total[r] + shuffle_xor(total[r], mask);
      if (q == 0) totals[share * kHeads + m0 + g + 8 * r] = total[r];
    }
    sync_block();
    Fold f[2];
    LARES_UNROLL for (int r = 0; r < 2; ++r) {
      float own = totals[m0 + g + 8 * r];
      LARES_UNROLL for (int w = 1; w < kShares; ++w) own = own + totals[w * kHeads + m0 + g + 8 * r];
      f[r] = b == begin ? Fold{top[r], 0, 1} : fold(m[r], top[r]);
      l[r] = b == begin ? own : folded(l[r], own, f[r]);
      m[r] = f[r].m;
    }
    // Values: a share of the columns a warp.
    LARES_UNROLL for (int c0 = 0; c0 < kAcross; c0 += kPass) {
      float o[kPass][4] = {};
      LARES_UNROLL for (int step = 0; step < 4; ++step) {
        std::uint32_t pa[4];
        load_matrices(pa, ps + (m0 + lane % 16) * kWeightRow + 16 * step + lane / 16 * 8);
        LARES_UNROLL for (int c = 0; c < kPass; c += 2) {
          std::uint32_t vb[4];
          load_transposed(vb, ks + (16 * step + lane % 16) * kRow + share * kColumns + 8 * (c0 + c) + lane / 16 * 8);
          mma_bf16(o[c], pa[0], pa[1], pa[2], pa[3], vb[0], vb[1]);
          mma_bf16(o[c + 1], pa[0], pa[1], pa[2], pa[3], vb[2], vb[3]);
        }
      }
      LARES_UNROLL for (int c = 0; c < kPass; ++c)
        LARES_UNROLL for (int i = 0; i < 4; ++i) out[c0 + c][i] = b == begin ? o[c][i] : folded(out[c0 + c][i], o[c][i], f[i / 2]);
    }
    sync_block();
  }
  LARES_UNROLL for (int r = 0; r < 2; ++r) {
    const int h = m0 + g + 8 * r;
    if (h >= heads) continue;
    if constexpr (apart) {
      float* const to = partial_values(a, n_blocks, t, begin, h0 + h);
      LARES_UNROLL for (int c = 0; c < kAcross; ++c)
        *reinterpret_cast<Vec8*>(to + share * kColumns + 8 * c + 2 * q) = Vec8{{bits_of(out[c][2 * r]), bits_of(out[c][2 * r + 1])}};
      if (share == 0 && q == 0) {
        float* const sums = partial_sums(a, n_blocks, t, begin, h0 + h);
        sums[0] = m[r];
        sums[1] = l[r];
      }
    } else {
      const float divisor = l[r] + exponential(a.sink[h0 + h] - m[r]);
      LARES_UNROLL for (int c = 0; c < kAcross; ++c)
        put_output(a, t, h0 + h, share * kColumns + 8 * c + 2 * q, out[c][2 * r], out[c][2 * r + 1], divisor);
    }
  }
}

// Block (x: head, y: token): the blocks left to right. A thread has two columns.
inline constexpr int kFoldThreads = 256, kFoldAhead = 8, kFoldBlocks = 512;  // blocks whose factors are held at a time
LARES_KERNEL(kFoldThreads, 4) attention_fold_kernel(const AttentionArgs a, int n_blocks) {
  wait_for_inputs();
  const int h = block_x(), t = block_y(), n = token_rows(a, t).n_blocks, c = 2 * thread();
  float* const own_m = shared<float>();  // then the block's own factor
  float* const own_l = own_m + kFoldBlocks;
  float* const tops = own_l + kFoldBlocks;  // up to and with each; then what is multiplied by it
  const bool has = c < a.head_dim;
  float m = 0, l = 0, v[2] = {0, 0};
  for (int first = 0; first < n; first += kFoldBlocks) {
    const int here = smaller(kFoldBlocks, n - first);
    for (int i = thread(); i < here; i += kFoldThreads) {
      const Vec8 s = *reinterpret_cast<const Vec8*>(partial_sums(a, n_blocks, t, first + i, h));
      own_m[i] = float_of(s.w[0]);
      own_l[i] = float_of(s.w[1]);
    }
    sync_block();
    if (thread() == 0) {
      float top = m;
      LARES_UNROLL_8 for (int i = 0; i < here; ++i) tops[i] = top = first + i == 0 ? own_m[0] : max2(top, own_m[i]);
    }
    sync_block();
    Fold f[kFoldBlocks / kFoldThreads];
    LARES_UNROLL for (int d = 0; d < kFoldBlocks / kFoldThreads; ++d)
      if (const int i = thread() + d * kFoldThreads; i < here)
        f[d] = first + i == 0 ? Fold{own_m[0], 0, 1} : fold(i == 0 ? m : tops[i - 1], own_m[i]);
    m = tops[here - 1];
    sync_block();
    LARES_UNROLL for (int d = 0; d < kFoldBlocks / kFoldThreads; ++d)
      if (const int i = thread() + d * kFoldThreads; i < here) {
        own_m[i] = f[d].own;
        tops[i] = f[d].earlier;
      }
    sync_block();
    for (int base = 0; base < here; base += kFoldAhead) {
      Vec8 own[kFoldAhead];
      LARES_UNROLL for (int i = 0; i < kFoldAhead; ++i)
        if (has && base + i < here) own[i] = *reinterpret_cast<const Vec8*>(partial_values(a, n_blocks, t, first + base + i, h) + c);
      LARES_UNROLL for (int i = 0; i < kFoldAhead; ++i)
        if (const int b = base + i; b < here) {
          if (first + b == 0) {
            l = own_l[0];
            v[0] = float_of(own[0].w[0]);
            v[1] = float_of(own[0].w[1]);
            continue;
          }
          const Fold by{0, tops[b], own_m[b]};
          l = folded(l, own_l[b], by);
          v[0] = folded(v[0], float_of(own[i].w[0]), by);
          v[1] = folded(v[1], float_of(own[i].w[1]), by);
        }
    }
    sync_block();  // before the factors are written again
  }
  if (has) put_output(a, t, h, c, v[0], v[1], l + exponential(a.sink[h] - m));
}
inline constexpr int kFoldShared = 3 * kFoldBlocks * 4;

// With few tokens the blocks of rows are shared out; with many there are enough blocks as it is.
inline constexpr int kAttentionApart = 64 * 64;  // (token, head) pairs
constexpr bool attention_apart(int n_tokens, int n_heads) { return n_tokens * n_heads <= kAttentionApart; }

}  // namespace lares::kernels::cuda::inline LARES_SIDE
