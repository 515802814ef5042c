#include "engine/bench/loops.h"

#if defined(__AVX512BF16__)

#include <immintrin.h>

namespace lares::engine::bench {
namespace {

float run(std::int64_t passes) {
  __m512 zero = _mm512_setzero_ps();
  __m512bh w = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(-0.5f)),
           x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0f), _mm512_set1_ps(1.0f));
  asm volatile("" : "+v"(zero), "+v"(w), "+v"(x));
  __m512 a0 = zero, a1 = zero, a2 = zero, a3 = zero, a4 = zero, a5 = zero, a6 = zero, a7 = zero,
         a8 = zero, a9 = zero, a10 = zero, a11 = zero;
  for (std::int64_t i = 0; i < passes; ++i) {
    a0 = _mm512_dpbf16_ps(a0, w, x);
    a1 = _mm512_dpbf16_ps(a1, w, x);
    a2 = _mm512_dpbf16_ps(a2, w, x);
    a3 = _mm512_dpbf16_ps(a3, w, x);
    a4 = _mm512_dpbf16_ps(a4, w, x);
    a5 = _mm512_dpbf16_ps(a5, w, x);
    a6 = _mm512_dpbf16_ps(a6, w, x);
    a7 = _mm512_dpbf16_ps(a7, w, x);
    a8 = _mm512_dpbf16_ps(a8, w, x);
    a9 = _mm512_dpbf16_ps(a9, w, x);
    a10 = _mm512_dpbf16_ps(a10, w, x);
    a11 = _mm512_dpbf16_ps(a11, w, x);
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

extern const PeakLoop kDotBf16;
constexpr PeakLoop kDotBf16{
    .name = "avx512_bf16",
    .peak = Peak::bf16,
    .available =
        [] { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16"); },
    .flops = 12 * 32 * 2,
    .run = run};

}  // namespace lares::engine::bench

#endif
