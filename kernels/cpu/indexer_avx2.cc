// Keys lie in lanes: a dword holds four codes of one key, offset by 12 to be unsigned, and meets
// four codes of a query. A group's 32 products stay below 2^15, so they are summed in 16 bits.
#include "kernels/indexer.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <cstring>

#include "kernels/index_codes.h"
#include "kernels/cpu/unrolled.h"

namespace lares::kernels {
namespace {

constexpr int kKeys = 16;  // at a time: two registers of dwords
constexpr int kOffset = 12;

struct alignas(32) Panel {
  std::uint32_t code[kIndexDimMax / 4][kKeys];  // [4 dims in a query's order][key]
  float scale[kGroupsMax][kKeys];
};

// Keys [first, first + kKeys); the last of all again where there is none.
void decode(const IndexArgs& a, int first, Panel& p) {
  const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0),
                low = _mm_set1_epi8(15);
  const std::uint8_t* keys[kKeys];
  index_keys<kKeys>(a, first, keys);
  for (int i = 0; i < kKeys; ++i) {
    const std::uint8_t* const key = keys[i];
    for (int b = 0; b < a.dim / 2; b += 16) {
      const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key + b));
      std::uint32_t even[4], odd[4];
      _mm_storeu_si128(reinterpret_cast<__m128i*>(even),
                       _mm_shuffle_epi8(table, _mm_and_si128(v, low)));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(odd),
                       _mm_shuffle_epi8(table, _mm_and_si128(_mm_srli_epi16(v, 4), low)));
      for (int d = 0; d < 4; ++d) {
        p.code[b / 2 + 2 * d][i] = even[d];
        p.code[b / 2 + 2 * d + 1][i] = odd[d];
      }
    }
    for (int g = 0; g < a.dim / kGroup; ++g) p.scale[g][i] = exponent_value(key[a.dim / 2 + g]);
  }
}

// Dot products of `heads` heads with the panel's keys, rounded, cut off at zero, weighted, rounded,
// and added to the totals.
template <int heads>
INLINE void add_heads(const IndexArgs& a, const IndexQueries& q, const std::int32_t* offset,
                      const Panel& p, int h0, Avx8 total[2]) {
  const int groups = a.dim / kGroup;
  __m256 dot[heads][2];
  EACH(h, heads, { dot[h][0] = dot[h][1] = _mm256_setzero_ps(); });
  const std::int8_t* code = q.code + static_cast<std::int64_t>(h0) * a.dim;
  for (int g = 0; g < groups; ++g, code += kGroup) {
    __m256i sum[heads][2];
    EACH(h, heads, { sum[h][0] = sum[h][1] = _mm256_setzero_si256(); });
    for (int d = 0; d < kGroup / 4; ++d) {
      const auto* line = reinterpret_cast<const __m256i*>(p.code[g * (kGroup / 4) + d]);
      const __m256i k0 = _mm256_load_si256(line), k1 = _mm256_load_si256(line + 1);
      EACH(h, heads, {
        std::int32_t four;
        std::memcpy(&four, code + h * a.dim + 4 * d, 4);
        const __m256i with = _mm256_set1_epi32(four);
        sum[h][0] = _mm256_add_epi16(sum[h][0], _mm256_maddubs_epi16(k0, with));
        sum[h][1] = _mm256_add_epi16(sum[h][1], _mm256_maddubs_epi16(k1, with));
      });
    }
    const __m256 s0 = _mm256_load_ps(p.scale[g]), s1 = _mm256_load_ps(p.scale[g] + 8);
    EACH(h, heads, {
      const int at = (h0 + h) * groups + g;
      const __m256i ones = _mm256_set1_epi16(1), less = _mm256_set1_epi32(offset[at]);
      const __m256 scale = _mm256_set1_ps(q.scale[at]);
      const auto add = [&](__m256 & to, __m256i products, __m256 s) __attribute__((always_inline)) {
        const __m256i t = _mm256_sub_epi32(_mm256_madd_epi16(products, ones), less);
        to = _mm256_fmadd_ps(_mm256_cvtepi32_ps(t), _mm256_mul_ps(s, scale), to);
      };
      add(dot[h][0], sum[h][0], s0);
      add(dot[h][1], sum[h][1], s1);
    });
  }
  EACH(h, heads, {
    const Avx8 w = all<Avx8>(a.w[h0 + h]), zero = all<Avx8>(0);
    EACH(i, 2,
         { total[i] = total[i] + bf16_rounded(max(bf16_rounded(Avx8{dot[h][i]}), zero) * w); });
  });
}

}  // namespace

void index_scores_avx2(const IndexArgs& a) {
  const int groups = a.dim / kGroup;
  const IndexQueries q = index_queries(a);
  // What the keys' offset adds to a group's sum.
  auto* const offset =
      reinterpret_cast<std::int32_t*>(q.code + static_cast<std::int64_t>(a.n_heads) * a.dim);
  for (int i = 0; i < a.n_heads * groups; ++i) {
    int sum = 0;
    for (int k = 0; k < kGroup; ++k) sum += q.code[static_cast<std::int64_t>(i) * kGroup + k];
    offset[i] = kOffset * sum;
  }
  Panel p;
  for (int j = 0; j < a.n_keys; j += kKeys) {
    decode(a, j, p);
    Avx8 total[2] = {all<Avx8>(0), all<Avx8>(0)};
    int h = 0;
    for (; h + 2 <= a.n_heads; h += 2) add_heads<2>(a, q, offset, p, h, total);
    if (h < a.n_heads) add_heads<1>(a, q, offset, p, h, total);
    float out[kKeys];
    EACH(i, 2, { store(out + 8 * i, bf16_rounded(total[i])); });
    std::memcpy(
        a.score + j, out,
        sizeof(float) * static_cast<std::size_t>(a.n_keys - j < kKeys ? a.n_keys - j : kKeys));
  }
}

}  // namespace lares::kernels

#endif
