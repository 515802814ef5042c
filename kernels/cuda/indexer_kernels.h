// Bodies of index_queries(), index_scores() and top_k().
#pragma once

#include "kernels/cuda/indexer_rows.h"
#include "kernels/cuda/rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// A warp a head.
LARES_KERNEL(128, 8) index_queries_kernel(const IndexQueryArgs a) {
  wait_for_inputs();
  const std::int64_t i = static_cast<std::int64_t>(block_x()) * 4 + thread() / 32;
  if (i < static_cast<std::int64_t>(a.n_tokens) * a.n_heads) index_query(a, i);
}

// Upper bytes of the f16 values of twice e2m1's, codes 0..3 of a word, then 4..7.
LARES_DEVICE void key_bytes(std::uint32_t word, std::uint32_t& first, std::uint32_t& second) {
  constexpr std::uint32_t kLow = 0x42403C00u, kHigh = 0x4A484644u;  // 0 1 2 3 | 4 6 8 12
  const std::uint32_t sel = word & 0x77777777u, sign = word >> 3 & 0x11111111u;
  first = permute_bytes(kLow, kHigh, sel & 0xFFFFu) | permute_bytes(0x8000u, 0, sign & 0xFFFFu);
  second = permute_bytes(kLow, kHigh, sel >> 16) | permute_bytes(0x8000u, 0, sign >> 16);
}

inline constexpr int kScoreThreads = 256;
inline constexpr int kScoreKeysFew = 128, kScoreKeys = 512;  // of a block: 16 a warp, or four times 16
LARES_BOTH constexpr int score_keys(int n_keys_max) { return n_keys_max <= 128 * kScoreKeysFew ? kScoreKeysFew : kScoreKeys; }
inline constexpr int kScoreRow = kIndexDim + 32;  // of a query in shared memory
constexpr int padded_heads(int n_heads) { return (n_heads + 7) / 8 * 8; }
constexpr int score_shared(int n_heads) {
  const int heads = padded_heads(n_heads);
  return heads * kScoreRow * 2 + heads * 4 * 4 + heads * 4 + kScoreThreads / 32 * heads * 17 * 4;
}

