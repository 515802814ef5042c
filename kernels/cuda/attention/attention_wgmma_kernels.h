// Body of attention() of many tokens with 512 dims by wgmma (sm_90a): 64 heads of a token are the
// 64 rows of its tiles. Bits are those of attention_kernels.h: scores are chains over the lower and
// the upper half of the dims, values start from zero in each block of rows and are folded into the
// sums, and wgmma adds as mma does.
//
// A block takes one token (and 64 heads) after the other. One warpgroup fetches cells and puts them
// as bf16 into a ring of two blocks of rows; of the two that multiply each has half of a block's
// rows for scores and weights, and half of the columns for values. What they tell each other
// (maxima, weights, half of a weights' sum) goes through shared memory; barriers have numbers.
//
// An SM's clocks for a block of rows (8.4 MFLOP): scores 1536 (shared memory: q for both
// warpgroups, rows), weights about 750 of issue, values 1024 (tensor cores) beside 512 of folds:
// 3,800 for those that multiply. Of issue slots a scheduler's two warps that multiply take 2,060,
// the one that fetches 2,100: about 4,200 clocks, which for 8,192 tokens of 11 blocks on 132 SMs
// are 1.6 ms. The mma form needs 8,000 by the same reckoning and took 15,600.
#pragma once

#include "kernels/cuda/attention/attention_kernels.h"
#include "kernels/cuda/simt/bulk.h"
#include "kernels/cuda/products/wgmma_transposed.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kWgmmaDim = 512, kMathThreads = 256, kWgmmaThreads = kMathThreads + 128;
// bytes: 64 rows of 64 dims, swizzled; of a block
inline constexpr int kWgmmaTile = kAttentionBlock * 128, kWgmmaTiles = kWgmmaDim / 64;
inline constexpr int kWgmmaRows = kWgmmaTile * kWgmmaTiles, kWgmmaStages = 2;
// Registers of a thread. A launch of 384 threads has 168 each; what the fetching ones leave, the
// others take, and no more, or they wait forever.
inline constexpr int kMathRegisters = 216, kFetchRegisters = 72;
static_assert(2 * kMathRegisters + kFetchRegisters <= 3 * 168 && kMathRegisters % 8 == 0 &&
              kFetchRegisters % 8 == 0);
// Barriers: of those that multiply; a block of rows is there (of each stage); and is not needed any
// more.
inline constexpr int kMathBarrier = 1, kFullBarrier = 2,
                     kEmptyBarrier = kFullBarrier + kWgmmaStages;

// A warp's lanes have eight heads of each of four rows: of 64 heads and 8 more a row, words 8 q +
// g, each in a bank of its own.
inline constexpr int kHalfRow = kHeadsWide + 8;
struct WgmmaShared {
  unsigned char *queries, *rows;  // [kWgmmaTiles] tiles of heads; [stages, kWgmmaTiles] of rows
  std::uint16_t* weights;         // [heads, kWeightRow]
  float* tops;                    // [2, heads]
  float* halves;                  // [4, heads + 8] sums of the first half of a block's weights
  float* inverse;                 // [heads]
  std::uint32_t* counts;          // [stages] rows of the block; bit 8: it is the token's last
  std::uint8_t* cells;            // [4 warps, 8]
};
inline constexpr int kWgmmaShared = kSwizzleAlign + (1 + kWgmmaStages) * kWgmmaRows +
                                    kHeadsWide * (kWeightRow * 2 + 3 * 4) + 4 * kHalfRow * 4 + 16 +
                                    4 * 8 * CellWords<kWgmmaDim>::kBytes;
static_assert(kWgmmaShared <= 227 << 10 && kHeadsWide == kAttentionBlock);
LARES_DEVICE WgmmaShared wgmma_layout() {
  WgmmaShared s;
  auto* const start = shared<unsigned char>();
#ifdef __CUDACC__
  const std::uint32_t at = static_cast<std::uint32_t>(__cvta_generic_to_shared(start));
#else
  const auto at = reinterpret_cast<std::uintptr_t>(start);
#endif
  s.queries = start + (kSwizzleAlign - at % kSwizzleAlign) % kSwizzleAlign;
  s.rows = s.queries + kWgmmaRows;
  s.weights = reinterpret_cast<std::uint16_t*>(s.rows + kWgmmaStages * kWgmmaRows);
  s.tops = reinterpret_cast<float*>(s.weights + kHeadsWide * kWeightRow);
  s.halves = s.tops + 2 * kHeadsWide;
  s.inverse = s.halves + 4 * kHalfRow;
  s.counts = reinterpret_cast<std::uint32_t*>(s.inverse + kHeadsWide);
  s.cells = reinterpret_cast<std::uint8_t*>(s.counts + 4);
  return s;
}

