// Bodies of top_k(), of scores that are bf16 values: a histogram of the eleven upper bits of what
// sorts them, one of the five lower within the bin where the k-th lies, then the indices in order.
// A row of few scores is one block's, all in one launch. Of a longer one slices are blocks, and
// each of the three steps is a launch. All sums are of integers, so their order does not matter.
#pragma once

#include "kernels/cuda/simt/arithmetic.h"
#include "kernels/cuda/indexer/indexer.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// Scores of a thread, one after the other; of a block
inline constexpr int kTopThreads = 256, kTopEach = 8, kTopSlice = kTopThreads * kTopEach;
inline constexpr int kTopBins = kTopKBins, kTopFine = 32;
inline constexpr int kTopWholeThreads = 1024, kTopWholeFew = 4,
                     kTopWholeMany = 16;  // ... of a thread where a block has the row
inline constexpr int kTopWhole = kTopWholeThreads * kTopWholeMany;
// Of a row in scratch: the bin; how many of all scores are at or above each fine bin of it, and
// above all of them; the same of each slice.
inline constexpr int kTopCounts = kTopFine + 1, kTopAll = 1, kTopOfSlices = kTopAll + kTopCounts;
LARES_BOTH constexpr int top_slices(int n_max) { return (n_max + kTopSlice - 1) / kTopSlice; }
LARES_BOTH constexpr int top_words(int n_max) {
  return kTopOfSlices + top_slices(n_max) * kTopCounts;
}

// 16 bits that sort as the values do; -0 is 0.
LARES_BOTH std::uint32_t sortable(float x) {
  const std::uint32_t u = bits_of(x + 0.0f);
  return (u & 0x80000000u ? ~u : u | 0x80000000u) >> 16;
}

// A thread's consecutive scores, two a register.
template <int kEach>
struct Ranks {
  std::uint32_t two[kEach / 2];
  int first, n;  // its first one's index, and how many it has

  LARES_DEVICE Ranks(const float* score, int begin, int end)
      : first(begin), n(smaller(kEach, larger(0, end - begin))) {
    float v[kEach];
    LARES_UNROLL for (int i = 0; i < kEach; ++i) v[i] = i < n ? score[first + i] : 0.0f;
    LARES_UNROLL for (int i = 0; i < kEach; i += 2) two[i / 2] = sortable(v[i]) | sortable(v[i + 1])
                                                                                      << 16;
  }
  LARES_DEVICE std::uint32_t operator[](int i) const { return two[i / 2] >> i % 2 * 16 & 0xFFFFu; }
  // How many exceed `least`, and times 2^16 how many equal it.
  LARES_DEVICE std::uint32_t counts(std::uint32_t least) const {
    std::uint32_t c = 0;
    LARES_UNROLL for (int i = 0; i < kEach; ++i) if (i < n) c += (*this)[i] > least    ? 1u
                                                                 : (*this)[i] == least ? 1u << 16
                                                                                       : 0u;
    return c;
  }
  // The chosen ones of these, after `higher` that exceed the least and `equal` that equal it, of
  // which only `ties` count.
  LARES_DEVICE void put(std::int32_t* chosen, std::uint32_t least, int higher, int equal,
                        int ties) const {
    LARES_UNROLL for (int i = 0; i < kEach; ++i) if (i < n) {
      const bool more = (*this)[i] > least, same = (*this)[i] == least;
      if (more || (same && equal < ties)) chosen[higher + smaller(equal, ties)] = first + i;
      higher += more;
      equal += same;
    }
  }
};

