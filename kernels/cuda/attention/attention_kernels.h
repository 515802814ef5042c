// Bodies of attention(). A block holds some heads of a token and takes its rows 64 at a time: cells
// to bf16 in shared memory, scores, weights, values, each an mma of all warps. It does all of a
// token's rows and ends with the output, or one block of rows and leaves (m, l, O) to
// attention_fold_kernel; the folds are the same, and so are the bits. Folds stay a single sequence
// however long it is: what 131 blocks of rows leave (17 MB) is in L2 when it is folded, and sums of
// sums would take registers for a second set of them where a block does all rows.
#pragma once

#include "kernels/cuda/simt/arithmetic.h"
#include "kernels/cuda/attention/attention_cells.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kAttentionThreads = 256, kAttentionWarps = kAttentionThreads / 32;
// Values behind a row, so that eight rows of a matrix lie in different banks
inline constexpr int kMatrixPad = 8;
inline constexpr int kWeightRow = kAttentionBlock + kMatrixPad;

// How `heads` heads of C dims are shared out to a block's warps: kTall times 16 heads a warp, and
// kShares warps with the same heads have a share each of the rows, then of the columns. Sums of a
// lane are at most 128.
template <int C, int heads>
struct AttentionShape {
  static constexpr int kTall = heads * C > 64 * 256 ? 2 : 1, kGroups = heads / 16 / kTall,
                       kShares = kAttentionWarps / kGroups;
  static constexpr int kRows = kAttentionBlock / kShares,
                       kDown = kRows / 8;  // a warp's rows of a block, as n8 tiles
  static constexpr int kColumns = C / kShares, kAcross = kColumns / 8,
                       kPass = kTall > 1 ? 4 : 2;  // its columns, so many tiles at a time
  static_assert(kDown * 8 * kShares == kAttentionBlock && kAcross % kPass == 0 && C % 64 == 0);
};
// Heads of a block where blocks of rows are apart: of 512 dims few where that makes blocks that the
// device has room for at once (two an SM of an H100), else more, so that a cell is decoded less
// often.
inline constexpr int kBlocksAtOnce = 264;
constexpr int attention_heads_apart(int n_tokens, int n_heads, int n_blocks) {
  const std::int64_t blocks = static_cast<std::int64_t>(n_tokens) * n_blocks *
                              ((n_heads + 15) / 16);
  return blocks <= kBlocksAtOnce ? 16 : 32;
}
// With 64 a token's cells are read once, but of 512 dims they take more shared memory than an A100
// has.
inline constexpr int kHeadsWide = 64, kHeadsNarrow = 32;

// Shared memory: q [heads, dim + pad] and rows [64, dim + pad] bf16, weights [heads, 64 + pad]
// bf16, the shares' maxima [shares, heads], sums of pairs of weights [32, heads] and of all
// [heads], and, where a block goes on to the next rows, these as cells and the token's rows.
template <int C, int heads, bool apart>
constexpr int attention_shared() {
  return (heads + kAttentionBlock) * (C + kMatrixPad) * 2 + heads * kWeightRow * 2 +
         (AttentionShape<C, heads>::kShares + 33) * heads * 4 +
         (apart ? 0 : kAttentionBlock * CellWords<C>::kBytes + static_cast<int>(sizeof(TokenRows)));
}

// A fold: what earlier blocks have, zeros before the first, and a block's own.
struct Fold {
  float m, earlier, own;  // the new maximum, and what both are multiplied by
};
LARES_BOTH Fold fold(float m, float block_m) {
  const float top = max2(m, block_m);
  return {top, exponential(m - top), exponential(block_m - top)};
}
LARES_BOTH float folded(float earlier, float own, const Fold& f) {
  return fmaf(own, f.own, earlier * f.earlier);
}