// Block (x: keys, y: token).
LARES_KERNEL(kScoreThreads, 2) index_scores_kernel(const IndexScoreArgs a) {
  wait_for_inputs();
  const int t = block_y(), of_block = score_keys(a.n_keys_max), first = block_x() * of_block, heads = (a.n_heads + 7) / 8 * 8;
  const std::int64_t seen = (a.places.position[t] + 1) / 4;
  if (first >= seen) return;
  const int n_keys = static_cast<int>(seen - first < of_block ? seen - first : of_block);
  const int warp = thread() / 32, lane = thread() % 32, g = lane / 4, q = lane % 4;
  const std::uint8_t* const* const pages = a.places.parts[a.places.part[t]].pages;
  auto* const qs = shared<std::uint16_t>();
  auto* const scale = reinterpret_cast<float*>(qs + heads * kScoreRow);
  float* const weight = scale + heads * 4;
  float* const terms = weight + heads + warp * heads * 17;
  for (int i = thread(); i < heads * (kIndexDim / 8); i += kScoreThreads) {
    const int h = i / (kIndexDim / 8), c = i % (kIndexDim / 8);
    Vec16 v{{0, 0, 0, 0}};
    if (h < a.n_heads) v = reinterpret_cast<const Vec16*>(a.codes + (static_cast<std::int64_t>(t) * a.n_heads + h) * kIndexDim)[c];
    reinterpret_cast<Vec16*>(qs + h * kScoreRow)[c] = v;
  }
  for (int i = thread(); i < heads * 4; i += kScoreThreads)
    scale[i] = i < a.n_heads * 4 ? a.scale[static_cast<std::int64_t>(t) * a.n_heads * 4 + i] : 0.0f;
  for (int i = thread(); i < heads; i += kScoreThreads)
    weight[i] = i < a.n_heads ? a.weight[static_cast<std::int64_t>(t) * a.n_heads + i] : 0.0f;
  sync_block();
  for (int base = 16 * warp; base < n_keys; base += kScoreThreads / 32 * 16) {
    std::uint32_t words[2][4];
    float key_scale[2][4];
    LARES_UNROLL for (int half = 0; half < 2; ++half) {
      const int j = first + smaller(base + g + 8 * half, n_keys - 1);
      const std::uint8_t* const key =
          pages[j / a.keys.per_page] + a.keys.offset + static_cast<std::int64_t>(j % a.keys.per_page) * 68;
      LARES_UNROLL for (int c = 0; c < 4; ++c) words[half][c] = *reinterpret_cast<const std::uint32_t*>(key + 16 * c + 4 * q);
      const std::uint32_t exponents = *reinterpret_cast<const std::uint32_t*>(key + 64);
      LARES_UNROLL for (int c = 0; c < 4; ++c) key_scale[half][c] = e8m0(exponents >> 8 * c & 255);
    }
    std::uint32_t keys[4][2][4];
    LARES_UNROLL for (int c = 0; c < 4; ++c)
      LARES_UNROLL for (int half = 0; half < 2; ++half) {
        std::uint32_t bytes[2];
        key_bytes(words[half][c], bytes[0], bytes[1]);
        LARES_UNROLL for (int s = 0; s < 2; ++s) {
          keys[c][s][half] = spread_low(bytes[s]);
          keys[c][s][2 + half] = spread_high(bytes[s]);
        }
      }
    for (int h0 = 0; h0 < heads; h0 += 8) {
      float dot[4] = {0, 0, 0, 0};
      LARES_UNROLL for (int c = 0; c < 4; ++c) {
        const Vec16 b = *reinterpret_cast<const Vec16*>(qs + (h0 + g) * kScoreRow + 32 * c + 8 * q);
        float sum[4] = {0, 0, 0, 0};
        mma_f16(sum, keys[c][0][0], keys[c][0][1], keys[c][0][2], keys[c][0][3], b.w[0], b.w[1]);
        mma_f16(sum, keys[c][1][0], keys[c][1][1], keys[c][1][2], keys[c][1][3], b.w[2], b.w[3]);
        const float s0 = scale[(h0 + 2 * q) * 4 + c], s1 = scale[(h0 + 2 * q + 1) * 4 + c];
        dot[0] = fmaf(sum[0], key_scale[0][c] * s0, dot[0]);
        dot[1] = fmaf(sum[1], key_scale[0][c] * s1, dot[1]);
        dot[2] = fmaf(sum[2], key_scale[1][c] * s0, dot[2]);
        dot[3] = fmaf(sum[3], key_scale[1][c] * s1, dot[3]);
      }
      LARES_UNROLL for (int i = 0; i < 4; ++i) {
        const float rounded = bf16_rounded(dot[i]);
        const int h = h0 + 2 * q + i % 2;
        terms[h * 17 + g + i / 2 * 8] = bf16_rounded((rounded > 0 ? rounded : 0.0f) * weight[h]);
      }
    }
    sync_warp();
    if (lane < 16 && base + lane < n_keys) {
      float total = 0;
      for (int h = 0; h < a.n_heads; ++h) total = total + terms[h * 17 + lane];
      a.score[static_cast<std::int64_t>(t) * a.score_stride + first + base + lane] = bf16_rounded(total);
    }
    sync_warp();
  }
}

// ---- top k, of scores that are bf16 values: a histogram of the eleven upper bits of what sorts them, one of the five lower within the bin
// where the k-th lies, then the indices in order. Slices of a row are blocks; all sums are of integers, so their order does not matter.

inline constexpr int kTopThreads = 256;
inline constexpr int kTopSlice = 4096;  // scores of a block
inline constexpr int kTopBins = kTopKBins, kTopFine = 32;
// Of a row in scratch: the first level's bin and how many lie above it, then (above, fine bins) of each slice.
inline constexpr int kTopHead = 4, kTopOfSlice = kTopFine + 1;
LARES_BOTH constexpr int top_slices(int n_max) { return (n_max + kTopSlice - 1) / kTopSlice; }
LARES_BOTH constexpr int top_words(int n_max) { return kTopHead + top_slices(n_max) * kTopOfSlice; }