LARES_DEVICE std::uint32_t sum_warp(std::uint32_t v) {
  LARES_UNROLL for (int mask = 1; mask < 32; mask *= 2) v += shuffle(v, (thread() & 31) ^ mask);
  return v;
}
// The sum of those before and this one; of_warp: a word a warp.
LARES_DEVICE std::uint32_t scan_block(std::uint32_t v, std::uint32_t* of_warp) {
  const int warp = thread() / 32, lane = thread() % 32;
  LARES_UNROLL for (int d = 1; d < 32; d *= 2) {
    const std::uint32_t other = shuffle(v, lane >= d ? lane - d : lane);
    if (lane >= d) v += other;
  }
  sync_block();  // nobody reads the last ones any more
  if (lane == 31) of_warp[warp] = v;
  sync_block();
  return v + sum_warp(lane < warp ? of_warp[lane] : 0);
}
// The bin of the k-th largest and how many lie above it, to result[0] and [1]; of n threads, which
// know them after a barrier.
LARES_DEVICE void find_bin(const std::uint32_t* bins, std::uint32_t k, int n,
                           std::uint32_t* of_warp, std::uint32_t* result) {
  // Thread i has the bins that are i-th from above.
  const int each = kTopBins / n, high = kTopBins - 1 - thread() * each;
  std::uint32_t mine = 0;
  LARES_UNROLL_8 for (int i = 0; i < each; ++i) mine += bins[high - i];
  const std::uint32_t until = scan_block(mine, of_warp);
  std::uint32_t above = until - mine;
  if (above >= k || until < k) return;
  int i = 0;
  while (above + bins[high - i] < k) above += bins[high - i++];
  result[0] = static_cast<std::uint32_t>(high - i);
  result[1] = above;
}
// The highest of 32 fine bins that so many scores are at or above, by one warp; lane i has bin i's.
LARES_DEVICE int find_digit(std::uint32_t at_or_above, std::uint32_t k) {
  const std::uint32_t enough = ballot(at_or_above >= k);
  int digit = kTopFine - 1;
  while (!(enough >> digit & 1)) --digit;
  return digit;
}
// Counts of 32 fine bins -> at or above each, `above` all of them.
LARES_DEVICE std::uint32_t sum_from_above(std::uint32_t v, std::uint32_t above) {
  const int lane = thread() % 32;
  LARES_UNROLL for (int d = 1; d < 32; d *= 2) {
    const std::uint32_t other = shuffle(v, lane + d < 32 ? lane + d : lane);
    if (lane + d < 32) v += other;
  }
  return v + above;
}

template <int kEach>
LARES_KERNEL(kTopWholeThreads, 1)
top_whole_kernel(const TopKArgs a) {
  wait_for_inputs();
  const int n = static_cast<int>((a.places.position[block_x()] + 1) / a.ratio),
            lane = thread() % 32;
  std::int32_t* const chosen = a.chosen + static_cast<std::int64_t>(block_x()) * a.k;
  if (n <= a.k) {
    for (int i = thread(); i < n; i += kTopWholeThreads) chosen[i] = i;
    return;
  }
  const auto k = static_cast<std::uint32_t>(a.k);
  auto* const bins = shared<std::uint32_t>();
  std::uint32_t *const fine = bins + kTopBins, *const of_warp = fine + kTopFine,
                       *const result = of_warp + kTopWholeThreads / 32;
  const Ranks<kEach> rank(a.score + block_x() * a.score_stride, thread() * kEach, n);
  for (int i = thread(); i < kTopBins + kTopFine; i += kTopWholeThreads) bins[i] = 0;
  sync_block();
  LARES_UNROLL for (int i = 0; i < kEach; ++i) if (i < rank.n) add_shared(&bins[rank[i] >> 5], 1);
  sync_block();
  find_bin(bins, k, kTopWholeThreads, of_warp, result);
  sync_block();
  const std::uint32_t bin = result[0], above_bin = result[1];
  LARES_UNROLL for (int i = 0; i < kEach; ++i) if (i < rank.n && rank[i] >> 5 == bin)
      add_shared(&fine[rank[i] & 31], 1);
  sync_block();
  const std::uint32_t count = fine[lane], upto = sum_from_above(count, above_bin);
  const int digit = find_digit(upto, k);
  const std::uint32_t above = shuffle(upto - count, digit),
                      least = bin << 5 | static_cast<std::uint32_t>(digit);
  const std::uint32_t counts = rank.counts(least), before = scan_block(counts, of_warp) - counts;
  rank.put(chosen, least, static_cast<int>(before & 0xFFFFu), static_cast<int>(before >> 16),
           static_cast<int>(k - above));
}
inline constexpr int kTopWholeShared = (kTopBins + kTopFine + kTopWholeThreads / 32 + 2) * 4;

// Block (x: slice, y: token), all three.
struct TopRow {
  const float* score;
  std::uint32_t *bins, *scratch;
  int n, begin, end;  // of all, of this slice
  bool idle;          // everything is chosen, or nothing is here
};
LARES_DEVICE TopRow top_row(const TopKArgs& a) {
  const int t = block_y(), n = static_cast<int>((a.places.position[t] + 1) / a.ratio),
            begin = block_x() * kTopSlice;
  return {a.score + t * a.score_stride,
          a.bins + static_cast<std::int64_t>(t) * kTopBins,
          a.scratch + static_cast<std::int64_t>(t) * top_words(a.n_max),
          n,
          begin,
          smaller(n, begin + kTopSlice),
          n <= a.k || begin >= n};
}

