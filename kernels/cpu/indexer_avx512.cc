// Keys lie in lanes: a dword holds four codes of one key and meets four codes of a query in
// vpdpbusd. The codes of a key whose exponents differ by no more than 3 are shifted to the least of
// them, and so are a query's: then one sum of integers, below 2^24, is the dot product, and the
// powers of two before it wait until all heads are in. Keys of other kinds go to index_scores_avx2.
#include "kernels/indexer.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__) && defined(__AVX512VNNI__)

#include <cmath>
#include <cstring>

#include "kernels/index_codes.h"
#include "kernels/cpu/transpose_avx512.h"
#include "kernels/cpu/unrolled.h"

namespace lares::kernels {
namespace {

constexpr int kKeys = 32;          // at a time: two registers of dwords
constexpr int kAhead = 4 * kKeys;  // asked for from memory
constexpr int kApartMax = 3;       // binary orders between the groups of a key or a query
constexpr int kOffset = 12 << kApartMax;
// Sums of bf16 values that are multiples of it are no denormals
constexpr float kLeastWeight = 0x1p-90f;
// No product of two scales and a weight leaves the floats' range
constexpr int kLeastExponent = 64, kMostExponent = 190;

// code | shift << 4 -> (twice the e2m1 value << shift) + kOffset
struct alignas(64) CodeTable {
  std::uint8_t of[64];
  constexpr CodeTable() : of() {
    constexpr int twice[8] = {0, 1, 2, 3, 4, 6, 8, 12};
    for (int i = 0; i < 64; ++i)
      of[i] = static_cast<std::uint8_t>(kOffset + (i & 8 ? -1 : 1) * (twice[i & 7] << (i >> 4)));
  }
};
constexpr CodeTable kCodes{};

struct Queries {
  std::int8_t* code;     // [n_heads, dim], shifted
  std::int32_t* offset;  // [n_heads]: what the keys' offset adds, negative
  float* weight;         // [n_heads]: with the query's power of two
  bool shiftable;        // all of them
};

Queries shifted(const IndexArgs& a) {
  const int groups = a.dim / kGroup;
  const IndexQueries q = index_queries(a);
  Queries s{q.code, q.exponent, q.scale, true};  // each head's takes the place of its groups'
  for (int h = 0; h < a.n_heads; ++h) {
    const std::int32_t* e = q.exponent + static_cast<std::int64_t>(h) * groups;
    int least = e[0], most = e[0];
    for (int g = 1; g < groups; ++g)
      least = e[g] < least ? e[g] : least, most = e[g] > most ? e[g] : most;
    const float size = std::fabs(a.w[h]);
    if (most - least > kApartMax || least < kLeastExponent || most > kMostExponent ||
        !(size == 0 || (size >= 0x1p-60f && size <= 0x1p60f)))
      s.shiftable = false;
    if (!s.shiftable) return s;
    int sum = 0;
    for (int g = 0; g < groups; ++g) {
      std::int8_t* code = q.code + static_cast<std::int64_t>(h) * a.dim + g * kGroup;
      const int factor = 1 << (e[g] - least);
      for (int i = 0; i < kGroup; ++i) {
        code[i] = static_cast<std::int8_t>(code[i] * factor);
        sum += code[i];
      }
    }
    s.offset[h] = -kOffset * sum;
    s.weight[h] = a.w[h] * (exponent_value(least) * 0.25f);
    if (s.weight[h] != 0 && std::fabs(s.weight[h]) < kLeastWeight) s.shiftable = false;
  }
  return s;
}

struct alignas(64) Panel {
  std::uint32_t code[kIndexDimMax / 4][kKeys];  // [4 dims in a query's order][key]
  std::int32_t exponent[kKeys];                 // the least of each key
};

// Keys [first, first + 16) into half `half` of the panel; false when one of them cannot be shifted.
bool decode(const IndexArgs& a, int first, int half, Panel& p) {
  const int groups = a.dim / kGroup, words = a.dim / 8;
  const std::uint8_t* key[16];
  index_keys<16>(a, first, key);
  __m512i exponent[kGroupsMax], least = _mm512_set1_epi32(255), most = _mm512_setzero_si512();
  for (int g0 = 0; g0 < groups; g0 += 4) {
    alignas(64) std::uint32_t four[16] = {};
    const int n = groups - g0 < 4 ? groups - g0 : 4;
    if (n == 4)
      for (int i = 0; i < 16; ++i) std::memcpy(&four[i], key[i] + a.dim / 2 + g0, 4);
    else
      for (int i = 0; i < 16; ++i)
        std::memcpy(&four[i], key[i] + a.dim / 2 + g0, static_cast<std::size_t>(n));
    __m512i v = _mm512_load_si512(four);
    for (int g = g0; g < g0 + n; ++g, v = _mm512_srli_epi32(v, 8)) {
      exponent[g] = _mm512_and_si512(v, _mm512_set1_epi32(255));
      least = _mm512_min_epi32(least, exponent[g]);
      most = _mm512_max_epi32(most, exponent[g]);
    }
  }
  if (_mm512_cmpgt_epi32_mask(_mm512_sub_epi32(most, least), _mm512_set1_epi32(kApartMax)) |
      _mm512_cmplt_epi32_mask(least, _mm512_set1_epi32(kLeastExponent)) |
      _mm512_cmpgt_epi32_mask(most, _mm512_set1_epi32(kMostExponent)))
    return false;
  _mm512_store_si512(p.exponent + 16 * half, least);
  const __m512i table = _mm512_load_si512(kCodes.of), low = _mm512_set1_epi8(15),
                four_times = _mm512_set4_epi32(0x0C0C0C0C, 0x08080808, 0x04040404, 0);
  for (int w0 = 0; w0 < words; w0 += 16) {
    const __mmask16 mask = static_cast<__mmask16>(words - w0 >= 16 ? 0xFFFF
                                                                   : (1 << (words - w0)) - 1);
    __m512i r[16];
    if (mask == 0xFFFF)
      EACH(i, 16, { r[i] = _mm512_loadu_si512(key[i] + 4 * w0); });
    else
      EACH(i, 16, { r[i] = _mm512_maskz_loadu_epi32(mask, key[i] + 4 * w0); });
    transpose(r);
    EACH(g, 4, {
      if (w0 + 4 * g < words) {
        // The shift, in bits 4 and 5 of every byte; then (code & low) | shift.
        const __m512i by = _mm512_shuffle_epi8(
            _mm512_slli_epi32(_mm512_sub_epi32(exponent[w0 / 4 + g], least), 4), four_times);
        EACH(i, 4, {
          const __m512i v = r[4 * g + i];
          auto* const to = p.code[2 * (w0 + 4 * g + i)] + 16 * half;
          _mm512_store_si512(
              to, _mm512_permutexvar_epi8(_mm512_ternarylogic_epi32(v, low, by, 0xEA), table));
          _mm512_store_si512(
              to + kKeys,
              _mm512_permutexvar_epi8(
                  _mm512_ternarylogic_epi32(_mm512_srli_epi16(v, 4), low, by, 0xEA), table));
        });
      }
    });
  }
  return true;
}

// The dot products of 16 keys with two heads: rounded to bf16, cut off at zero, weighted (the first
// head's weight in the lower eight lanes), rounded again and added to the total, the first head's
// first. vdpbf16ps is two sums of that order; what weights are allowed here makes no denormal,
// which it and the conversions would lose.
struct alignas(64) Together {  // words as they lie after both halves were taken apart -> the first
                               // head in every dword's high half
  std::uint16_t at[32];
  constexpr Together() : at() {
    for (int i = 0; i < 16; ++i)
      at[2 * i + 1] = static_cast<std::uint16_t>(i / 2 + i % 2 * 16),
                 at[2 * i] = static_cast<std::uint16_t>(8 + i / 2 + i % 2 * 16);
  }
};
constexpr Together kTogether{};
INLINE void add_two(__m512& total, __m512i first, __m512i second, __m512 weights) {
  const __m512i both = _mm512_max_epi16(reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(
                                            _mm512_cvtepi32_ps(second), _mm512_cvtepi32_ps(first))),
                                        _mm512_setzero_si512());
  const __m512 even = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_slli_epi32(both, 16)), weights);
  const __m512 odd = _mm512_mul_ps(
      _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u)))),
      weights);
  const __m512i rounded = _mm512_permutexvar_epi16(
      _mm512_load_si512(kTogether.at), reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even)));
  total = _mm512_dpbf16_ps(total, reinterpret_cast<__m512bh>(rounded),
                           reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3F803F80)));
}

