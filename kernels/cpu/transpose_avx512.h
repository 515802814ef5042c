#pragma once

#include <immintrin.h>

#include "kernels/cpu/unrolled.h"

namespace lares::kernels {
namespace {

// 16 registers of 16 dwords each, transposed.
INLINE void transpose(__m512i r[16]) {
  __m512i t[16];
  EACH(i, 8, {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  });
  EACH(i, 4, {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  });
  // r[4 i + j], 128-bit lane L: column 4 L + j of rows 4 i..4 i + 3.
  EACH(j, 4, {
    t[j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);  // lanes 0, 2 of rows 0-3, then of rows 4-7
    t[4 + j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xDD);  // lanes 1, 3
    t[8 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xDD);
  });
  EACH(j, 4, {
    r[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
    r[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xDD);
    r[4 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0x88);
    r[12 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0xDD);
  });
}

}  // namespace
}  // namespace lares::kernels