// Two columns of a head's output: by the inverse of all weights' sum, rounded, and turned back
// where they are rotary.
LARES_BOTH float inverse_sum(float l, float sink, float m) {
  return 1.0f / (l + exponential(sink - m));
}
LARES_DEVICE void put_output(const AttentionArgs& a, int t, int h, int c, float v0, float v1,
                             float inverse) {
  v0 = bf16_rounded(v0 * inverse);
  v1 = bf16_rounded(v1 * inverse);
  if (const int plain = a.head_dim - a.rope_dim; c >= plain) {
    const double* const angle =
        a.rope + (static_cast<std::int64_t>(t) * (a.rope_dim / 2) + (c - plain) / 2) * 2;
    turn(v0, v1, angle[0], -angle[1]);
  }
  *reinterpret_cast<std::uint32_t*>(a.out +
                                    (static_cast<std::int64_t>(t) * a.n_heads + h) * a.head_dim +
                                    c) = pair(to_bf16(v0), to_bf16(v1));
}

// (m, l) of a block and head lie behind all O.
LARES_DEVICE float* partial_values(const AttentionArgs& a, int n_blocks, int t, int b, int h) {
  return a.workspace + ((static_cast<std::int64_t>(t) * n_blocks + b) * a.n_heads + h) * a.head_dim;
}
LARES_DEVICE float* partial_sums(const AttentionArgs& a, int n_blocks, int t, int b, int h) {
  return a.workspace +
         static_cast<std::int64_t>(a.places.n_tokens) * n_blocks * a.n_heads * a.head_dim +
         ((static_cast<std::int64_t>(t) * n_blocks + b) * a.n_heads + h) * 2;
}

// Where a warp's rows of a block are, eight from row `row` on: lane i has its i-th. The number of
// an entry comes a step before, for it is read from memory, too.
LARES_DEVICE int entry_number(const AttentionArgs& a, const TokenRows& rows, int t, int b,
                              int row) {
  const BlockRows block = block_rows(rows, b);
  const int i = row + thread() % 32;
  if (thread() % 32 >= 8 || b >= rows.n_blocks || block.window || i >= block.n) return 0;
  return rows.chosen ? a.chosen[static_cast<std::int64_t>(t) * a.k + block.rank + i]
                     : block.rank + i;
}
template <int C>
LARES_DEVICE const std::uint8_t* row_cell(const AttentionArgs& a, const TokenRows& rows,
                                          const Part& part, int b, int row, int entry) {
  const BlockRows block = block_rows(rows, b);
  const int i = row + thread() % 32;
  if (thread() % 32 >= 8 || b >= rows.n_blocks || i >= block.n) return nullptr;
  if (block.window) return part.window + (block.low + i) % a.window_capacity * CellWords<C>::kBytes;
  return part.pages[entry / a.entries.per_page] + a.entries.offset +
         static_cast<std::int64_t>(entry % a.entries.per_page) * CellWords<C>::kBytes;
}