// dim_known: a.dim, or 0 where it is none of the usual ones.
template <int heads, int dim_known>
INLINE void add_heads(const IndexArgs& a, const Queries& q, const Panel& p, int h0, __m512& total0,
                      __m512& total1) {
  const int dim = dim_known ? dim_known : a.dim;
  __m512i dot[heads][2];
  EACH(h, heads, { dot[h][0] = dot[h][1] = _mm512_set1_epi32(q.offset[h0 + h]); });
  const std::int8_t* code = q.code + static_cast<std::int64_t>(h0) * dim;
  for (int d = 0; d < dim / 4; d += 4) {
    EACH(u, 4, {
      const __m512i k0 = _mm512_load_si512(p.code[d + u]),
                    k1 = _mm512_load_si512(p.code[d + u] + 16);
      EACH(h, heads, {
        std::int32_t four;
        std::memcpy(&four, code + h * dim + 4 * (d + u), 4);
        const __m512i with = _mm512_set1_epi32(four);
        dot[h][0] = _mm512_dpbusd_epi32(dot[h][0], k0, with);
        dot[h][1] = _mm512_dpbusd_epi32(dot[h][1], k1, with);
      });
    });
  }
  EACH(pair, (heads + 1) / 2, {
    constexpr int h = 2 * pair;
    constexpr bool alone = h + 1 == heads;
    const __m512 first = _mm512_set1_ps(q.weight[h0 + h]);
    const __m512 weights = alone ? first
                                 : _mm512_mask_mov_ps(first, 0xFF00,
                                                      _mm512_set1_ps(q.weight[h0 + h + !alone]));
    const __m512i none = _mm512_setzero_si512();
    add_two(total0, dot[h][0], alone ? none : dot[h + !alone][0], weights);
    add_two(total1, dot[h][1], alone ? none : dot[h + !alone][1], weights);
  });
}

}  // namespace