// 16 bits that sort as the values do; -0 is 0.
LARES_BOTH std::uint32_t sortable(float x) {
  const std::uint32_t u = bits_of(x + 0.0f);
  return (u & 0x80000000u ? ~u : u | 0x80000000u) >> 16;
}

struct TopRow {
  const float* score;
  std::uint32_t *bins, *scratch;
  int n, begin, end;  // of all, of this slice
  bool all;           // everything is chosen
};
LARES_DEVICE TopRow top_row(const TopKArgs& a) {
  const int t = block_y();
  const std::int64_t seen = (a.places.position[t] + 1) / a.ratio;
  const int n = static_cast<int>(seen), begin = block_x() * kTopSlice;
  return {a.score + t * a.score_stride,
          a.bins + static_cast<std::int64_t>(t) * kTopBins,
          a.scratch + static_cast<std::int64_t>(t) * top_words(a.n_max),
          n,
          begin,
          smaller(n, begin + kTopSlice),
          n <= a.k};
}

LARES_KERNEL(kTopThreads, 4) top_bins_kernel(const TopKArgs a) {
  wait_for_inputs();
  const TopRow row = top_row(a);
  if (row.all || row.begin >= row.n) return;
  auto* const bins = shared<std::uint32_t>();
  for (int i = thread(); i < kTopBins; i += kTopThreads) bins[i] = 0;
  sync_block();
  for (int i = row.begin + thread(); i < row.end; i += kTopThreads) add_shared(&bins[sortable(row.score[i]) >> 5], 1);
  sync_block();
  for (int i = thread(); i < kTopBins; i += kTopThreads)
    if (bins[i]) add_global(&row.bins[i], bins[i]);
}

// The bin of the k-th largest and how many lie above it; to shared[0], shared[1].
LARES_DEVICE void find_bin(const std::uint32_t* bins, int k, std::uint32_t* result, std::uint32_t* sums) {
  constexpr int kEach = kTopBins / kTopThreads;
  // Thread i has the bins that are i-th from above.
  const int last = kTopBins - 1 - thread() * kEach;
  std::uint32_t mine = 0;
  for (int i = 0; i < kEach; ++i) mine += bins[last - i];
  sums[thread()] = mine;
  sync_block();
  for (int step = 1; step < kTopThreads; step *= 2) {
    const std::uint32_t more = thread() >= step ? sums[thread() - step] : 0;
    sync_block();
    sums[thread()] += more;
    sync_block();
  }
  std::uint32_t above = sums[thread()] - mine;
  if (above < static_cast<std::uint32_t>(k) && sums[thread()] >= static_cast<std::uint32_t>(k))
    for (int i = 0; i < kEach; ++i) {
      if (above + bins[last - i] >= static_cast<std::uint32_t>(k)) {
        result[0] = static_cast<std::uint32_t>(last - i);
        result[1] = above;
        break;
      }
      above += bins[last - i];
    }
  sync_block();
}

LARES_KERNEL(kTopThreads, 4) top_fine_kernel(const TopKArgs a) {
  wait_for_inputs();
  const TopRow row = top_row(a);
  if (row.all || row.begin >= row.n) return;
  auto* const result = shared<std::uint32_t>();
  std::uint32_t *const sums = result + 4, *const fine = sums + kTopThreads;
  if (thread() < kTopOfSlice) fine[thread()] = 0;
  find_bin(row.bins, a.k, result, sums);
  const std::uint32_t bin = result[0];
  for (int i = row.begin + thread(); i < row.end; i += kTopThreads) {
    const std::uint32_t v = sortable(row.score[i]);
    if (v >> 5 > bin) add_shared(&fine[0], 1);
    else if (v >> 5 == bin) add_shared(&fine[1 + (v & 31)], 1);
  }
  sync_block();
  if (thread() < kTopOfSlice) row.scratch[kTopHead + block_x() * kTopOfSlice + thread()] = fine[thread()];
  if (block_x() == 0 && thread() < 2) row.scratch[thread()] = result[thread()];
}

