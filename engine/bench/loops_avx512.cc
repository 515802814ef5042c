#include "engine/bench/loops.h"

#if defined(__AVX512F__)

#include <immintrin.h>

namespace lares::engine::bench {
namespace {

float run(std::int64_t passes) {
  __m512 half = _mm512_set1_ps(0.5f), one = _mm512_set1_ps(1.0f);
  asm volatile("" : "+v"(half), "+v"(one));
  __m512 a0 = one, a1 = one, a2 = one, a3 = one, a4 = one, a5 = one, a6 = one, a7 = one, a8 = one,
         a9 = one, a10 = one, a11 = one;
  for (std::int64_t i = 0; i < passes; ++i) {
    a0 = _mm512_fmadd_ps(a0, half, one);
    a1 = _mm512_fmadd_ps(a1, half, one);
    a2 = _mm512_fmadd_ps(a2, half, one);
    a3 = _mm512_fmadd_ps(a3, half, one);
    a4 = _mm512_fmadd_ps(a4, half, one);
    a5 = _mm512_fmadd_ps(a5, half, one);
    a6 = _mm512_fmadd_ps(a6, half, one);
    a7 = _mm512_fmadd_ps(a7, half, one);
    a8 = _mm512_fmadd_ps(a8, half, one);
    a9 = _mm512_fmadd_ps(a9, half, one);
    a10 = _mm512_fmadd_ps(a10, half, one);
    a11 = _mm512_fmadd_ps(a11, half, one);
    asm volatile(""
                 : "+v"(a0), "+v"(a1), "+v"(a2), "+v"(a3), "+v"(a4),
                   "+v"(a5));  // equal chains would become one
    asm volatile("" : "+v"(a6), "+v"(a7), "+v"(a8), "+v"(a9), "+v"(a10), "+v"(a11));
  }
  const __m512 low = _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(a0, a1), _mm512_add_ps(a2, a3)),
                                   _mm512_add_ps(a4, a5));
  const __m512 high = _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(a6, a7), _mm512_add_ps(a8, a9)),
                                    _mm512_add_ps(a10, a11));
  return _mm512_cvtss_f32(_mm512_add_ps(low, high));
}

}  // namespace

extern const PeakLoop kFmaAvx512;
constexpr PeakLoop kFmaAvx512{.name = "avx512",
                              .peak = Peak::fp32,
                              .available = [] { return __builtin_cpu_supports("avx512f") != 0; },
                              .flops = 12 * 16 * 2,
                              .run = run};

}  // namespace lares::engine::bench

#endif