// Tokens and groups of heads, one after the other.
struct WgmmaItem {
  int t, h0;
};
LARES_DEVICE WgmmaItem wgmma_item(const AttentionArgs& a, int item) {
  const int groups = (a.n_heads + kHeadsWide - 1) / kHeadsWide;
  return {item / groups, item % groups * kHeadsWide};
}
LARES_DEVICE int wgmma_items(const AttentionArgs& a) {
  return a.places.n_tokens * ((a.n_heads + kHeadsWide - 1) / kHeadsWide);
}

// The warpgroup that fetches. A warp has sixteen rows of a block, eight at a time, and decodes four
// at once, for which it has registers; the next eight cells are on their way from then on when the
// last four are in these, and where the eight after them are is asked for a step before that.
LARES_DEVICE void fetch_rows(const AttentionArgs& a, const WgmmaShared& s) {
  using Words = CellWords<kWgmmaDim>;
  const int warp = (thread() - kMathThreads) / 32, n_items = wgmma_items(a);
  std::uint8_t* const cells = s.cells + warp * 8 * Words::kBytes;
  int use = 0;
  for (int item = block_x(); item < n_items; item += grid_x()) {
    const int t = wgmma_item(a, item).t;
    const Part& part = a.places.parts[a.places.part[t]];
    const TokenRows rows = token_rows(a, t);
    const auto row_of = [&](int step) { return 16 * warp + step % 2 * 8; };
    const auto number = [&](int step) { return entry_number(a, rows, t, step / 2, row_of(step)); };
    const auto place = [&](int step, int entry) {
      return row_cell<kWgmmaDim>(a, rows, part, step / 2, row_of(step), entry);
    };
    copy_cells<kWgmmaDim>(cells, place(0, number(0)));
    const std::uint8_t* cell = place(1, number(1));
    int entry = number(2);
    LARES_ROLLED for (int step = 0; step < 2 * rows.n_blocks; ++step) {
      const int b = step / 2, n = block_rows(rows, b).n, stage = use % kWgmmaStages;
      finish_copies();
      sync_warp();
      unsigned char* const to = s.rows + stage * kWgmmaRows;
      LARES_UNROLL for (int i0 = 0; i0 < 8; i0 += 4) {
        Words words[4];
        LARES_UNROLL for (int i = 0; i < 4; ++i)
            load_cell(words[i], cells + (i0 + i) * Words::kBytes, row_of(step) + i0 + i < n);
        if (i0 == 0 && step % 2 == 0 && use >= kWgmmaStages)
          sync_some(kEmptyBarrier + stage, kWgmmaThreads);
        if (i0 > 0) {
          sync_warp();
          if (step + 1 < 2 * rows.n_blocks) {
            copy_cells<kWgmmaDim>(cells, cell);
            cell = place(step + 2, entry);
            entry = number(step + 3);
          }
        }
        LARES_UNROLL for (int i = 0; i < 4; ++i) {
          const int row = row_of(step) + i0 + i;
          put_values_at<kWgmmaDim>(words[i], [&](int c) {
            return to + c / 64 * kWgmmaTile + swizzled(row, c % 64 / 8) + c % 8 * 2;
          });
        }
      }
      if (step % 2 == 0) continue;
      if (thread() == kMathThreads)
        s.counts[stage] = static_cast<std::uint32_t>(n) | (b + 1 == rows.n_blocks ? 256u : 0u);
      publish_shared();
      arrive_some(kFullBarrier + stage, kWgmmaThreads);
      ++use;
    }
  }
  // Whoever multiplies says so for every block of rows: nobody leaves a barrier half full.
  for (int i = use < kWgmmaStages ? 0 : use - kWgmmaStages; i < use; ++i)
    sync_some(kEmptyBarrier + i % kWgmmaStages, kWgmmaThreads);
}