void index_scores_avx512(const IndexArgs& a) {
  const Queries q = shifted(a);
  if (!q.shiftable) return index_scores_avx2(a);
  Panel p;
  int others = 0;  // keys since the last block done here, which are others' to do
  const auto leave = [&](int end) {
    if (others == 0) return;
    IndexArgs rest = a;
    rest.first = a.first + end - others;
    rest.score = a.score + end - others;
    rest.n_keys = others;
    rest.scratch = a.scratch + 2 * a.n_heads * (a.dim / kGroup) + a.n_heads * (a.dim / 4);
    index_scores_avx2(rest);
    others = 0;
  };
  // Lines asked for before every eight heads: all at once would hold all buffers of L1's misses,
  // and loads would wait. With fewer heads there is time for none.
  const int lines = static_cast<int>(kKeys * index_key_bytes(a.dim) / 64) /
                        (a.n_heads < 8 ? 1 : a.n_heads / 8) +
                    1;
  for (int j = 0; j < a.n_keys; j += kKeys) {
    const int n = a.n_keys - j < kKeys ? a.n_keys - j : kKeys;
    const std::uint8_t* later = index_key(a, j + kAhead < a.n_keys ? j + kAhead : a.n_keys - 1);
    const std::uint8_t* const later_end = later + kKeys * index_key_bytes(a.dim);
    if (!decode(a, j, 0, p) || !decode(a, j + 16, 1, p)) {
      others += n;
      continue;
    }
    leave(j);
    __m512 total[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    const auto all_heads = [&]<int dim>(std::integral_constant<int, dim>)
        __attribute__((always_inline)) {
      int h = 0;
      for (; h + 8 <= a.n_heads; h += 8) {
        for (int i = 0; i < lines && later < later_end; ++i, later += 64)
          _mm_prefetch(later, _MM_HINT_T0);
        add_heads<8, dim>(a, q, p, h, total[0], total[1]);
      }
      for (; h < a.n_heads; ++h) add_heads<1, dim>(a, q, p, h, total[0], total[1]);
    };
    if (a.dim == 128)
      all_heads(std::integral_constant<int, 128>{});
    else
      all_heads(std::integral_constant<int, 0>{});
    for (int i = 0; i < 2; ++i) {
      const Avx16 scale = {
          _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_load_si512(p.exponent + 16 * i), 23))};
      const int lanes = n - 16 * i;
      if (lanes > 0)
        _mm512_mask_storeu_ps(a.score + j + 16 * i,
                              static_cast<__mmask16>(lanes >= 16 ? 0xFFFF : (1 << lanes) - 1),
                              bf16_rounded(Avx16{_mm512_mul_ps(total[i], scale.v)}).v);
    }
  }
  leave(a.n_keys);
}

}  // namespace lares::kernels

#endif
