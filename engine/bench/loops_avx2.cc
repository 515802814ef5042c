#include "engine/bench/loops.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

namespace lares::engine::bench {
namespace {

// Twelve chains: two units with four or five cycles of latency want eight to ten, and twelve with
// their operands fit 16 registers.
float run(std::int64_t passes) {
  __m256 half = _mm256_set1_ps(0.5f), one = _mm256_set1_ps(1.0f);
  asm volatile("" : "+x"(half), "+x"(one));  // constants the compiler could fold are no work
  __m256 a0 = one, a1 = one, a2 = one, a3 = one, a4 = one, a5 = one, a6 = one, a7 = one, a8 = one,
         a9 = one, a10 = one, a11 = one;
  for (std::int64_t i = 0; i < passes; ++i) {
    a0 = _mm256_fmadd_ps(a0, half, one);
    a1 = _mm256_fmadd_ps(a1, half, one);
    a2 = _mm256_fmadd_ps(a2, half, one);
    a3 = _mm256_fmadd_ps(a3, half, one);
    a4 = _mm256_fmadd_ps(a4, half, one);
    a5 = _mm256_fmadd_ps(a5, half, one);
    a6 = _mm256_fmadd_ps(a6, half, one);
    a7 = _mm256_fmadd_ps(a7, half, one);
    a8 = _mm256_fmadd_ps(a8, half, one);
    a9 = _mm256_fmadd_ps(a9, half, one);
    a10 = _mm256_fmadd_ps(a10, half, one);
    a11 = _mm256_fmadd_ps(a11, half, one);
    // Equal chains would otherwise become one.
    asm volatile("" : "+x"(a0), "+x"(a1), "+x"(a2), "+x"(a3), "+x"(a4), "+x"(a5));
    asm volatile("" : "+x"(a6), "+x"(a7), "+x"(a8), "+x"(a9), "+x"(a10), "+x"(a11));
  }
  const __m256 low = _mm256_add_ps(_mm256_add_ps(_mm256_add_ps(a0, a1), _mm256_add_ps(a2, a3)),
                                   _mm256_add_ps(a4, a5));
  const __m256 high = _mm256_add_ps(_mm256_add_ps(_mm256_add_ps(a6, a7), _mm256_add_ps(a8, a9)),
                                    _mm256_add_ps(a10, a11));
  return _mm256_cvtss_f32(_mm256_add_ps(low, high));
}

}  // namespace

extern const PeakLoop kFmaAvx2;
constexpr PeakLoop kFmaAvx2{
    .name = "avx2",
    .peak = Peak::fp32,
    .available = [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); },
    .flops = 12 * 8 * 2,
    .run = run};

std::uint64_t read_bytes_avx2(const std::uint8_t* data, std::size_t bytes) {
  const auto at = [data](std::size_t i) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i));
  };
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (std::size_t i = 0; i < bytes; i += 256) {
    a = _mm256_xor_si256(a, _mm256_xor_si256(at(i), at(i + 32)));
    b = _mm256_xor_si256(b, _mm256_xor_si256(at(i + 64), at(i + 96)));
    c = _mm256_xor_si256(c, _mm256_xor_si256(at(i + 128), at(i + 160)));
    d = _mm256_xor_si256(d, _mm256_xor_si256(at(i + 192), at(i + 224)));
  }
  a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
  return static_cast<std::uint64_t>(_mm256_extract_epi64(a, 0)) ^
         static_cast<std::uint64_t>(_mm256_extract_epi64(a, 1)) ^
         static_cast<std::uint64_t>(_mm256_extract_epi64(a, 2)) ^
         static_cast<std::uint64_t>(_mm256_extract_epi64(a, 3));
}

}  // namespace lares::engine::bench

#endif