// A warp has eight heads, and of each a lane two pieces of eight dims.
inline constexpr int kWarpHeads = kHeadsWide / (kMathThreads / 32);
static_assert(kWarpHeads == 8 && kWgmmaDim == 2 * 32 * 8);
LARES_DEVICE void copy_queries(const AttentionArgs& a, const WgmmaShared& s, int item) {
  const WgmmaItem of = wgmma_item(a, item);
  const int own = anew(thread()), lane = own % 32, first = own / 32 * kWarpHeads,
            there = a.n_heads - of.h0 - first;
  const std::uint16_t* from =
      (a.raw_q ? a.raw_q : a.q) +
      (static_cast<std::int64_t>(of.t) * a.n_heads + of.h0 + first) * kWgmmaDim + 8 * lane;
  unsigned char* const to = s.queries + lane / 8 * kWgmmaTile;
  LARES_ROLLED for (int h = 0; h < kWarpHeads; ++h, from += kWgmmaDim) {
    LARES_UNROLL for (int i = 0; i < 2; ++i) {
      unsigned char* const piece = to + 4 * i * kWgmmaTile + swizzled(first + h, lane % 8);
      if (h < there)
        copy_later<16>(piece, from + 256 * i);
      else
        *reinterpret_cast<Vec16*>(piece) = Vec16{{0, 0, 0, 0}};
    }
  }
}

// Of a pair of bf16 those that attention need not see become 0.
LARES_BOTH std::uint32_t flushed_pair(std::uint32_t v) {
  const std::uint32_t least = bits_of(0x1p-46f) >> 16,
                      seen = ((v & 0x7FFF7FFFu) + (0x8000u - least) * 0x10001u) >> 15 & 0x10001u;
  return v & seen * 0xFFFFu;
}
// What queries() does, by each warp to its heads, when its own copies are there. Four lanes have a
// head, a word of each of its pieces: eight chains of squares, as turn_queries() has them, are two
// of each lane. About 1,000 operations of a lane a token, eight turns in double among them.
LARES_DEVICE void turn_own_queries(const AttentionArgs& a, const WgmmaShared& s, int item) {
  constexpr int kPieces = kWgmmaDim / 8, kTurned = kAttentionRopeDim / 8;
  const int own = anew(thread()), quarter = own % 4, h = own / 4;
  const auto word = [&](int piece) {
    return reinterpret_cast<std::uint32_t*>(s.queries + piece / 8 * kWgmmaTile +
                                            swizzled(h, piece % 8)) +
           quarter;
  };
  sync_warp();
  std::uint32_t v[kPieces];
  float acc[2] = {0, 0};
  LARES_UNROLL for (int i = 0; i < kPieces; ++i) {
    v[i] = *word(i);
    const std::uint32_t squares = multiply_bf16(v[i], v[i]);
    acc[0] = acc[0] + bf16_value(squares & 0xFFFFu);
    acc[1] = acc[1] + float_of(squares & 0xFFFF0000u);
  }
  LARES_UNROLL for (int mask = 2; mask > 0; mask /= 2) LARES_UNROLL for (int c = 0; c < 2; ++c)
      acc[c] = acc[c] + shuffle_xor(acc[c], mask);
  const float mean = bf16_rounded((acc[0] + acc[1]) / static_cast<float>(kWgmmaDim));
  const std::uint32_t factor = to_bf16(1.0f / sqrtf(bf16_rounded(mean + a.query_eps))) * 0x10001u;
  LARES_UNROLL for (int i = 0; i < kPieces - kTurned; ++i) *
      word(i) = flushed_pair(multiply_bf16(v[i], factor));
  const double* const angles =
      a.rope + static_cast<std::int64_t>(wgmma_item(a, item).t) * kAttentionRopeDim + 2 * quarter;
  LARES_UNROLL for (int i = 0; i < kTurned; ++i) {
    const int piece = kPieces - kTurned + i;
    const std::uint32_t two = multiply_bf16(v[piece], factor);
    float v0 = bf16_value(two & 0xFFFFu), v1 = float_of(two & 0xFFFF0000u);
    turn(v0, v1, angles[8 * i], angles[8 * i + 1]);
    *word(piece) = flushed_pair(bf16_pair(v0, v1));
  }
}

