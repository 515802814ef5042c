// What kernels over tiles and over row-major weights share on AVX-512 with bf16 dot products: a
// dword holds two weights of one output row, the odd one (linear.h's order) in its high half, so
// that one vdpbf16ps is two steps of that order:
//   vdpbf16ps = fma(even, fma(odd, acc))
// each rounded to nearest, denormals read and written as zero.
// Activations that bf16 holds, and that cannot make a denormal with any weight here, are packed the
// same way; all others stay floats and meet the weights one by one, in the same order. So the bits
// are linear_cpu's either way.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/linear.h"
#include "kernels/cpu/unrolled.h"

namespace lares::kernels {
namespace {

constexpr int kRows = 16;              // output rows: the lanes of a register
constexpr int kPanelRows = 2 * kRows;  // two registers share what is broadcast
constexpr int kPairs = kGroup / 2;     // of a 32-group
// Of two factors of this size or larger no sum of products is a denormal: it is a multiple of
// 2^-106.
constexpr int kLeastExponent = -46;
// With activations up to this size and e4m3 or e2m1 weights scaled by up to 2^kScaleMost the sum of
// a 32-group stays below 2^124. A power of two commutes with every rounding, unless it makes a
// number infinite or a denormal: so weights may be scaled before they are multiplied, instead of
// the sum.
constexpr int kMostExponent = 60, kScaleMost = 50;
constexpr std::uint32_t kLeast = static_cast<std::uint32_t>(127 + kLeastExponent) << 23,
                        kMost = static_cast<std::uint32_t>(127 + kMostExponent) << 23;

INLINE __m512i line(const void* p) { return _mm512_loadu_si512(p); }

// Dwords that are not zero and not in [kLeast, kMost] without their sign.
INLINE __mmask16 outside(__m512i v) {
  const __m512i mag = _mm512_and_si512(v, _mm512_set1_epi32(0x7FFFFFFF));
  const __m512i above = _mm512_sub_epi32(mag, _mm512_set1_epi32(static_cast<int>(kLeast)));
  return _mm512_mask_cmpgt_epu32_mask(_mm512_test_epi32_mask(mag, mag), above,
                                      _mm512_set1_epi32(static_cast<int>(kMost - kLeast)));
}
// Of both halves of every dword, each as a float.
INLINE bool weights_outside(__m512i pairs) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xFFFF0000u));
  return (outside(_mm512_and_si512(pairs, high)) | outside(_mm512_slli_epi32(pairs, 16))) != 0;
}

// Activations as pairs: x[q] for pair q.
struct Pairs {
  using Word [[gnu::may_alias]] = std::uint32_t;  // it lies in a float's room
  static constexpr int words = 1;                 // of a pair
  static constexpr int lines = 1;                 // of a pair of weights in a panel
  using Weight = __m512i;
  using Value = __m512i;
  INLINE static Weight weight(__m512i pairs) { return pairs; }
  INLINE static Weight load(const std::uint32_t* panel) { return line(panel); }
  INLINE static Value value(const Word* x) { return _mm512_set1_epi32(static_cast<int>(*x)); }
  INLINE static __m512 add(__m512 acc, Weight w, Value x) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
  }
};
// What the others broadcast.
struct Two {
  __m512 first, second;
};
// Activations as floats in processing order: x[0] is the odd one.
struct Floats {
  using Word = float;
  static constexpr int words = 2, lines = 1;
  struct Weight {
    __m512 odd, even;
  };
  INLINE static Weight load(const std::uint32_t* panel) { return weight(line(panel)); }
  INLINE static Weight weight(__m512i pairs) {
    return {_mm512_castsi512_ps(
                _mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u)))),
            _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16))};
  }
  using Value = Two;
  INLINE static Value value(const Word* x) { return {_mm512_set1_ps(x[0]), _mm512_set1_ps(x[1])}; }
  INLINE static __m512 add(__m512 acc, Weight w, Value x) {
    acc = _mm512_fmadd_ps(w.odd, x.first, acc);
    return _mm512_fmadd_ps(w.even, x.second, acc);
  }
};