LARES_KERNEL(kTopThreads, 4) top_choose_kernel(const TopKArgs a) {
  wait_for_inputs();
  const TopRow row = top_row(a);
  std::int32_t* const chosen = a.chosen + static_cast<std::int64_t>(block_y()) * a.k;
  if (row.all) {
    if (block_x() == 0)
      for (int i = thread(); i < row.n; i += kTopThreads) chosen[i] = i;
    return;
  }
  if (row.begin >= row.n) return;
  if (block_x() == 0)  // nobody reads the bins any more
    for (int i = thread(); i < kTopBins; i += kTopThreads) row.bins[i] = 0;
  auto* const fine = shared<std::uint32_t>();     // [32] of all slices
  std::uint32_t* const before = fine + kTopFine;  // [33] of those before this one
  std::uint32_t* const of_warp = before + kTopOfSlice;
  if (thread() < kTopFine + kTopOfSlice) fine[thread()] = 0;
  sync_block();
  const int counts = (row.n + kTopSlice - 1) / kTopSlice * kTopOfSlice;
  LARES_UNROLL_8 for (int i = thread(); i < counts; i += kTopThreads) {
    const std::uint32_t v = row.scratch[kTopHead + i];
    const int of = i % kTopOfSlice;
    if (v == 0) continue;
    if (i / kTopOfSlice < block_x()) add_shared(&before[of], v);
    if (of > 0) add_shared(&fine[of - 1], v);
  }
  sync_block();
  const std::uint32_t bin = row.scratch[0];
  std::uint32_t above = row.scratch[1];
  int digit = kTopFine - 1;
  while (above + fine[digit] < static_cast<std::uint32_t>(a.k)) above += fine[digit--];
  const std::uint32_t least = bin << 5 | static_cast<std::uint32_t>(digit);
  const int ties = a.k - static_cast<int>(above);  // of those equal to the least, the first so many
  int ties_before = static_cast<int>(before[1 + digit]), higher_before = static_cast<int>(before[0]);
  for (int d = digit + 1; d < kTopFine; ++d) higher_before += static_cast<int>(before[1 + d]);
  const int warp = thread() / 32, lane = thread() % 32;
  for (int base = row.begin; base < row.end; base += kTopThreads) {
    const int i = base + thread();
    const std::uint32_t v = i < row.end ? sortable(row.score[i]) : 0;
    const bool higher = i < row.end && v > least, equal = i < row.end && v == least;
    const std::uint32_t highs = ballot(higher), equals = ballot(equal), lower_lanes = (1u << lane) - 1;
    if (lane == 0)
      of_warp[warp] = static_cast<std::uint32_t>(count_bits(highs)) << 16 | static_cast<std::uint32_t>(count_bits(equals));
    sync_block();
    int higher_at = higher_before + count_bits(highs & lower_lanes), equal_at = ties_before + count_bits(equals & lower_lanes);
    for (int w = 0; w < kTopThreads / 32; ++w) {
      const int h = static_cast<int>(of_warp[w] >> 16), e = static_cast<int>(of_warp[w] & 0xFFFFu);
      if (w < warp) {
        higher_at += h;
        equal_at += e;
      }
      higher_before += h;
      ties_before += e;
    }
    if (higher || (equal && equal_at < ties)) chosen[higher_at + smaller(equal_at, ties)] = i;
    sync_block();
  }
}
// A row of few scores is one block's: all of it in one launch. A thread has kTopOfThread consecutive scores.
inline constexpr int kTopWholeThreads = 1024, kTopOfThread = 16, kTopWhole = kTopWholeThreads * kTopOfThread;
LARES_DEVICE std::uint32_t scan_block(std::uint32_t v, std::uint32_t* of_warp) {  // sum of those before and this one
  const int warp = thread() / 32, lane = thread() % 32;
  for (int d = 1; d < 32; d *= 2) {
    const std::uint32_t other = shuffle(v, lane >= d ? lane - d : lane);
    if (lane >= d) v += other;
  }
  sync_block();  // nobody reads the last ones any more
  if (lane == 31) of_warp[warp] = v;
  sync_block();
  for (int w = 0; w < warp; ++w) v += of_warp[w];
  return v;
}
LARES_KERNEL(kTopWholeThreads, 1) top_whole_kernel(const TopKArgs a) {
  wait_for_inputs();
  const int n = static_cast<int>((a.places.position[block_x()] + 1) / a.ratio), first = thread() * kTopOfThread;
  const float* const score = a.score + block_x() * a.score_stride;
  std::int32_t* const chosen = a.chosen + static_cast<std::int64_t>(block_x()) * a.k;
  if (n <= a.k) {
    for (int i = thread(); i < n; i += kTopWholeThreads) chosen[i] = i;
    return;
  }
  auto* const bins = shared<std::uint32_t>();
  std::uint32_t *const fine = bins + kTopBins, *const of_warp = fine + kTopFine, *const result = of_warp + kTopWholeThreads / 32;
  std::uint32_t ranks[kTopOfThread / 2];  // two in one, which leaves registers for the rest
  LARES_UNROLL for (int i = 0; i < kTopOfThread; i += 2)
    ranks[i / 2] = (first + i < n ? sortable(score[first + i]) : 0) | (first + i + 1 < n ? sortable(score[first + i + 1]) : 0) << 16;
  const auto rank = [&](int i) { return ranks[i / 2] >> i % 2 * 16 & 0xFFFFu; };
  for (int i = thread(); i < kTopBins + kTopFine; i += kTopWholeThreads) bins[i] = 0;
  sync_block();
  LARES_UNROLL for (int i = 0; i < kTopOfThread; ++i)
    if (first + i < n) add_shared(&bins[rank(i) >> 5], 1);
  sync_block();
  // Thread i has the two bins that are i-th from above.
  const auto k = static_cast<std::uint32_t>(a.k);
  const int high = kTopBins - 1 - 2 * thread();
  const std::uint32_t upper = bins[high], both = upper + bins[high - 1], until = scan_block(both, of_warp), above = until - both;
  if (above < k && until >= k) {
    result[0] = static_cast<std::uint32_t>(above + upper >= k ? high : high - 1);
    result[1] = above + upper >= k ? above : above + upper;
  }
  sync_block();
  const std::uint32_t bin = result[0];
  LARES_UNROLL for (int i = 0; i < kTopOfThread; ++i)
    if (first + i < n && rank(i) >> 5 == bin) add_shared(&fine[rank(i) & 31], 1);
  sync_block();
  std::uint32_t over = result[1];
  int digit = kTopFine - 1;
  while (over + fine[digit] < k) over += fine[digit--];
  const std::uint32_t least = bin << 5 | static_cast<std::uint32_t>(digit);
  const std::uint32_t ties = k - over;  // of those equal to the least, the first so many
  std::uint32_t counts = 0;             // higher ones, and equal ones above
  LARES_UNROLL for (int i = 0; i < kTopOfThread; ++i)
    if (first + i < n) counts += rank(i) > least ? 1u : rank(i) == least ? 1u << 16 : 0u;
  const std::uint32_t before = scan_block(counts, of_warp) - counts;
  std::uint32_t higher_at = before & 0xFFFFu, equal_at = before >> 16;
  LARES_UNROLL for (int i = 0; i < kTopOfThread; ++i)
    if (first + i < n) {
      const bool higher = rank(i) > least, equal = rank(i) == least;
      if (higher || (equal && equal_at < ties)) chosen[higher_at + (equal_at < ties ? equal_at : ties)] = first + i;
      higher_at += higher;
      equal_at += equal;
    }
}
inline constexpr int kTopWholeShared = (kTopBins + kTopFine + kTopWholeThreads / 32 + 2) * 4;
inline constexpr int kTopBinsShared = kTopBins * 4;
inline constexpr int kTopFineShared = (4 + kTopThreads + kTopOfSlice) * 4;
inline constexpr int kTopChooseShared = (kTopFine + kTopOfSlice + kTopThreads / 32) * 4;

}  // namespace lares::kernels::cuda::inline LARES_SIDE