LARES_KERNEL(kTopThreads, 4) top_bins_kernel(const TopKArgs a) {
  wait_for_inputs();
  auto* const bins = shared<std::uint32_t>();
  for (int i = thread(); i < kTopBins; i += kTopThreads) bins[i] = 0;
  const TopRow row = top_row(a);
  if (row.idle) return;
  const Ranks<kTopEach> rank(row.score, row.begin + thread() * kTopEach, row.end);
  sync_block();
  LARES_UNROLL for (int i = 0; i < kTopEach; ++i) if (i < rank.n)
      add_shared(&bins[rank[i] >> 5], 1);
  if (block_x() == 0 && thread() < kTopCounts)
    row.scratch[kTopAll + thread()] = 0;  // for the next launch's sums
  sync_block();
  for (int i = thread(); i < kTopBins; i += kTopThreads)
    if (bins[i]) add_global(&row.bins[i], bins[i]);
}

LARES_KERNEL(kTopThreads, 4) top_fine_kernel(const TopKArgs a) {
  wait_for_inputs();
  const TopRow row = top_row(a);
  if (row.idle) return;
  auto* const bins = shared<std::uint32_t>();
  std::uint32_t *const fine = bins + kTopBins, *const of_warp = fine + kTopCounts,
                       *const result = of_warp + kTopThreads / 32;
  LARES_UNROLL_8 for (int i = thread(); i < kTopBins; i += kTopThreads) bins[i] = row.bins[i];
  const Ranks<kTopEach> rank(row.score, row.begin + thread() * kTopEach, row.end);
  if (thread() < kTopCounts) fine[thread()] = 0;
  sync_block();
  find_bin(bins, static_cast<std::uint32_t>(a.k), kTopThreads, of_warp, result);
  sync_block();
  const std::uint32_t bin = result[0];
  LARES_UNROLL for (int i = 0; i < kTopEach; ++i) if (i < rank.n && rank[i] >> 5 >= bin)
      add_shared(&fine[rank[i] >> 5 > bin ? kTopFine : rank[i] & 31], 1);
  sync_block();
  if (thread() < 32) {
    const std::uint32_t above = fine[kTopFine], upto = sum_from_above(fine[thread()], above);
    const auto put = [&](int i, std::uint32_t v) {
      row.scratch[kTopOfSlices + block_x() * kTopCounts + i] = v;
      if (v) add_global(&row.scratch[kTopAll + i], v);
    };
    put(thread(), upto);
    if (thread() == 0) put(kTopFine, above);
  }
  if (block_x() == 0 && thread() == 0) row.scratch[0] = bin;
}

LARES_KERNEL(kTopThreads, 4) top_choose_kernel(const TopKArgs a) {
  wait_for_inputs();
  const TopRow row = top_row(a);
  std::int32_t* const chosen = a.chosen + static_cast<std::int64_t>(block_y()) * a.k;
  if (row.n <= a.k && block_x() == 0)
    for (int i = thread(); i < row.n; i += kTopThreads) chosen[i] = i;
  if (row.idle) return;
  if (block_x() == 0)  // nobody reads the bins any more
    for (int i = thread(); i < kTopBins; i += kTopThreads) row.bins[i] = 0;
  std::uint32_t* const of_warp = shared<std::uint32_t>();
  const std::uint32_t bin = row.scratch[0], all = row.scratch[kTopAll + thread() % 32];
  const Ranks<kTopEach> rank(row.score, row.begin + thread() * kTopEach, row.end);
  const int digit = find_digit(all, static_cast<std::uint32_t>(a.k));
  const std::uint32_t least = bin << 5 | static_cast<std::uint32_t>(digit);
  // Of those equal to the least, the first so many
  const int ties = a.k - static_cast<int>(row.scratch[kTopAll + digit + 1]);
  // Of the slices before this one.
  std::uint32_t higher = 0, upto = 0;
  LARES_UNROLL_2 for (int s = thread(); s < block_x(); s += kTopThreads) {
    const std::uint32_t* const of_slice = row.scratch + kTopOfSlices + s * kTopCounts + digit;
    upto += of_slice[0];
    higher += of_slice[1];
  }
  upto = sum_warp(upto);
  higher = sum_warp(higher);
  if (thread() % 32 == 0) {
    of_warp[2 * (thread() / 32)] = upto;
    of_warp[2 * (thread() / 32) + 1] = higher;
  }
  sync_block();
  upto = higher = 0;
  LARES_UNROLL for (int w = 0; w < kTopThreads / 32; ++w) {
    upto += of_warp[2 * w];
    higher += of_warp[2 * w + 1];
  }
  const std::uint32_t counts = rank.counts(least), before = scan_block(counts, of_warp) - counts;
  rank.put(chosen, least, static_cast<int>(higher + (before & 0xFFFFu)),
           static_cast<int>(upto - higher + (before >> 16)), ties);
}
inline constexpr int kTopBinsShared = kTopBins * 4;
inline constexpr int kTopFineShared = (kTopBins + kTopCounts + kTopThreads / 32 + 2) * 4;
inline constexpr int kTopChooseShared = kTopThreads / 32 * 2 * 4;

}  // namespace lares::kernels::cuda::inline LARES_SIDE
