// Output row = lane, so nothing is ever summed across lanes and one order serves every number of
// tokens. Weights are row-major on disk: 16 rows at a time are decoded and transposed into a panel
// [k][16] of floats that stays in L1, and every token of the call runs over it. The panel costs two
// stores and two loads per 16 weights; a layout repacked at load would save them and the
// transposition, but would no longer be the mapped file.
#include "kernels/linear.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/floats_lanes.h"
#include "kernels/cpu/lanes.h"

namespace lares::kernels {
namespace {

constexpr int kRows = 16;        // rows of a panel
constexpr int kPanelGroups = 8;  // groups of a panel: 256 k, 16 KB
// Tokens whose accumulators (4 KB) and activations stay close while a panel is used
constexpr int kTokensTile = 64;

struct alignas(64) Scratch {
  float panel[kPanelGroups * kGroup * kRows];
  float scale[kPanelGroups * kRows];
  float acc[kTokensTile * kRows];
  float x[kTokensTile * kPanelGroups * kGroup];  // activations in processing order
};

inline __m128i low8(const std::uint8_t* p) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
}

// 8 rows of 8 bytes -> 4 registers, bytes [column 2i of rows 0..7 | column 2i + 1 of rows 0..7].
inline void transpose8(const std::uint8_t* const* rows, std::int64_t at, __m128i out[4]) {
  const __m128i a0 = _mm_unpacklo_epi8(low8(rows[0] + at), low8(rows[4] + at));  // 0,4 by column
  const __m128i a1 = _mm_unpacklo_epi8(low8(rows[1] + at), low8(rows[5] + at));
  const __m128i a2 = _mm_unpacklo_epi8(low8(rows[2] + at), low8(rows[6] + at));
  const __m128i a3 = _mm_unpacklo_epi8(low8(rows[3] + at), low8(rows[7] + at));
  // 0,2,4,6; columns 0-3 | 4-7
  const __m128i b0 = _mm_unpacklo_epi8(a0, a2), b1 = _mm_unpackhi_epi8(a0, a2);
  const __m128i c0 = _mm_unpacklo_epi8(a1, a3), c1 = _mm_unpackhi_epi8(a1, a3);  // 1,3,5,7
  out[0] = _mm_unpacklo_epi8(b0, c0);
  out[1] = _mm_unpackhi_epi8(b0, c0);
  out[2] = _mm_unpacklo_epi8(b1, c1);
  out[3] = _mm_unpackhi_epi8(b1, c1);
}

// Processing position of offset k inside its group.
constexpr int position(Format format, int k) {
  for (int i = 0; i < kGroup; ++i)
    if (ordered(format, i) == k) return i;
  return 0;
}
template <Format format>
struct Positions {
  int at[kGroup];
  constexpr Positions() : at() {
    for (int k = 0; k < kGroup; ++k) at[k] = position(format, k);
  }
};
template <Format format>
constexpr Positions<format> kPosition{};

// e4m3's exponent and fraction fit fp16's as they are; the value comes out 2^-8 too small, which
// the scale makes good.
inline void put_fp8(__m128i bytes, float* even, float* odd) {
  const __m128i zero = _mm_setzero_si128(), keep = _mm_set1_epi16(static_cast<short>(0xBFFF));
  const __m128i lo = _mm_and_si128(_mm_srai_epi16(_mm_unpacklo_epi8(zero, bytes), 1), keep);
  const __m128i hi = _mm_and_si128(_mm_srai_epi16(_mm_unpackhi_epi8(zero, bytes), 1), keep);
  _mm256_store_ps(even, _mm256_cvtph_ps(lo));
  _mm256_store_ps(odd, _mm256_cvtph_ps(hi));
}

// Decodes groups [g, g + n) of 8 rows into the panel's columns `lane`..`lane` + 7.
template <Format format>
void decode8(const Matrix& m, const int* row, int g, int n, int lane, Scratch& s);

template <>
void decode8<Format::fp8>(const Matrix& m, const int* row, int g, int n, int lane, Scratch& s) {
  const std::uint8_t* rows[8];
  for (int r = 0; r < 8; ++r)
    rows[r] = static_cast<const std::uint8_t*>(m.data) + static_cast<std::int64_t>(row[r]) * m.n_in;
  const __m128i seven = _mm_set1_epi8(0x7F);
  for (int i = 0; i < n; ++i) {
    __m128i nan = _mm_setzero_si128();
    float* panel = s.panel + static_cast<std::ptrdiff_t>(i) * kGroup * kRows + lane;
    for (int k = 0; k < kGroup; k += 8) {
      __m128i t[4];
      transpose8(rows, static_cast<std::int64_t>(g + i) * kGroup + k, t);
      for (int j = 0; j < 4; ++j) {
        nan = _mm_or_si128(nan, _mm_cmpeq_epi8(_mm_and_si128(t[j], seven), seven));
        put_fp8(t[j], panel + kPosition<Format::fp8>.at[k + 2 * j] * kRows,
                panel + kPosition<Format::fp8>.at[k + 2 * j + 1] * kRows);
      }
    }
    if (_mm_movemask_epi8(nan)) [[unlikely]] {  // 0x7F and 0xFF, which fp16 would read as 480
      for (int r = 0; r < 8; ++r)
        for (int k = 0; k < kGroup; ++k) {
          const std::uint8_t code = rows[r][static_cast<std::int64_t>(g + i) * kGroup + k];
          if ((code & 0x7F) == 0x7F)
            panel[kPosition<Format::fp8>.at[k] * kRows + r] = e4m3_value(code);
        }
    }
    const std::int64_t column = (g + i) * kGroup / 128, columns = (m.n_in + 127) / 128;
    for (int r = 0; r < 8; ++r) {
      const std::int64_t block = static_cast<std::int64_t>(row[r] / 128) * columns + column;
      s.scale[i * kRows + lane + r] =
          (m.scale_f32 ? m.scale_f32[block] : e8m0_value(m.scale[block])) * 256.0f;
    }
  }
}

template <>
void decode8<Format::fp4>(const Matrix& m, const int* row, int g, int n, int lane, Scratch& s) {
  // The high byte of each e2m1 code's fp16; the low byte is 0 for all of them.
  const __m128i table = _mm_setr_epi8(0x00, 0x38, 0x3C, 0x3E, 0x40, 0x42, 0x44, 0x46,
                                      static_cast<char>(0x80), static_cast<char>(0xB8),
                                      static_cast<char>(0xBC), static_cast<char>(0xBE),
                                      static_cast<char>(0xC0), static_cast<char>(0xC2),
                                      static_cast<char>(0xC4), static_cast<char>(0xC6));
  const __m128i nibble = _mm_set1_epi8(15), zero = _mm_setzero_si128();
  const std::uint8_t *rows[8], *scales[8];
  const int groups = m.n_in / kGroup;
  for (int r = 0; r < 8; ++r) {
    rows[r] = static_cast<const std::uint8_t*>(m.data) +
              static_cast<std::int64_t>(row[r]) * (m.n_in / 2);
    scales[r] = m.scale + static_cast<std::int64_t>(row[r]) * groups;
  }
  for (int i = 0; i < n; ++i) {
    float* panel = s.panel + static_cast<std::ptrdiff_t>(i) * kGroup * kRows + lane;
    for (int b = 0; b < kGroup / 2; b += 8) {
      __m128i t[4];
      transpose8(rows, static_cast<std::int64_t>(g + i) * (kGroup / 2) + b, t);
      for (int j = 0; j < 4; ++j) {
        const __m128i even = _mm_shuffle_epi8(table, _mm_and_si128(t[j], nibble));
        const __m128i odd = _mm_shuffle_epi8(table, _mm_and_si128(_mm_srli_epi16(t[j], 4), nibble));
        const int k = 2 * (b + 2 * j);  // byte b + 2j holds k, k + 1; the next one k + 2, k + 3
        _mm256_store_ps(panel + kPosition<Format::fp4>.at[k] * kRows,
                        _mm256_cvtph_ps(_mm_unpacklo_epi8(zero, even)));
        _mm256_store_ps(panel + kPosition<Format::fp4>.at[k + 1] * kRows,
                        _mm256_cvtph_ps(_mm_unpacklo_epi8(zero, odd)));
        _mm256_store_ps(panel + kPosition<Format::fp4>.at[k + 2] * kRows,
                        _mm256_cvtph_ps(_mm_unpackhi_epi8(zero, even)));
        _mm256_store_ps(panel + kPosition<Format::fp4>.at[k + 3] * kRows,
                        _mm256_cvtph_ps(_mm_unpackhi_epi8(zero, odd)));
      }
    }
    for (int r = 0; r < 8; ++r) s.scale[i * kRows + lane + r] = e8m0_value(scales[r][g + i]);
  }
}

inline void transpose8x8(__m256 r[8]) {
  __m256 t[8], u[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

struct Transpose8 {
  INLINE void operator()(Avx8 (&r)[8]) const {
    __m256 words[8];
    EACH(i, 8, { words[i] = r[i].v; });
    transpose8x8(words);
    EACH(i, 8, { r[i].v = words[i]; });
  }
};

template <Format format>
void decode8_plain(const Matrix& m, const int* row, int g, int n, int lane, Scratch& s) {
  for (int i = 0; i < n; ++i) {
    float* panel = s.panel + static_cast<std::ptrdiff_t>(i) * kGroup * kRows + lane;
    for (int k = 0; k < kGroup; k += 8) {
      __m256 v[8];
      for (int r = 0; r < 8; ++r) {
        const std::int64_t at = static_cast<std::int64_t>(row[r]) * m.n_in +
                                static_cast<std::int64_t>(g + i) * kGroup + k;
        if constexpr (format == Format::f32) {
          v[r] = _mm256_loadu_ps(static_cast<const float*>(m.data) + at);
        } else {
          Avx8 wide;
          load_bf16(wide, static_cast<const std::uint16_t*>(m.data) + at);
          v[r] = wide.v;
        }
      }
      transpose8x8(v);
      for (int j = 0; j < 8; ++j)
        _mm256_store_ps(panel + kPosition<format>.at[k + j] * kRows, v[j]);
    }
    _mm256_store_ps(s.scale + i * kRows + lane, _mm256_set1_ps(1.0f));
  }
}
template <>
void decode8<Format::bf16>(const Matrix& m, const int* row, int g, int n, int lane, Scratch& s) {
  decode8_plain<Format::bf16>(m, row, g, n, lane, s);
}
template <>
void decode8<Format::f32>(const Matrix& m, const int* row, int g, int n, int lane, Scratch& s) {
  decode8_plain<Format::f32>(m, row, g, n, lane, s);
}

// `tokens` tokens times `at_once` groups: 2 * tokens * at_once independent chains, 8 of which hide
// the latency of an fma.
template <int tokens, int at_once>
inline void run_groups(const float* panel, const float* scale, const float* x,
                       std::int64_t x_stride, float* acc, int n_groups) {
  __m256 sum[tokens][2];
  for (int t = 0; t < tokens; ++t)
    for (int h = 0; h < 2; ++h) sum[t][h] = _mm256_load_ps(acc + t * kRows + 8 * h);
  for (int g = 0; g + at_once <= n_groups; g += at_once) {
    __m256 part[tokens][at_once][2];
    for (int t = 0; t < tokens; ++t)
      for (int j = 0; j < at_once; ++j) part[t][j][0] = part[t][j][1] = _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int i = 0; i < kGroup; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < at_once; ++j) {
        const float* w = panel + ((g + j) * kGroup + i) * kRows;
        const __m256 w0 = _mm256_load_ps(w), w1 = _mm256_load_ps(w + 8);
#pragma GCC unroll 4
        for (int t = 0; t < tokens; ++t) {
          const __m256 a = _mm256_broadcast_ss(x + t * x_stride + (g + j) * kGroup + i);
          part[t][j][0] = _mm256_fmadd_ps(w0, a, part[t][j][0]);
          part[t][j][1] = _mm256_fmadd_ps(w1, a, part[t][j][1]);
        }
      }
    }
    for (int j = 0; j < at_once; ++j) {
      const float* s = scale + (g + j) * kRows;
      for (int t = 0; t < tokens; ++t)
        for (int h = 0; h < 2; ++h)
          sum[t][h] = _mm256_fmadd_ps(part[t][j][h], _mm256_load_ps(s + 8 * h), sum[t][h]);
    }
  }
  for (int t = 0; t < tokens; ++t)
    for (int h = 0; h < 2; ++h) _mm256_store_ps(acc + t * kRows + 8 * h, sum[t][h]);
}

template <int tokens, int at_once>
void run_panel(const Scratch& s, const float* x, std::int64_t x_stride, float* acc, int n_groups) {
  const int whole = n_groups - n_groups % at_once;
  run_groups<tokens, at_once>(s.panel, s.scale, x, x_stride, acc, whole);
  if (whole < n_groups)
    run_groups<tokens, 1>(s.panel + whole * kGroup * kRows, s.scale + whole * kRows,
                          x + whole * kGroup, x_stride, acc, n_groups - whole);
}

template <Format format>
void run_format(const LinearArgs& a, Scratch& s) {
  const Matrix& m = *a.w;
  const int groups = m.n_in / kGroup;
  static_assert(ordered(format, 9) == 8 + ordered(format, 1) &&
                ordered(format, 31) == 24 + ordered(format, 7));
  const __m256i order = _mm256_setr_epi32(
      ordered(format, 0), ordered(format, 1), ordered(format, 2), ordered(format, 3),
      ordered(format, 4), ordered(format, 5), ordered(format, 6), ordered(format, 7));
  for (int row = a.row_begin; row < a.row_end; row += kRows) {
    const int n_rows = a.row_end - row < kRows ? a.row_end - row : kRows;
    int rows[kRows];  // the last row again where there is none: computed, not stored
    for (int r = 0; r < kRows; ++r) rows[r] = row + (r < n_rows ? r : n_rows - 1);
    for (int t0 = 0; t0 < a.n_tokens; t0 += kTokensTile) {
      const int n = a.n_tokens - t0 < kTokensTile ? a.n_tokens - t0 : kTokensTile;
      std::memset(s.acc, 0, sizeof(float) * n * kRows);
      for (int g = 0; g < groups; g += kPanelGroups) {
        const int n_groups = groups - g < kPanelGroups ? groups - g : kPanelGroups;
        decode8<format>(m, rows, g, n_groups, 0, s);
        decode8<format>(m, rows + 8, g, n_groups, 8, s);
        constexpr int stride = kPanelGroups * kGroup;
        for (int t = 0; t < n; ++t) {
          const float* x = a.x + (t0 + t) * a.x_stride + g * kGroup;
          for (int k = 0; k < n_groups * kGroup; k += 8)
            _mm256_store_ps(s.x + t * stride + k,
                            _mm256_permutevar8x32_ps(_mm256_loadu_ps(x + k), order));
        }
        int t = 0;
        for (; t + 4 <= n; t += 4)
          run_panel<4, 1>(s, s.x + t * stride, stride, s.acc + t * kRows, n_groups);
        if (n - t >= 2) {
          run_panel<2, 2>(s, s.x + t * stride, stride, s.acc + t * kRows, n_groups);
          t += 2;
        }
        if (t < n) run_panel<1, 4>(s, s.x + t * stride, stride, s.acc + t * kRows, n_groups);
      }
      for (int t = 0; t < n; ++t) {
        float* y = a.y + (t0 + t) * a.y_stride + row - a.y_row;
        for (int r = 0; r < n_rows; ++r) {
          const float v = s.acc[t * kRows + r];
          y[r] = a.round_bf16 ? bf16_rounded(v) : v;
        }
      }
    }
  }
}

}  // namespace

void linear_avx2(const LinearArgs& a) {
  if (a.w->format == Format::f32 && a.n_tokens == 1)
    return one_token_of_floats<Avx8, Transpose8>(a);
  Scratch scratch;  // 100 KB of stack, of which a decode touches 20
  switch (a.w->format) {
    case Format::f32:
      return run_format<Format::f32>(a, scratch);
    case Format::bf16:
      return run_format<Format::bf16>(a, scratch);
    case Format::fp8:
      return run_format<Format::fp8>(a, scratch);
    case Format::fp4:
      return run_format<Format::fp4>(a, scratch);
  }
}

}  // namespace lares::kernels

#endif
