// A code's exponent and fraction, moved to where bf16 has them, are right but for the bias; codes
// of exponent 0 come out of a table of eight.
#include "kernels/cells.h"

#if defined(__AVX2__)

#include <immintrin.h>

#include <cstring>

#include "kernels/cell_codes.h"

namespace lares::kernels {

void unpack_cells_avx2(const UnpackArgs& a) {
  const int n = a.head_dim - a.rope_dim;
  alignas(16) std::uint8_t low[16] = {}, high[16] = {};
  for (int i = 0; i < 8; ++i)
    low[i] = static_cast<std::uint8_t>(kCodeValues.of[i]),
    high[i] = static_cast<std::uint8_t>(kCodeValues.of[i] >> 8);
  const __m256i lows = _mm256_broadcastsi128_si256(
                    _mm_load_si128(reinterpret_cast<const __m128i*>(low))),
                highs = _mm256_broadcastsi128_si256(
                    _mm_load_si128(reinterpret_cast<const __m128i*>(high)));
  const __m256i bias = _mm256_set1_epi16((127 - 7) << 7), magnitude = _mm256_set1_epi16(127),
                zero = _mm256_setzero_si256();
  for (int j = 0; j < a.n; ++j) {
    const auto* const cell = static_cast<const std::uint8_t*>(a.cells[j]);
    std::uint16_t* const row = a.rows + static_cast<std::int64_t>(j) * a.head_dim;
    for (int b = 0; b < n; b += kCellBlock) {
      const int scale = cell[n + b / kCellBlock];
      const __m256i add = _mm256_set1_epi16(static_cast<short>((scale - 127) * 128));
      for (int i = b; i < b + kCellBlock; i += 16) {
        const __m256i code =
            _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(cell + i)));
        const __m256i m = _mm256_and_si256(code, magnitude),
                      sign = _mm256_slli_epi16(_mm256_andnot_si256(magnitude, code), 8);
        const __m256i normal = _mm256_add_epi16(_mm256_slli_epi16(m, 4), bias);
        // Bytes 0, 2, ... are the code; the odd ones must look up a zero.
        const __m256i index = _mm256_or_si256(m, _mm256_set1_epi16(static_cast<short>(0x8000)));
        const __m256i small = _mm256_or_si256(
            _mm256_shuffle_epi8(lows, index),
            _mm256_slli_epi16(_mm256_shuffle_epi8(highs, index), 8));
        const __m256i value = _mm256_blendv_epi8(small, normal,
                                                 _mm256_cmpgt_epi16(m, _mm256_set1_epi16(7)));
        const __m256i scaled = _mm256_andnot_si256(_mm256_cmpeq_epi16(m, zero),
                                                   _mm256_add_epi16(value, add));
        const __m256i out = scale == kScaleOfNoNumber ? _mm256_set1_epi16(kNoNumber)
                                                      : _mm256_or_si256(scaled, sign);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + i), out);
      }
    }
    std::memcpy(row + n, cell + cell_rope_at(a.head_dim, a.rope_dim),
                2 * static_cast<std::size_t>(a.rope_dim));
  }
}

}  // namespace lares::kernels

#endif
