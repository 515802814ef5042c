// The rows of attention(): which a token attends, and their cells to bf16 in shared memory.
#pragma once

#include "kernels/cuda/simt/arithmetic.h"
#include "kernels/cuda/attention/attention.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// The rows a token attends.
struct TokenRows {
  std::int64_t first, last;  // window positions
  int window_blocks, n_entries, n_blocks;
  bool chosen;
};
static_assert(sizeof(TokenRows) <= 64 && sizeof(TokenRows) % 8 == 0);
LARES_DEVICE TokenRows token_rows(const AttentionArgs& a, int t) {
  const std::int64_t p = a.places.position[t];
  TokenRows r;
  r.first = p + 1 < a.window ? 0 : p + 1 - a.window;
  r.last = p;
  r.window_blocks = static_cast<int>(r.last / kAttentionBlock - r.first / kAttentionBlock) + 1;
  const std::int64_t seen = a.ratio == 0 ? 0 : (p + 1) / a.ratio;
  r.chosen = a.chosen && seen > a.k;
  r.n_entries = r.chosen ? a.k : static_cast<int>(seen);
  r.n_blocks = r.window_blocks + (r.n_entries + kAttentionBlock - 1) / kAttentionBlock;
  return r;
}

// Rows of the b-th of its blocks: n from window position `low`, or of the entry with rank `rank`
// on.
struct BlockRows {
  bool window;
  std::int64_t low;
  int rank, n;
};
LARES_DEVICE BlockRows block_rows(const TokenRows& rows, int b) {
  BlockRows r;
  r.window = b < rows.window_blocks;
  const std::int64_t begin = (rows.first / kAttentionBlock + b) * kAttentionBlock,
                     end = begin + kAttentionBlock;
  r.low = begin < rows.first ? rows.first : begin;
  r.rank = (b - rows.window_blocks) * kAttentionBlock;
  r.n = r.window ? static_cast<int>((end < rows.last + 1 ? end : rows.last + 1) - r.low)
                 : smaller(kAttentionBlock, rows.n_entries - r.rank);
  return r;
}

// A cell in words of eight bytes: codes, one word of scales, rotary values. A lane has every 32nd.
template <int C>
struct CellWords {
  static constexpr int kPlain = C - kAttentionRopeDim, kCodes = kPlain / 8,
                       kWords = kCodes + 1 + kAttentionRopeDim / 4;
  static constexpr int kBytes = 8 * kWords, kEach = (kWords + 31) / 32;
  static_assert(kPlain % 64 == 0 && kPlain / 64 <= 8);
  Vec8 w[kEach];
};
// By one warp; zeros where it is not there.
template <int C>
LARES_DEVICE void load_cell(CellWords<C>& to, const std::uint8_t* cell, bool there) {
  LARES_UNROLL for (int i = 0; i < CellWords<C>::kEach; ++i) {
    const int at = thread() % 32 + 32 * i;
    to.w[i] = there && at < CellWords<C>::kWords ? reinterpret_cast<const Vec8*>(cell)[at]
                                                 : Vec8{{0, 0}};
  }
}
// ... as bf16 values [C]: those from dim c on, up to eight of them, lie at to(c).
template <int C, class To>
LARES_DEVICE void put_values_at(const CellWords<C>& cell, To to) {
  using Words = CellWords<C>;
  const int lane = thread() % 32;
  constexpr int kHolder = Words::kCodes / 32;  // whose lane kCodes % 32 has the scales
  const std::uint32_t scales[2] = {shuffle(cell.w[kHolder].w[0], Words::kCodes % 32),
                                   shuffle(cell.w[kHolder].w[1], Words::kCodes % 32)};
  // With scales up to 1, which nearly all cells have, one factor does it: 2^(s - 127) and the 2^120
  // that codes lack.
  const bool once = ((scales[0] | scales[1]) & 0x80808080u) == 0;
  LARES_UNROLL for (int i = 0; i < Words::kEach; ++i) {
    const int at = lane + 32 * i;
    if (at < Words::kCodes) {
      const std::uint32_t s = scales[i % 2] >> lane / 8 * 8 & 255;  // 64 codes each
      const std::uint32_t codes[4] = {
          e4m3_bf16(spread_low(cell.w[i].w[0])), e4m3_bf16(spread_high(cell.w[i].w[0])),
          e4m3_bf16(spread_low(cell.w[i].w[1])), e4m3_bf16(spread_high(cell.w[i].w[1]))};
      Vec16 v;
      if (once) {
        LARES_UNROLL for (int c = 0; c < 4; ++c)
            v.w[c] = multiply_bf16(codes[c], (s + 120) * 0x00800080u);
      } else {
        // 2^(s - 127); 255 with codes of 0 makes NaN
        const std::uint32_t scale = s == 0 ? 0x00400040u : s << 7 | s << 23;
        LARES_UNROLL for (int c = 0; c < 4; ++c)
            v.w[c] = multiply_bf16(times_2_120(codes[c]), scale);
      }
      *reinterpret_cast<Vec16*>(to(8 * at)) = v;
    } else if (at > Words::kCodes && at < Words::kWords) {
      *reinterpret_cast<Vec8*>(to(Words::kPlain + 4 * (at - Words::kCodes - 1))) = cell.w[i];
    }
  }
}
template <int C>
LARES_DEVICE void put_values(const CellWords<C>& cell, std::uint16_t* to) {
  put_values_at<C>(cell, [to](int c) { return to + c; });
}

// Eight cells as they are, by one warp whose lane i says where the i-th is; none at null.
template <int C>
LARES_DEVICE void copy_cells(std::uint8_t* to, const std::uint8_t* cell) {
  LARES_UNROLL for (int i = 0; i < 8; ++i) {
    const std::uint8_t* const from = pointer_from(cell, i);
    if (!from) continue;
    LARES_UNROLL for (int j = 0; j < CellWords<C>::kEach;
                      ++j) if (const int at = thread() % 32 + 32 * j; at < CellWords<C>::kWords)
        copy_later<8>(to + i * CellWords<C>::kBytes + 8 * at, from + 8 * at);
  }
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
