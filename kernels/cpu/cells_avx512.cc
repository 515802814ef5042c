// All 128 magnitudes in four registers of 16-bit values, looked up 32 at a time.
#include "kernels/cells.h"

#if defined(__AVX512BW__) && defined(__AVX512VBMI__)

#include <immintrin.h>

#include <cstring>

#include "kernels/cell_codes.h"

namespace lares::kernels {

void unpack_cells_avx512(const UnpackArgs& a) {
  const int n = a.head_dim - a.rope_dim;
  const __m512i t0 = _mm512_load_si512(kCodeValues.of), t1 = _mm512_load_si512(kCodeValues.of + 32),
                t2 = _mm512_load_si512(kCodeValues.of + 64),
                t3 = _mm512_load_si512(kCodeValues.of + 96);
  for (int j = 0; j < a.n; ++j) {
    const auto* const cell = static_cast<const std::uint8_t*>(a.cells[j]);
    std::uint16_t* const row = a.rows + static_cast<std::int64_t>(j) * a.head_dim;
    for (int b = 0; b < n; b += kCellBlock) {
      const int scale = cell[n + b / kCellBlock];
      const __m512i add = _mm512_set1_epi16(static_cast<short>((scale - 127) * 128));
      for (int i = b; i < b + kCellBlock; i += 32) {
        const __m512i code =
            _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(cell + i)));
        const __m512i lower = _mm512_permutex2var_epi16(t0, code, t1),
                      upper = _mm512_permutex2var_epi16(t2, code, t3);  // by the low 6 bits
        const __m512i value = _mm512_mask_mov_epi16(
            lower, _mm512_test_epi16_mask(code, _mm512_set1_epi16(64)), upper);
        const __m512i scaled = _mm512_maskz_add_epi16(
            _mm512_test_epi16_mask(code, _mm512_set1_epi16(127)), value, add);
        const __m512i sign = _mm512_slli_epi16(_mm512_and_si512(code, _mm512_set1_epi16(128)), 8);
        const __m512i out = scale == kScaleOfNoNumber ? _mm512_set1_epi16(kNoNumber)
                                                      : _mm512_or_si512(scaled, sign);
        _mm512_storeu_si512(row + i, out);
      }
    }
    std::memcpy(row + n, cell + cell_rope_at(a.head_dim, a.rope_dim),
                2 * static_cast<std::size_t>(a.rope_dim));
  }
}

}  // namespace lares::kernels

#endif