// Float weights, the even one first in a panel, and float activations as they come.
struct Plain {
  using Word = float;
  static constexpr int words = 2, lines = 2;
  struct Weight {
    __m512 even, odd;
  };
  using Value = Two;
  INLINE static Weight load(const std::uint32_t* panel) {
    return {_mm512_load_ps(panel), _mm512_load_ps(panel + kPanelRows)};
  }
  INLINE static Value value(const Word* x) { return {_mm512_set1_ps(x[0]), _mm512_set1_ps(x[1])}; }
  INLINE static __m512 add(__m512 acc, Weight w, Value x) {
    acc = _mm512_fmadd_ps(w.odd, x.second, acc);
    return _mm512_fmadd_ps(w.even, x.first, acc);
  }
};

// e4m3 -> bf16, by halves; sign apart. 0x7F is NaN.
struct alignas(64) E4m3Table {
  std::uint8_t low[128], high[128];
  constexpr E4m3Table() : low(), high() {
    for (int code = 0; code < 128; ++code) {
      const int e = code >> 3, m = code & 7;
      int bits = (e - 7 + 127) << 7 | m << 4;
      if (e == 0) {  // m 2^-9
        const int top = m >= 4 ? 2 : m >= 2 ? 1 : 0;
        bits = m == 0 ? 0 : (127 - 9 + top) << 7 | ((m << 7 >> top) & 127);
      }
      if (code == 127) bits = 0x7FC0;
      low[code] = static_cast<std::uint8_t>(bits & 255);
      high[code] = static_cast<std::uint8_t>(bits >> 8);
    }
  }
};
inline constexpr E4m3Table kE4m3{};
// e2m1 -> bf16, twice: a permutation by words looks at five bits, of which the top one belongs to
// the next code.
struct alignas(64) E2m1Table {
  std::uint16_t bf16[32];
  constexpr E2m1Table() : bf16() {
    constexpr std::uint16_t of[8] = {0x0000, 0x3F00, 0x3F80, 0x3FC0,
                                     0x4000, 0x4040, 0x4080, 0x40C0};
    for (int i = 0; i < 32; ++i)
      bf16[i] = static_cast<std::uint16_t>(of[i & 7] | (i & 8 ? 0x8000 : 0));
  }
};
inline constexpr E2m1Table kE2m1{};

// Which word of 32 floats, seen as 64, is half h of pair q.
struct alignas(64) PairOrder {
  std::uint16_t at[32];
  constexpr explicit PairOrder(Format format) : at() {
    for (int i = 0; i < kGroup; ++i)  // position 2q is the odd one, the high half
      at[i ^ 1] = static_cast<std::uint16_t>(2 * ordered(format, i) + 1);
  }
};
constexpr PairOrder kPairOrder4{Format::fp4}, kPairOrder{Format::bf16};

INLINE int least(int a, int b) { return a < b ? a : b; }

// n_in activations as pairs; false, with part of them written, when a value is none that pairs can
// hold.
inline bool as_pairs(const float* x, int n_in, Format format, Pairs::Word* to) {
  const __m512i order = line((format == Format::fp4 ? kPairOrder4 : kPairOrder).at),
                low = _mm512_set1_epi32(0xFFFF);
  for (int k = 0; k < n_in; k += kGroup) {
    const __m512i a = line(x + k), b = line(x + k + 16);
    if ((_mm512_test_epi32_mask(_mm512_or_si512(a, b), low) | outside(a) | outside(b)) != 0)
      return false;
    _mm512_storeu_si512(to + k / 2, _mm512_permutex2var_epi16(a, order, b));
  }
  return true;
}

INLINE __m512 bf16_rounded16(__m512 a) {
  const __m512i u = _mm512_castps_si512(a);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  const __m512i r = _mm512_and_si512(
      _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))),
      _mm512_set1_epi32(static_cast<int>(0xFFFF0000u)));
  return _mm512_mask_mov_ps(_mm512_castsi512_ps(r), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}
// The first n_rows of 16 results.
INLINE void put(float* y, __m512 v, int n_rows, bool round) {
  if (round) v = bf16_rounded16(v);
  _mm512_mask_storeu_ps(y, static_cast<__mmask16>(n_rows >= kRows ? 0xFFFF : (1 << n_rows) - 1), v);
}

// sum += part * scale, in memory.
INLINE void add_to(float* sum, __m512 part, __m512 scale) {
  _mm512_store_ps(sum, _mm512_fmadd_ps(part, scale, _mm512_load_ps(sum)));
}

