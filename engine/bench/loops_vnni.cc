#include "engine/bench/loops.h"

#if defined(__AVX512VNNI__)

#include <immintrin.h>

namespace lares::engine::bench {
namespace {

float run(std::int64_t passes) {
  __m512i zero = _mm512_setzero_si512(), w = _mm512_set1_epi8(1), x = _mm512_set1_epi8(1);
  asm volatile("" : "+v"(zero), "+v"(w), "+v"(x));
  __m512i a0 = zero, a1 = zero, a2 = zero, a3 = zero, a4 = zero, a5 = zero, a6 = zero, a7 = zero,
          a8 = zero, a9 = zero, a10 = zero, a11 = zero;
  for (std::int64_t i = 0; i < passes; ++i) {
    a0 = _mm512_dpbusd_epi32(a0, w, x);
    a1 = _mm512_dpbusd_epi32(a1, w, x);
    a2 = _mm512_dpbusd_epi32(a2, w, x);
    a3 = _mm512_dpbusd_epi32(a3, w, x);
    a4 = _mm512_dpbusd_epi32(a4, w, x);
    a5 = _mm512_dpbusd_epi32(a5, w, x);
    a6 = _mm512_dpbusd_epi32(a6, w, x);
    a7 = _mm512_dpbusd_epi32(a7, w, x);
    a8 = _mm512_dpbusd_epi32(a8, w, x);
    a9 = _mm512_dpbusd_epi32(a9, w, x);
    a10 = _mm512_dpbusd_epi32(a10, w, x);
    a11 = _mm512_dpbusd_epi32(a11, w, x);
    asm volatile(""
                 : "+v"(a0), "+v"(a1), "+v"(a2), "+v"(a3), "+v"(a4),
                   "+v"(a5));  // equal chains would become one
    asm volatile("" : "+v"(a6), "+v"(a7), "+v"(a8), "+v"(a9), "+v"(a10), "+v"(a11));
  }
  const __m512i low = _mm512_add_epi32(
      _mm512_add_epi32(_mm512_add_epi32(a0, a1), _mm512_add_epi32(a2, a3)),
      _mm512_add_epi32(a4, a5));
  const __m512i high = _mm512_add_epi32(
      _mm512_add_epi32(_mm512_add_epi32(a6, a7), _mm512_add_epi32(a8, a9)),
      _mm512_add_epi32(a10, a11));
  return static_cast<float>(_mm512_cvtsi512_si32(_mm512_add_epi32(low, high)));
}

}  // namespace

extern const PeakLoop kDotInt8;
constexpr PeakLoop kDotInt8{
    .name = "avx512_vnni",
    .peak = Peak::int8,
    .available =
        [] { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni"); },
    .flops = 12 * 64 * 2,
    .run = run};

}  // namespace lares::engine::bench

#endif
