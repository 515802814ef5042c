// Eight float lanes, twice: `Plain8` in plain C++ and `Avx8` in AVX2+FMA (and sixteen, `Avx16`, for
// some bodies). A kernel body written over a lane type gives the same bits with either, because
// every operation below is correctly rounded by both and the reductions have one written order.
// Everything is in an unnamed namespace: a translation unit compiled with -mavx2 must not lend its
// code to the others.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#endif

namespace lares::kernels {
namespace {

inline constexpr int kLanes = 8;

// ---- plain C++

struct Bits8 {
  std::uint32_t v[8];
};
struct Plain8 {
  static constexpr int lanes = 8;
  using Bits = Bits8;
  float v[8];
};

template <class F>
inline Plain8 map(F f) {
  Plain8 r;
  for (int i = 0; i < 8; ++i) r.v[i] = f(i);
  return r;
}
template <class F>
inline Bits8 map_bits(F f) {
  Bits8 r;
  for (int i = 0; i < 8; ++i) r.v[i] = f(i);
  return r;
}
inline void load(Plain8& a, const float* p) { std::memcpy(a.v, p, sizeof a.v); }
inline void store(float* p, Plain8 a) { std::memcpy(p, a.v, sizeof a.v); }
inline void fill(Plain8& a, float x) {
  a = map([&](int) { return x; });
}
inline Plain8 operator+(Plain8 a, Plain8 b) {
  return map([&](int i) { return a.v[i] + b.v[i]; });
}
inline Plain8 operator-(Plain8 a, Plain8 b) {
  return map([&](int i) { return a.v[i] - b.v[i]; });
}
inline Plain8 operator*(Plain8 a, Plain8 b) {
  return map([&](int i) { return a.v[i] * b.v[i]; });
}
inline Plain8 operator/(Plain8 a, Plain8 b) {
  return map([&](int i) { return a.v[i] / b.v[i]; });
}
inline Plain8 fma(Plain8 a, Plain8 b, Plain8 c) {
  return map([&](int i) { return std::fmaf(a.v[i], b.v[i], c.v[i]); });
}
// As vmaxps and vminps: the second operand when either is NaN.
inline Plain8 max(Plain8 a, Plain8 b) {
  return map([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Plain8 min(Plain8 a, Plain8 b) {
  return map([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Plain8 sqrt(Plain8 a) {
  return map([&](int i) { return std::sqrt(a.v[i]); });
}
inline Plain8 if_less(Plain8 a, Plain8 b, Plain8 yes, Plain8 no) {
  return map([&](int i) { return a.v[i] < b.v[i] ? yes.v[i] : no.v[i]; });
}
inline Plain8 if_nan(Plain8 a, Plain8 yes, Plain8 no) {
  return map([&](int i) { return a.v[i] != a.v[i] ? yes.v[i] : no.v[i]; });
}
inline Bits8 bits(Plain8 a) { return std::bit_cast<Bits8>(a); }
inline Plain8 floats(Bits8 a) { return std::bit_cast<Plain8>(a); }
inline Bits8 add(Bits8 a, Bits8 b) {
  return map_bits([&](int i) { return a.v[i] + b.v[i]; });
}
inline Bits8 sub(Bits8 a, Bits8 b) {
  return map_bits([&](int i) { return a.v[i] - b.v[i]; });
}
inline Bits8 both(Bits8 a, Bits8 b) {
  return map_bits([&](int i) { return a.v[i] & b.v[i]; });
}
inline Bits8 either(Bits8 a, Bits8 b) {
  return map_bits([&](int i) { return a.v[i] | b.v[i]; });
}
template <int n>
inline Bits8 shift_left(Bits8 a) {
  return map_bits([&](int i) { return a.v[i] << n; });
}
template <int n>
inline Bits8 shift_right(Bits8 a) {
  return map_bits([&](int i) { return a.v[i] >> n; });
}
inline void fill(Bits8& a, std::uint32_t x) {
  a = map_bits([&](int) { return x; });
}
inline void load_bf16(Plain8& a, const std::uint16_t* p) {
  a = floats(map_bits([&](int i) { return static_cast<std::uint32_t>(p[i]) << 16; }));
}

// ---- AVX2

#if defined(__AVX2__) && defined(__FMA__)
struct AvxBits {
  __m256i v;
};
struct Avx8 {
  static constexpr int lanes = 8;
  using Bits = AvxBits;
  __m256 v;
};
inline void load(Avx8& a, const float* p) { a.v = _mm256_loadu_ps(p); }
inline void store(float* p, Avx8 a) { _mm256_storeu_ps(p, a.v); }
inline void fill(Avx8& a, float x) { a.v = _mm256_set1_ps(x); }
inline Avx8 operator+(Avx8 a, Avx8 b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Avx8 operator-(Avx8 a, Avx8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Avx8 operator*(Avx8 a, Avx8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Avx8 operator/(Avx8 a, Avx8 b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Avx8 fma(Avx8 a, Avx8 b, Avx8 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Avx8 max(Avx8 a, Avx8 b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Avx8 min(Avx8 a, Avx8 b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Avx8 sqrt(Avx8 a) { return {_mm256_sqrt_ps(a.v)}; }
inline Avx8 if_less(Avx8 a, Avx8 b, Avx8 yes, Avx8 no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
inline Avx8 if_nan(Avx8 a, Avx8 yes, Avx8 no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q))};
}
inline AvxBits bits(Avx8 a) { return {_mm256_castps_si256(a.v)}; }
inline Avx8 floats(AvxBits a) { return {_mm256_castsi256_ps(a.v)}; }
inline AvxBits add(AvxBits a, AvxBits b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline AvxBits sub(AvxBits a, AvxBits b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline AvxBits both(AvxBits a, AvxBits b) { return {_mm256_and_si256(a.v, b.v)}; }
inline AvxBits either(AvxBits a, AvxBits b) { return {_mm256_or_si256(a.v, b.v)}; }
template <int n>
inline AvxBits shift_left(AvxBits a) {
  return {_mm256_slli_epi32(a.v, n)};
}
template <int n>
inline AvxBits shift_right(AvxBits a) {
  return {_mm256_srli_epi32(a.v, n)};
}
inline void fill(AvxBits& a, std::uint32_t x) { a.v = _mm256_set1_epi32(static_cast<int>(x)); }
inline void load_bf16(Avx8& a, const std::uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  a.v = _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
#endif

// ---- AVX-512: sixteen lanes, for bodies that sum nothing across them

#if defined(__AVX512F__) && defined(__AVX512BW__)
struct Avx512Bits {
  __m512i v;
};
struct Avx16 {
  static constexpr int lanes = 16;
  using Bits = Avx512Bits;
  __m512 v;
};
inline void load(Avx16& a, const float* p) { a.v = _mm512_loadu_ps(p); }
inline void store(float* p, Avx16 a) { _mm512_storeu_ps(p, a.v); }
inline void fill(Avx16& a, float x) { a.v = _mm512_set1_ps(x); }
inline Avx16 operator+(Avx16 a, Avx16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Avx16 operator-(Avx16 a, Avx16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Avx16 operator*(Avx16 a, Avx16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Avx16 operator/(Avx16 a, Avx16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Avx16 max(Avx16 a, Avx16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Avx16 min(Avx16 a, Avx16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Avx16 fma(Avx16 a, Avx16 b, Avx16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Avx16 if_less(Avx16 a, Avx16 b, Avx16 yes, Avx16 no) {
  return {_mm512_mask_mov_ps(no.v, _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), yes.v)};
}
inline Avx16 if_nan(Avx16 a, Avx16 yes, Avx16 no) {
  return {_mm512_mask_mov_ps(no.v, _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), yes.v)};
}
inline Avx512Bits bits(Avx16 a) { return {_mm512_castps_si512(a.v)}; }
inline Avx16 floats(Avx512Bits a) { return {_mm512_castsi512_ps(a.v)}; }
inline Avx512Bits add(Avx512Bits a, Avx512Bits b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline Avx512Bits sub(Avx512Bits a, Avx512Bits b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline Avx512Bits both(Avx512Bits a, Avx512Bits b) { return {_mm512_and_si512(a.v, b.v)}; }
template <int n>
inline Avx512Bits shift_left(Avx512Bits a) {
  return {_mm512_slli_epi32(a.v, n)};
}
template <int n>
inline Avx512Bits shift_right(Avx512Bits a) {
  return {_mm512_srli_epi32(a.v, n)};
}
inline void fill(Avx512Bits& a, std::uint32_t x) { a.v = _mm512_set1_epi32(static_cast<int>(x)); }
inline void load_bf16(Avx16& a, const std::uint16_t* p) {
  const __m512i wide =
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  a.v = _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
#endif

// ---- what all share

template <class V>
inline V loaded(const float* p) {
  V a;
  load(a, p);
  return a;
}
template <class V>
inline V all(float x) {
  V a;
  fill(a, x);
  return a;
}
template <class V>
inline typename V::Bits all_bits(std::uint32_t x) {
  typename V::Bits a;
  fill(a, x);
  return a;
}

// ((0+4)+(2+6)) + ((1+5)+(3+7)): the order of a halving tree.
template <class V>
inline float sum(V a) {
  float v[8];
  store(v, a);
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}
template <class V>
inline float largest(V a) {
  float v[8];
  store(v, a);
  float m = v[0];
  for (int i = 1; i < 8; ++i) m = v[i] > m ? v[i] : m;
  return m;
}
template <class V>
inline V magnitude(V a) {
  return floats(both(bits(a), all_bits<V>(0x7FFFFFFFu)));
}
template <class V>
inline V with_sign_of(V a, V sign) {
  return floats(either(bits(a), both(bits(sign), all_bits<V>(0x80000000u))));
}

// Nearest bfloat16, ties to even; NaN stays NaN.
template <class V>
inline V bf16_rounded(V a) {
  const auto u = bits(a);
  const auto odd = both(shift_right<16>(u), all_bits<V>(1));
  const auto r = both(add(u, add(odd, all_bits<V>(0x7FFF))), all_bits<V>(0xFFFF0000u));
  return if_nan(a, a, floats(r));
}
inline float bf16_rounded(float a) {
  if (a != a) return a;
  const auto u = std::bit_cast<std::uint32_t>(a);
  return std::bit_cast<float>((u + 0x7FFFu + ((u >> 16) & 1u)) & 0xFFFF0000u);
}

// e^x by 2^n * p(r), |r| <= ln2 / 2: at most 2 ulp (tests/kernels/lanes_test.cc). 0 below -86.99,
// where n is -126; e^88.7 above 88.7.
template <class V>
inline V exp(V x) {
  const V clamped = min(max(x, all<V>(-87.3f)), all<V>(88.7f));
  // 1.5 * 2^23: adding it rounds to an integer held in the low bits
  const V magic = all<V>(12582912.0f);
  const V t = fma(clamped, all<V>(1.44269504f), magic);
  const V n = t - magic;
  V r = fma(n, all<V>(-0.693145752f), clamped);
  r = fma(n, all<V>(-1.42860677e-6f), r);
  V p = all<V>(1.0f / 5040);
  p = fma(p, r, all<V>(1.0f / 720));
  p = fma(p, r, all<V>(1.0f / 120));
  p = fma(p, r, all<V>(1.0f / 24));
  p = fma(p, r, all<V>(1.0f / 6));
  p = fma(p, r, all<V>(0.5f));
  p = fma(p, r, all<V>(1.0f));
  p = fma(p, r, all<V>(1.0f));
  // 2^n in two steps, so that n = 128 (x near 88.7) does not leave the exponent's range.
  const auto whole = sub(bits(t), bits(magic));
  const V two_n = floats(shift_left<23>(add(whole, all_bits<V>(126))));
  const V result = if_less(x, all<V>(-87.3f), all<V>(0.0f), (p * two_n) * all<V>(2.0f));
  return if_nan(x, x, result);
}

}  // namespace
}  // namespace lares::kernels