// Block (x: block of rows where they are apart, y: token, z: heads). n_blocks: of the workspace.
template <int C, int kHeads, bool apart>
LARES_KERNEL(kAttentionThreads, apart ? 2 : 1)
attention_kernel(const AttentionArgs a, int n_blocks) {
  using Shape = AttentionShape<C, kHeads>;
  constexpr int kTall = Shape::kTall, kShares = Shape::kShares, kRows = Shape::kRows,
                kDown = Shape::kDown, kColumns = Shape::kColumns, kAcross = Shape::kAcross,
                kPass = apart && kAcross % 4 == 0 ? 4 : Shape::kPass, kRow = C + kMatrixPad;
  const int t = block_y(), h0 = block_z() * kHeads, heads = smaller(kHeads, a.n_heads - h0);
  const int warp = thread() / 32, lane = thread() % 32, g = lane / 4, q = lane % 4,
            m0 = warp % Shape::kGroups * 16 * kTall, share = warp / Shape::kGroups,
            row0 = 8 * warp;  // of those of a block that it fetches
  auto* const qs = shared<std::uint16_t>();
  std::uint16_t* const ks = qs + kHeads * kRow;
  std::uint16_t* const ps = ks + kAttentionBlock * kRow;
  auto* const tops = reinterpret_cast<float*>(ps + kHeads * kWeightRow);  // [shares, heads]
  float* const pairs = tops + kHeads * kShares;                           // [32, heads]
  float* const totals = pairs + 32 * kHeads;                              // [heads]
  auto* const cells = reinterpret_cast<std::uint8_t*>(totals + kHeads) +
                      warp * 8 * CellWords<C>::kBytes;  // of its warp alone
  // Places and pages are what the host copied before any launch of a step; what was chosen and
  // whatever is in a cell may come from the launch just before.
  const Part& part = a.places.parts[a.places.part[t]];
  TokenRows mine;  // apart: a block's short life has registers for it, and no time for a barrier
  const TokenRows* held = &mine;
  if constexpr (apart) mine = token_rows(a, t);
  const std::uint8_t* cell = nullptr;
  if (apart && !mine.chosen)
    cell = row_cell<C>(a, mine, part, block_x(), row0, entry_number(a, mine, t, block_x(), row0));
  wait_for_inputs();
  if (apart && block_x() >= mine.n_blocks) return;
  for (int i = thread(); i < kHeads * (C / 8); i += kAttentionThreads) {
    const int h = i / (C / 8), c = i % (C / 8);
    std::uint16_t* const to = qs + h * kRow + 8 * c;
    if (h < heads)
      copy_later<16>(to, a.q + (static_cast<std::int64_t>(t) * a.n_heads + h0 + h) * C + 8 * c);
    else
      *reinterpret_cast<Vec16*>(to) = Vec16{{0, 0, 0, 0}};
  }
  if constexpr (!apart) {
    auto* const kept = reinterpret_cast<TokenRows*>(cells - warp * 8 * CellWords<C>::kBytes +
                                                    kAttentionBlock * CellWords<C>::kBytes);
    if (thread() == 0) *kept = token_rows(a, t);
    held = kept;
    sync_block();
  }
  const TokenRows& rows = *held;
  float out[kTall][apart ? 1 : kAcross][4] = {};  // apart: none, for nothing is folded
  float m[kTall][2];                              // of heads m0 + 16 tile + g, + 8
  const bool counts = share == 0 && q == 0;       // whoever has l, in shared memory
  const int begin = apart ? block_x() : 0, end = apart ? begin + 1 : rows.n_blocks;
  if (!apart || rows.chosen)
    cell = row_cell<C>(a, rows, part, begin, row0, entry_number(a, rows, t, begin, row0));
  int entry = 0;  // of the block after the next
  if constexpr (!apart) {
    copy_cells<C>(cells, cell);
    cell = row_cell<C>(a, rows, part, begin + 1, row0, entry_number(a, rows, t, begin + 1, row0));
    entry = entry_number(a, rows, t, begin + 2, row0);
  }
  for (int b = begin; b < end; ++b) {
    const int n = block_rows(rows, b).n;
    // A warp's eight cells to values; of the next block they are on their way meanwhile.
    if constexpr (apart) {
      CellWords<C> words[8];
      LARES_UNROLL for (int i = 0; i < 8; ++i) {
        const std::uint8_t* const from = pointer_from(cell, i);
        load_cell(words[i], from, from != nullptr);
      }
      LARES_UNROLL for (int i = 0; i < 8; ++i) put_values(words[i], ks + (8 * warp + i) * kRow);
      finish_copies();
    } else {
      finish_copies();
      sync_warp();
      LARES_UNROLL_4 for (int i = 0; i < 8; ++i) {
        CellWords<C> words;
        load_cell(words, cells + i * CellWords<C>::kBytes, 8 * warp + i < n);
        put_values(words, ks + (8 * warp + i) * kRow);
      }
      sync_warp();
      if (b + 1 < end) {
        copy_cells<C>(cells, cell);
        cell = row_cell<C>(a, rows, part, b + 2, row0, entry);
        entry = entry_number(a, rows, t, b + 3, row0);
      }
    }
    sync_block();
    // Scores of its heads with its share of the rows, a warp: of both halves of the dims apart,
    // which halves the chain of sums.
    float s[kTall][kDown][4] = {}, upper[kTall][kDown][4] = {};
    LARES_UNROLL_2 for (int k = 0; k < C / 2; k += 32) {
      LARES_UNROLL for (int half = 0; half < 2; ++half) {
        const int at = k + half * (C / 2);
        auto& to = half ? upper : s;
        std::uint32_t qa[kTall][2][4];
        LARES_UNROLL for (int tile = 0; tile < kTall; ++tile)
            LARES_UNROLL for (int step = 0; step < 2; ++step)
                load_matrices(qa[tile][step], qs + (m0 + 16 * tile + lane % 16) * kRow + at +
                                                  16 * step + lane / 16 * 8);
        LARES_UNROLL for (int c = 0; c < kDown; ++c) {
          std::uint32_t kb[4];
          load_matrices(kb, ks + (kRows * share + 8 * c + lane % 8) * kRow + at + lane / 8 * 8);
          LARES_UNROLL for (int step = 0; step < 2; ++step)
              LARES_UNROLL for (int tile = 0; tile < kTall; ++tile)
                  mma_bf16(to[tile][c], qa[tile][step][0], qa[tile][step][1], qa[tile][step][2],
                           qa[tile][step][3], kb[2 * step], kb[2 * step + 1]);
        }
      }
    }
    float top[kTall][2];
    LARES_UNROLL for (int tile = 0; tile < kTall; ++tile) {
      top[tile][0] = top[tile][1] = float_of(0xFF800000u);
      LARES_UNROLL for (int c = 0; c < kDown; ++c) LARES_UNROLL for (int i = 0; i < 4; ++i) {
        float& v = s[tile][c][i];
        v = kRows * share + 8 * c + 2 * q + i % 2 < n ? (v + upper[tile][c][i]) * a.scale
                                                      : float_of(0xFF800000u);
        top[tile][i / 2] = max2(v, top[tile][i / 2]);
      }
      LARES_UNROLL for (int r = 0; r < 2; ++r) {
        LARES_UNROLL for (int mask = 1; mask < 4; mask *= 2)
            top[tile][r] = max2(shuffle_xor(top[tile][r], mask), top[tile][r]);
        if (q == 0) tops[share * kHeads + m0 + 16 * tile + g + 8 * r] = top[tile][r];
      }
    }
    sync_block();
    LARES_UNROLL for (int tile = 0; tile < kTall; ++tile) LARES_UNROLL for (int r = 0; r < 2; ++r) {
      const int h = m0 + 16 * tile + g + 8 * r;
      LARES_UNROLL for (int w = 0; w < kShares; ++w)
          top[tile][r] = max2(tops[w * kHeads + h], top[tile][r]);
      LARES_UNROLL for (int c = 0; c < kDown; ++c) {
        const float e0 = exponential(s[tile][c][2 * r] - top[tile][r]),
                    e1 = exponential(s[tile][c][2 * r + 1] - top[tile][r]);
        *reinterpret_cast<std::uint32_t*>(ps + h * kWeightRow + kRows * share + 8 * c + 2 * q) =
            pair(to_bf16(flushed(bf16_rounded(e0))), to_bf16(flushed(bf16_rounded(e1))));
        pairs[(share * kDown + c) * 4 * kHeads + q * kHeads + h] = e0 + e1;
      }
    }
    sync_block();
    // A weight's sum: pairs of rows, every fourth pair in order, then the four.
    Fold f[kTall][2];
    LARES_UNROLL for (int tile = 0; tile < kTall; ++tile) LARES_UNROLL for (int r = 0; r < 2; ++r) {
      const float* const of = pairs + q * kHeads + m0 + 16 * tile + g + 8 * r;
      float own = of[0];
      LARES_UNROLL for (int c = 1; c < kAttentionBlock / 8; ++c) own = own + of[c * 4 * kHeads];
      LARES_UNROLL for (int mask = 1; mask < 4; mask *= 2) own = own + shuffle_xor(own, mask);
      Fold& by = f[tile][r];
      by = b == begin ? Fold{top[tile][r], 0, 1} : fold(m[tile][r], top[tile][r]);
      if (counts)
        totals[m0 + 16 * tile + g + 8 * r] = folded(
            b == begin ? 0 : totals[m0 + 16 * tile + g + 8 * r], own, by);
      m[tile][r] = by.m;
    }
    // Values: a share of the columns a warp.
    const auto weights = [&](std::uint32_t(&p)[4], int tile, int step) {
      load_matrices(p, ps + (m0 + 16 * tile + lane % 16) * kWeightRow + 16 * step + lane / 16 * 8);
    };
    std::uint32_t pa[4][4];  // where they leave registers for it
    if constexpr (kTall == 1) {
      LARES_UNROLL for (int step = 0; step < 4; ++step) weights(pa[step], 0, step);
    }
    LARES_UNROLL for (int c0 = 0; c0 < kAcross; c0 += kPass) {
      if constexpr (kTall > 1) sync_warp();  // or the compiler loads ahead until registers spill
      float o[kTall][kPass][4] = {};
      LARES_UNROLL for (int step = 0; step < 4; ++step) {
        std::uint32_t vb[kPass / 2][4];
        LARES_UNROLL for (int c = 0; c < kPass; c += 2)
            load_transposed(vb[c / 2], ks + (16 * step + lane % 16) * kRow + share * kColumns +
                                           8 * (c0 + c) + lane / 16 * 8);
        LARES_UNROLL for (int tile = 0; tile < kTall; ++tile) {
          std::uint32_t read[4];
          if constexpr (kTall > 1) weights(read, tile, step);
          const auto& p = kTall > 1 ? read : pa[step];
          LARES_UNROLL for (int c = 0; c < kPass; ++c) mma_bf16(
              o[tile][c], p[0], p[1], p[2], p[3], vb[c / 2][c % 2 * 2], vb[c / 2][c % 2 * 2 + 1]);
        }
      }
      if constexpr (apart) {
        LARES_UNROLL for (int tile = 0; tile < kTall; ++tile)
            LARES_UNROLL for (int r = 0; r < 2; ++r) {
          const int h = m0 + 16 * tile + g + 8 * r;
          if (h >= heads) continue;
          float* const to = partial_values(a, n_blocks, t, begin, h0 + h) + share * kColumns +
                            8 * c0 + 2 * q;
          LARES_UNROLL for (int c = 0; c < kPass; ++c) * reinterpret_cast<Vec8*>(to + 8 * c) =
              Vec8{{bits_of(o[tile][c][2 * r]), bits_of(o[tile][c][2 * r + 1])}};
        }
      } else {
        LARES_UNROLL for (int tile = 0; tile < kTall; ++tile)
            LARES_UNROLL for (int c = 0; c < kPass; ++c) LARES_UNROLL for (int i = 0; i < 4; ++i)
                out[tile][c0 + c][i] = folded(out[tile][c0 + c][i], o[tile][c][i], f[tile][i / 2]);
      }
    }
    if constexpr (!apart) sync_block();
  }
  if constexpr (apart) {
    if (!counts) return;
    LARES_UNROLL for (int tile = 0; tile < kTall; ++tile) LARES_UNROLL for (int r = 0; r < 2; ++r) {
      const int h = m0 + 16 * tile + g + 8 * r;
      if (h < heads)
        *reinterpret_cast<Vec8*>(partial_sums(a, n_blocks, t, begin, h0 + h)) =
            Vec8{{bits_of(m[tile][r]), bits_of(totals[h])}};
    }
  } else {
    // Results lie as sums do, two columns a lane; in shared memory, where nobody needs q and the
    // rows any more, they get to be rows.
    auto* const results = reinterpret_cast<float*>(qs);  // [heads, dim + pad]
    static_assert(kHeads * kRow * 4 <= (kHeads + kAttentionBlock) * kRow * 2);
    LARES_UNROLL for (int tile = 0; tile < kTall; ++tile) LARES_UNROLL for (int r = 0; r < 2; ++r) {
      const int h = m0 + 16 * tile + g + 8 * r;
      if (h >= heads) continue;
      float* const to = results + h * kRow + share * kColumns + 2 * q;
      LARES_UNROLL for (int c = 0; c < kAcross; ++c) * reinterpret_cast<Vec8*>(to + 8 * c) =
          Vec8{{bits_of(out[tile][c][2 * r]), bits_of(out[tile][c][2 * r + 1])}};
      if (counts) tops[h] = inverse_sum(totals[h], a.sink[h0 + h], m[tile][r]);
    }
    sync_block();
    for (int i = thread(); i < heads * (C / 2); i += kAttentionThreads) {
      const int h = i / (C / 2), c = i % (C / 2) * 2;
      put_output(a, t, h0 + h, c, results[h * kRow + c], results[h * kRow + c + 1], tops[h]);
    }
  }
}