// The two that multiply: `half` of the rows, then of the columns.
LARES_DEVICE void attend_rows(const AttentionArgs& a, const WgmmaShared& s) {
  const int half = thread() / 128, warp = thread() / 32 % 4, lane = thread() % 32, g = lane / 4,
            q = lane % 4, h = 16 * warp + g, n_items = wgmma_items(a);
  const float none = float_of(0xFF800000u);
  int use = 0;
  if (block_x() < n_items) copy_queries(a, s, block_x());
  LARES_ROLLED for (int item = block_x(); item < n_items; item += grid_x()) {
    finish_copies();
    if (a.raw_q) turn_own_queries(a, s, item);
    publish_shared();       // to be read past the first block's barrier
    float out[4][32] = {};  // of 64 columns each
    float m[2], l[2];       // of heads h, h + 8; l where half is 1
    bool begins = true, ends = false;
    LARES_ROLLED for (; !ends; ++use, begins = false) {
      const int stage = use % kWgmmaStages;
      sync_some(kFullBarrier + stage, kWgmmaThreads);
      const std::uint32_t count = s.counts[stage];
      const int n = static_cast<int>(count & 255u) - 32 * half;  // of its rows
      ends = count >= 256u;
      const unsigned char* const rows = s.rows + stage * kWgmmaRows;
      const Factor queries = anew(factor_of(s.queries)),
                   keys = anew(factor_of(rows + half * (kWgmmaTile / 2))),
                   values = anew(transposed_of(rows + half * (kWgmmaRows / 2)));
      float v[16], upper[16];
      wgmma_fence();
      LARES_UNROLL for (int tile = 0; tile < kWgmmaTiles / 2; ++tile)
          LARES_UNROLL for (int step = 0; step < 4; ++step) {
        constexpr int kUpper = kWgmmaTiles / 2 * kWgmmaTile;
        const int at = tile * kWgmmaTile + 32 * step;
        wgmma_shared(v, further(queries, at), further(keys, at), tile + step > 0);
        wgmma_shared(upper, further(queries, at + kUpper), further(keys, at + kUpper),
                     tile + step > 0);
      }
      wgmma_commit();
      wgmma_wait<0>();
      pin(v);
      pin(upper);
      float top[2] = {none, none};
      LARES_UNROLL for (int i = 0; i < 16; ++i) {
        v[i] = i / 4 * 8 + 2 * q + i % 2 < n ? (v[i] + upper[i]) * a.scale : none;
        top[i % 4 / 2] = max2(v[i], top[i % 4 / 2]);
      }
      LARES_UNROLL for (int r = 0; r < 2; ++r) {
        LARES_UNROLL for (int mask = 1; mask < 4; mask *= 2)
            top[r] = max2(shuffle_xor(top[r], mask), top[r]);
        if (q == 0) s.tops[half * kHeadsWide + h + 8 * r] = top[r];
      }
      sync_some(kMathBarrier, kMathThreads);
      float two[2][4];  // sums of pairs of weights
      LARES_UNROLL for (int r = 0; r < 2; ++r) {
        LARES_UNROLL for (int w = 0; w < 2; ++w)
            top[r] = max2(s.tops[w * kHeadsWide + h + 8 * r], top[r]);
        LARES_UNROLL for (int c = 0; c < 4; ++c) {
          const float e0 = exponential(v[4 * c + 2 * r] - top[r]),
                      e1 = exponential(v[4 * c + 2 * r + 1] - top[r]);
          *reinterpret_cast<std::uint32_t*>(s.weights + (h + 8 * r) * kWeightRow + 32 * half +
                                            8 * c + 2 * q) =
              pair(to_bf16(flushed(bf16_rounded(e0))), to_bf16(flushed(bf16_rounded(e1))));
          two[r][c] = e0 + e1;
        }
        if (half == 0)
          s.halves[q * kHalfRow + h + 8 * r] = ((two[r][0] + two[r][1]) + two[r][2]) + two[r][3];
      }
      sync_some(kMathBarrier, kMathThreads);
      Fold f[2];
      LARES_UNROLL for (int r = 0; r < 2; ++r) {
        f[r] = begins ? Fold{top[r], 0, 1} : fold(m[r], top[r]);
        m[r] = f[r].m;
        if (half == 1) {
          float own = s.halves[q * kHalfRow + h + 8 * r];
          LARES_UNROLL for (int c = 0; c < 4; ++c) own = own + two[r][c];
          LARES_UNROLL for (int mask = 1; mask < 4; mask *= 2) own = own + shuffle_xor(own, mask);
          l[r] = folded(begins ? 0 : l[r], own, f[r]);
        }
      }
      if (ends && item + grid_x() < n_items)
        copy_queries(a, s, item + grid_x());  // scores are done, by both
      std::uint32_t weights[4][4];
      LARES_UNROLL for (int step = 0; step < 4; ++step)
          load_matrices(weights[step], s.weights + (16 * warp + lane % 16) * kWeightRow +
                                           16 * step + lane / 16 * 8);
      LARES_UNROLL for (int part = 0; part < 4; ++part) {
        float o[32];
        wgmma_fence();
        LARES_UNROLL for (int step = 0; step < 4; ++step) wgmma_transposed(
            o, weights[step], further(values, part * kWgmmaTile + 2048 * step), step > 0);
        wgmma_commit();
        wgmma_wait<0>();
        pin(o);
        LARES_UNROLL for (int i = 0; i < 32; ++i)
            out[part][i] = folded(out[part][i], o[i], f[i % 4 / 2]);
      }
      LARES_UNROLL for (int step = 0; step < 4; ++step) pin(weights[step]);
      arrive_some(kEmptyBarrier + stage, kWgmmaThreads);
    }
    const WgmmaItem of = wgmma_item(a, item);
    if (half == 1 && q == 0)
      LARES_UNROLL for (int r = 0; r < 2; ++r) if (of.h0 + h + 8 * r < a.n_heads)
          s.inverse[h + 8 * r] = inverse_sum(l[r], a.sink[of.h0 + h + 8 * r], m[r]);
    sync_some(kMathBarrier, kMathThreads);
    // As put_output() does it; the last 64 columns are rotary, and both heads have their angles.
    const float inverse[2] = {s.inverse[h], s.inverse[h + 8]};
    bf16* const to = a.out + (static_cast<std::int64_t>(of.t) * a.n_heads + of.h0 + h) * kWgmmaDim +
                     256 * half + 2 * q;
    const double* const angles = a.rope + static_cast<std::int64_t>(of.t) * kAttentionRopeDim +
                                 2 * q;
    const bool there[2] = {of.h0 + h < a.n_heads, of.h0 + h + 8 < a.n_heads};
    LARES_UNROLL for (int part = 0; part < 4; ++part) LARES_UNROLL for (int c = 0; c < 8; ++c) {
      double cosine = 1, sine = 0;
      if (part == 3 && half == 1) cosine = angles[8 * c], sine = -angles[8 * c + 1];
      LARES_UNROLL for (int r = 0; r < 2; ++r) {
        float v0 = bf16_rounded(out[part][4 * c + 2 * r] * inverse[r]),
              v1 = bf16_rounded(out[part][4 * c + 2 * r + 1] * inverse[r]);
        if (part == 3 && half == 1) turn(v0, v1, cosine, sine);
        if (there[r])
          *reinterpret_cast<std::uint32_t*>(to + 8 * r * kWgmmaDim + 64 * part + 8 * c) = pair(
              to_bf16(v0), to_bf16(v1));
      }
    }
  }
}

// As many blocks as the device runs at once, or as there are items.
LARES_KERNEL(kWgmmaThreads, 1) attention_wgmma_kernel(const AttentionArgs a) {
  const WgmmaShared s = wgmma_layout();
  if (thread() < kMathThreads) {
    take_registers<kMathRegisters>();
    wait_for_inputs();
    attend_rows(a, s);
  } else {
    give_registers<kFetchRegisters>();
    wait_for_inputs();
    fetch_rows(a, s);
  }
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