// M rows of activations, `stride` words apart, walked together: one pointer for three of them, and
// an index register for all, for x86 addresses are base + index * {4, 8} + constant and M pointers
// would not fit its registers.
template <class X, int M>
struct Walk {
  using Word = typename X::Word;
  static_assert(sizeof(Word) == 4);
  const Word* base[(M + 2) / 3];
  std::int64_t stride;
  INLINE Walk(const Word* x, std::int64_t apart) : stride(apart) {
    EACH(b, (M + 2) / 3, { base[b] = x + 3 * b * apart; });
    asm("" : "+r"(stride));  // or the compiler would compute every product of it
  }
  template <int m>
  INLINE const Word* row() const {
    return base[m / 3] + m % 3 * stride;
  }
  INLINE void step(int words) {
    EACH(b, (M + 2) / 3, {
      base[b] += words;
      asm("" : "+r"(base[b]));  // ... and every sum
    });
  }
};

// Weights of 32 rows in L1: [group][pair][lines of it][32 rows]; scale [group][32 rows], where they
// have one.
template <bool with_scale>
struct Panel {
  static constexpr bool scaled = with_scale;
  const std::uint32_t* at;
  const float* scale = nullptr;
};

// M tokens over `groups` 32-groups of a panel; sums [m][32 rows] in and out. The sums stay in
// memory, for 16 chains within a group are worth more than their registers.
template <class X, int M, bool scaled, class Walker>
[[gnu::noinline]] void run_panel(Panel<scaled> w, Walker walk, float* sums, int groups) {
  for (int g = 0; g < groups; ++g) {
    __m512 part[M][2];
    EACH(m, M, { part[m][0] = part[m][1] = _mm512_setzero_ps(); });
    for (int q = 0; q < kPairs; q += 4) {
      EACH(u, 4, {
        const auto w0 = X::load(w.at + u * X::lines * kPanelRows),
                   w1 = X::load(w.at + u * X::lines * kPanelRows + kRows);
        EACH(m, M, {
          const auto v = X::value(walk.template row<m>() + u * X::words);
          part[m][0] = X::add(part[m][0], w0, v);
          part[m][1] = X::add(part[m][1], w1, v);
        });
      });
      w.at += 4 * X::lines * kPanelRows;
      walk.step(4 * X::words);
    }
    EACH(b, 2, {
      __m512 s;
      if constexpr (scaled) s = _mm512_load_ps(w.scale + g * kPanelRows + b * kRows);
      EACH(m, M, {
        float* at = sums + m * kPanelRows + b * kRows;
        if constexpr (scaled)
          add_to(at, part[m][b], s);
        else
          _mm512_store_ps(at, _mm512_add_ps(part[m][b], _mm512_load_ps(at)));
      });
    });
    asm("" : : : "memory");  // or the compiler would give them registers after all
  }
}

constexpr int kPanelTokens = 8;

// n tokens over it.
template <class X, bool scaled>
void run_panels(Panel<scaled> w, const typename X::Word* x, std::int64_t stride, float* sums,
                int groups, int n) {
  for (int m = 0; m < n;
       m += kPanelTokens, x += kPanelTokens * stride, sums += kPanelTokens * kPanelRows) {
    switch (n - m) {
      default:
        run_panel<X, 8>(w, Walk<X, 8>(x, stride), sums, groups);
        break;
      case 7:
        run_panel<X, 7>(w, Walk<X, 7>(x, stride), sums, groups);
        break;
      case 6:
        run_panel<X, 6>(w, Walk<X, 6>(x, stride), sums, groups);
        break;
      case 5:
        run_panel<X, 5>(w, Walk<X, 5>(x, stride), sums, groups);
        break;
      case 4:
        run_panel<X, 4>(w, Walk<X, 4>(x, stride), sums, groups);
        break;
      case 3:
        run_panel<X, 3>(w, Walk<X, 3>(x, stride), sums, groups);
        break;
      case 2:
        run_panel<X, 2>(w, Walk<X, 2>(x, stride), sums, groups);
        break;
      case 1:
        run_panel<X, 1>(w, Walk<X, 1>(x, stride), sums, groups);
        break;
    }
  }
}

// The first n_rows of 32 results.
INLINE void put_panel(float* y, const float* sums, int n_rows, bool round) {
  put(y, _mm512_loadu_ps(sums), n_rows, round);
  if (n_rows > kRows) put(y + kRows, _mm512_loadu_ps(sums + kRows), n_rows - kRows, round);
}

}  // namespace
}  // namespace lares::kernels