// Block (x: head, y: token, z: columns): the blocks left to right. All results are on their way to
// shared memory at once, as many as fit there; half the threads then fold two columns each. In
// registers, sixteen at a time, 131 blocks took nine times the way to L2 and back.
inline constexpr int kFoldThreads = 256, kFoldColumns = 256, kFoldRows = 136;
static_assert(kFoldRows <= kFoldThreads && 2 * (kFoldThreads / 2) == kFoldColumns);
constexpr int fold_rows(int n_blocks) { return n_blocks < kFoldRows ? n_blocks : kFoldRows; }
constexpr int fold_shared(int n_blocks) {
  return fold_rows(n_blocks) * (kFoldColumns * 4 + 16) + (kFoldThreads / 32 + 4) * 4;
}
LARES_KERNEL(kFoldThreads, 1) attention_fold_kernel(const AttentionArgs a, int n_blocks) {
  constexpr int kPieces = kFoldColumns / 4, kWarps = kFoldThreads / 32;
  const int h = block_x(), t = block_y(), c0 = block_z() * kFoldColumns, warp = thread() / 32,
            lane = thread() % 32, rows = fold_rows(n_blocks), piece = 4 * (thread() % kPieces);
  auto* const values = shared<float>();                                          // [rows, columns]
  auto* const factors = reinterpret_cast<Vec16*>(values + rows * kFoldColumns);  // own, earlier, l
  auto* const tops = reinterpret_cast<float*>(factors + rows);  // of warps; then the latest
  const int n = token_rows(a, t).n_blocks;                      // places: before the wait
  const float sink = a.sink[h], none = float_of(0xFF800000u);
  wait_for_inputs();
  float m = none, l = 0, v[2] = {0, 0};
  for (int first = 0; first < n; first += rows) {
    const int here = smaller(rows, n - first);
    if (c0 + piece < a.head_dim)
      for (int b = thread() / kPieces; b < here; b += kFoldThreads / kPieces)
        copy_later<16>(values + b * kFoldColumns + piece,
                       partial_values(a, n_blocks, t, first + b, h) + c0 + piece);
    const bool has = thread() < here;  // a block of rows
    const Vec8 sum =
        has ? *reinterpret_cast<const Vec8*>(partial_sums(a, n_blocks, t, first + thread(), h))
            : Vec8{{bits_of(none), 0}};
    const float own_m = float_of(sum.w[0]);
    float top = own_m;
    LARES_UNROLL for (int d = 1; d < 32; d *= 2) {
      const float other = shuffle_from(top, lane >= d ? lane - d : lane);
      if (lane >= d) top = max2(other, top);
    }
    if (lane == 31) tops[warp] = top;
    sync_block();
    float before = m;
    for (int w = 0; w < warp; ++w) before = max2(before, tops[w]);
    const float left = shuffle_from(top, lane > 0 ? lane - 1 : 0);
    const float earlier = lane > 0 ? max2(before, left) : before;
    const Fold f = first + thread() == 0 ? Fold{own_m, 0, 1} : fold(earlier, own_m);
    if (has) factors[thread()] = Vec16{{bits_of(f.own), bits_of(f.earlier), sum.w[1], 0}};
    if (thread() == here - 1) tops[kWarps] = f.m;
    finish_copies();
    sync_block();
    m = tops[kWarps];
    if (thread() < kFoldThreads / 2) {
      LARES_UNROLL_8 for (int b = 0; b < here; ++b) {
        const Vec16 by = factors[b];
        const Vec8 own = reinterpret_cast<const Vec8*>(values + b * kFoldColumns)[thread()];
        const Fold step{0, float_of(by.w[1]), float_of(by.w[0])};
        l = folded(l, float_of(by.w[2]), step);
        LARES_UNROLL for (int j = 0; j < 2; ++j) v[j] = folded(v[j], float_of(own.w[j]), step);
      }
    }
    if (first + rows < n) sync_block();  // before factors and values are written again
  }
  if (const int c = c0 + 2 * thread(); thread() < kFoldThreads / 2 && c < a.head_dim)
    put_output(a, t, h, c, v[0], v[1], inverse_sum(l, sink, m));
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
