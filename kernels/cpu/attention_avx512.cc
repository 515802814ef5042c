// Both products as panels of bf16 pairs. Scores: a panel of the queries of 32 heads, over which
// rows run as they lie in memory. Weights: a lane is a head. Values: a panel of 32 columns, over
// which the heads' weights run as pairs of rows.
#include "kernels/attention.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)

#include <cmath>

#include "kernels/cpu/attention_lanes.h"
#include "kernels/cpu/panel_avx512.h"
#include "kernels/scratch.h"
#include "kernels/cpu/transpose_avx512.h"

namespace lares::kernels {
namespace {

static_assert(kPanelRows == kAttentionColumns && kRows == kAttentionHeads &&
              kGroup == kAttentionRows);

constexpr int kChunkGroups = 16;  // of rows whose panel of values is in L1: 32 KB

// What the scratch holds. Rows and heads are padded to whole groups and panels.
struct Space {
  std::int64_t rows, heads, apart;
  float* score;  // [rows, heads]
  // [heads, apart]: pairs of rows; a line more than they take from head to head
  std::uint32_t* weight;
  float* divisor;  // [heads]

  explicit Space(const AttentionArgs& a)
      : rows((a.n_rows + kGroup - 1) / kGroup * kGroup),
        heads((a.n_heads + kPanelRows - 1) / kPanelRows * kPanelRows),
        apart(rows / 2 + 16),
        score(a.scratch),
        weight(reinterpret_cast<std::uint32_t*>(score + rows * heads)),
        divisor(reinterpret_cast<float*>(weight + heads * apart)) {}
};

// M rows that lie anywhere.
template <int M>
struct Scattered {
  const Pairs::Word* at[M];
  Scattered(const void* const* rows, int n) {
    EACH(m, M,
         { at[m] = static_cast<const Pairs::Word*>(rows[m < n ? static_cast<int>(m) : n - 1]); });
  }
  template <int m>
  INLINE const Pairs::Word* row() const {
    return at[m];
  }
  INLINE void step(int words) {
    EACH(m, M, { at[m] += words; });
  }
};

std::uint32_t* aligned_words(std::size_t n) {
  return reinterpret_cast<std::uint32_t*>(
      (reinterpret_cast<std::uintptr_t>(scratch_words(n + 16)) + 63) / 64 * 64);
}

// Heads [h0, h0 + 32) as a panel [group][pair][32 heads]; zeros where there is none.
void pack_queries(const AttentionArgs& a, int h0, std::uint32_t* panel) {
  const __m512i order = line(kPairOrder.at);
  for (int b = 0; b < kPanelRows; b += kRows)
    for (int g = 0; g < a.head_dim / kGroup; ++g) {
      __m512i r[kRows];
      EACH(i, kRows, {
        const float* q = a.q + static_cast<std::int64_t>(h0 + b + i) * a.head_dim + g * kGroup;
        r[i] = h0 + b + i < a.n_heads ? _mm512_permutex2var_epi16(line(q), order, line(q + 16))
                                      : _mm512_setzero_si512();
      });
      transpose(r);
      EACH(i, kRows, { _mm512_store_si512(panel + (g * kPairs + i) * kPanelRows + b, r[i]); });
    }
}

}  // namespace

void attention_scores_avx512(const AttentionArgs& a, int row_begin, int row_end) {
  // Rows that all heads pass over before the next ones
  constexpr int M = kPanelTokens, kRowsNear = 4 * M;
  const Space s(a);
  const int groups = a.head_dim / kGroup;
  const std::size_t panel_size = static_cast<std::size_t>(groups) * kPairs * kPanelRows,
                    line_bytes = 64;
  std::uint32_t* const panels =
      aligned_words(panel_size * static_cast<std::size_t>(s.heads / kPanelRows));
  for (int h0 = 0; h0 < a.n_heads; h0 += kPanelRows)
    pack_queries(a, h0, panels + h0 / kPanelRows * panel_size);
  for (int i0 = row_begin; i0 < row_end; i0 += kRowsNear)
    for (int h0 = 0; h0 < a.n_heads; h0 += kPanelRows)
      for (int i = i0; i < least(row_end, i0 + kRowsNear); i += M) {
        if (h0 == 0)
          for (int r = i + kRowsNear; r < least(row_end, i + kRowsNear + M); ++r)
            for (std::size_t at = 0; at < 2 * static_cast<std::size_t>(a.head_dim);
                 at += line_bytes)
              _mm_prefetch(static_cast<const char*>(a.rows[r]) + at, _MM_HINT_T1);
        alignas(64) float sums[M * kPanelRows] = {};
        const int n = least(M, row_end - i);
        run_panel<Pairs, M>(Panel<false>{panels + h0 / kPanelRows * panel_size},
                            Scattered<M>(a.rows + i, n), sums, groups);
        for (int m = 0; m < n; ++m)
          EACH(b, 2, {
            _mm512_storeu_ps(s.score + (i + m) * s.heads + h0 + b * kRows,
                             _mm512_load_ps(sums + m * kPanelRows + b * kRows));
          });
      }
}

void attention_weights_avx512(const AttentionArgs& a, int head_begin, int head_end) {
  const Space s(a);
  for (int h0 = head_begin; h0 < head_end; h0 += kRows) {
    const Avx16 scale = all<Avx16>(a.scale);
    Avx16 top = all<Avx16>(-INFINITY);
    for (int i = 0; i < a.n_rows; ++i) {
      float* at = s.score + i * s.heads + h0;
      const Avx16 v = loaded<Avx16>(at) * scale;
      store(at, v);
      top = max(v, top);
    }
    Avx16 total[kLanes];
    EACH(i, kLanes, { total[i] = all<Avx16>(0); });
    for (int i0 = 0; i0 < a.n_rows; i0 += kGroup) {
      __m512i pair[kRows];
      const auto weight = [&](int i, Avx16& sum) __attribute__((always_inline)) {
        if (i >= a.n_rows) return _mm512_setzero_si512();
        const Avx16 e = exp(loaded<Avx16>(s.score + i * s.heads + h0) - top);
        sum = sum + e;
        return bits(flushed(bf16_rounded(e))).v;
      };
      EACH(q, kRows, {
        const __m512i even = weight(i0 + 2 * q, total[2 * q % kLanes]),
                      odd = weight(i0 + 2 * q + 1, total[(2 * q + 1) % kLanes]);
        pair[q] = _mm512_or_si512(odd, _mm512_srli_epi32(even, 16));  // low halves are zero
      });
      transpose(pair);
      EACH(h, kRows, { _mm512_storeu_si512(s.weight + (h0 + h) * s.apart + i0 / 2, pair[h]); });
    }
    const Avx16 sum = ((total[0] + total[4]) + (total[2] + total[6])) +
                      ((total[1] + total[5]) + (total[3] + total[7]));
    const __mmask16 there =
        static_cast<__mmask16>(a.n_heads - h0 >= kRows ? 0xFFFF : (1 << (a.n_heads - h0)) - 1);
    store(s.divisor + h0, sum + exp(Avx16{_mm512_maskz_loadu_ps(there, a.sink + h0)} - top));
  }
}

void attention_values_avx512(const AttentionArgs& a, int column_begin, int column_end) {
  const Space s(a);
  const std::size_t sums_size = static_cast<std::size_t>(a.n_heads) * kPanelRows,
                    panel_size = kChunkGroups * kPairs * kPanelRows;
  std::uint32_t* const panel = aligned_words(panel_size + sums_size);
  auto* const sums = reinterpret_cast<float*>(panel + panel_size);
  const int groups = static_cast<int>(s.rows / kGroup);
  // Interleaving two rows leaves columns 0-3, 8-11, ... in one register and 4-7, 12-15, ... in the
  // other.
  const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
                high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  for (int c = column_begin; c < column_end; c += kPanelRows) {
    std::memset(sums, 0, sums_size * sizeof(float));
    for (int g0 = 0; g0 < groups; g0 += kChunkGroups) {
      const int n = least(kChunkGroups, groups - g0);
      for (int q = 0; q < n * kPairs; ++q) {
        const int i = g0 * kGroup + 2 * q;
        const auto row = [&](int j) __attribute__((always_inline)) {
          if (j >= a.n_rows) return _mm512_setzero_si512();
          const auto* at = static_cast<const std::uint16_t*>(a.rows[j]) + c;
          _mm_prefetch(at + kPanelRows, _MM_HINT_T1);  // for the next columns
          return line(at);
        };
        const __m512i even = row(i), odd = row(i + 1);
        _mm512_store_si512(panel + q * kPanelRows, _mm512_unpacklo_epi16(even, odd));
        _mm512_store_si512(panel + q * kPanelRows + kRows, _mm512_unpackhi_epi16(even, odd));
      }
      run_panels<Pairs>(Panel<false>{panel},
                        reinterpret_cast<const Pairs::Word*>(s.weight) + g0 * kPairs, s.apart, sums,
                        n, a.n_heads);
    }
    for (int h = 0; h < a.n_heads; ++h) {
      const __m512 first = _mm512_load_ps(sums + h * kPanelRows),
                   second = _mm512_load_ps(sums + h * kPanelRows + kRows);
      const __m512 divisor = _mm512_set1_ps(s.divisor[h]);
      float* to = a.out + static_cast<std::int64_t>(h) * a.head_dim + c;
      _mm512_storeu_ps(
          to, bf16_rounded16(_mm512_div_ps(_mm512_permutex2var_ps(first, low, second), divisor)));
      _mm512_storeu_ps(to + kRows, bf16_rounded16(_mm512_div_ps(
                                       _mm512_permutex2var_ps(first, high, second), divisor)));
    }
  }
}

}  // namespace lares::kernels

#endif
