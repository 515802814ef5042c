// As linear_avx2.cc, over bf16 pairs (floats where the weights are): 32 rows of up to 512 k are
// decoded and transposed into a panel [pair][32 rows] in L1, and every token of the call runs over
// it. What pairs cannot hold goes to linear_avx2, by whole calls for activations and by blocks of
// 32 rows for weights.
#include "kernels/linear.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)

#include "kernels/cpu/floats_lanes.h"
#include "kernels/cpu/panel_avx512.h"
#include "kernels/scratch.h"
#include "kernels/cpu/transpose_avx512.h"

namespace lares::kernels {
namespace {

struct Transpose16 {
  INLINE void operator()(Avx16 (&r)[16]) const {
    __m512i words[16];
    EACH(i, 16, { words[i] = _mm512_castps_si512(r[i].v); });
    transpose(words);
    EACH(i, 16, { r[i].v = _mm512_castsi512_ps(words[i]); });
  }
};

constexpr int kPanelGroups = 16;  // 512 k: 32 KB
constexpr int kTokensPass = 192;  // whose sums take 24 KB

std::int64_t pairs_apart(int n_in) {
  return n_in / 2 + 16;
}  // from token to token: a line more than they take, as in tiles.h

struct alignas(64) Scratch {
  // Half of it where weights are no floats
  std::uint32_t panel[2 * kPanelGroups * kPairs * kPanelRows];
  float scale[kPanelGroups * kPanelRows];
  float sums[kTokensPass * kPanelRows];
};

// Pairs 0..15 of one group of one row, in a format's own order.
template <Format format>
INLINE __m512i row_pairs(const Matrix& m, std::int64_t row, int group) {
  const auto* data = static_cast<const std::uint8_t*>(m.data);
  const std::int64_t at = row * m.n_in + static_cast<std::int64_t>(group) * kGroup;
  if constexpr (format == Format::bf16) {
    return line(data + 2 * at);
  } else if constexpr (format == Format::fp8) {
    const __m512i v =
        _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + at)));
    const __m512i magnitude = _mm512_and_si512(v, _mm512_set1_epi16(0x7F)),
                  sign = _mm512_slli_epi16(_mm512_sub_epi16(v, magnitude), 8);
    // By bytes: the even ones look up the code, the odd ones are zero and are replaced.
    const __m512i low = _mm512_permutex2var_epi8(line(kE4m3.low), magnitude, line(kE4m3.low + 64));
    const __m512i high = _mm512_permutex2var_epi8(line(kE4m3.high), magnitude,
                                                  line(kE4m3.high + 64));
    return _mm512_or_si512(
        _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi16(0xFF)), _mm512_slli_epi16(high, 8)),
        sign);
  } else {
    const __m512i dwords = _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3),
        _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data + at / 2))));
    const __m512i by = _mm512_set4_epi32(0x000C000C, 0x00080008, 0x00040004, 0);
    return _mm512_permutexvar_epi16(_mm512_srlv_epi16(dwords, by), line(kE2m1.bf16));
  }
}

template <Format format>
float scale_of(const Matrix& m, std::int64_t row, int group) {
  if constexpr (format == Format::bf16) return 1.0f;
  if constexpr (format == Format::fp4) return e8m0_value(m.scale[row * (m.n_in / kGroup) + group]);
  const std::int64_t block = row / 128 * ((m.n_in + 127) / 128) + group * kGroup / 128;
  return m.scale_f32 ? m.scale_f32[block] : e8m0_value(m.scale[block]);
}

// Groups [first, first + n) of the n_rows of 32 rows that are there, by 16; false when a weight is
// none that pairs can hold.
template <Format format>
bool decode(const Matrix& m, const int* rows, int n_rows, int first, int n, Scratch& s) {
  bool good = true;
  for (int g = 0; g < n; ++g) {
    for (int b = 0; b < n_rows; b += kRows) {
      __m512i r[kRows];
      EACH(i, kRows, { r[i] = row_pairs<format>(m, rows[b + i], first + g); });
      if constexpr (format != Format::fp4) EACH(i, kRows, { good &= !weights_outside(r[i]); });
      transpose(r);
      EACH(i, kRows, { _mm512_store_si512(s.panel + (g * kPairs + i) * kPanelRows + b, r[i]); });
    }
    if constexpr (format == Format::bf16) {
      _mm512_store_ps(s.scale + g * kPanelRows, _mm512_set1_ps(1.0f));
      _mm512_store_ps(s.scale + g * kPanelRows + kRows, _mm512_set1_ps(1.0f));
    } else {
      for (int i = 0; i < kPanelRows; ++i)
        s.scale[g * kPanelRows + i] = scale_of<format>(m, rows[i], first + g);
    }
  }
  return good;
}

template <>
bool decode<Format::f32>(const Matrix& m, const int* rows, int n_rows, int first, int n,
                         Scratch& s) {
  const auto* data = static_cast<const float*>(m.data);
  for (int g = 0; g < n; ++g) {
    for (int b = 0; b < n_rows; b += kRows)
      for (int half = 0; half < 2; ++half) {
        __m512i r[kRows];
        EACH(i, kRows, {
          r[i] = line(data + static_cast<std::int64_t>(rows[b + i]) * m.n_in +
                      (first + g) * kGroup + half * kRows);
        });
        transpose(r);
        EACH(i, kRows, {
          _mm512_store_si512(s.panel + (g * kGroup + half * kRows + i) * kPanelRows + b, r[i]);
        });
      }
    _mm512_store_ps(s.scale + g * kPanelRows, _mm512_set1_ps(1.0f));
    _mm512_store_ps(s.scale + g * kPanelRows + kRows, _mm512_set1_ps(1.0f));
  }
  return true;
}

template <Format format, class X>
bool run_block(const LinearArgs& a, const typename X::Word* x, std::int64_t x_stride, int row,
               Scratch& s) {
  const Matrix& m = *a.w;
  const int groups = m.n_in / kGroup, n_rows = least(kPanelRows, a.row_end - row);
  int rows[kPanelRows];  // the last row again where there is none: computed, not stored
  for (int r = 0; r < kPanelRows; ++r) rows[r] = row + least(r, n_rows - 1);
  for (int t0 = 0; t0 < a.n_tokens; t0 += kTokensPass) {
    const int n = least(kTokensPass, a.n_tokens - t0);
    std::memset(s.sums, 0, sizeof(float) * kPanelRows * static_cast<std::size_t>(n));
    for (int g = 0; g < groups; g += kPanelGroups) {
      const int n_groups = least(kPanelGroups, groups - g);
      if (!decode<format>(m, rows, n_rows, g, n_groups, s)) return false;
      run_panels<X>(Panel<true>{s.panel, s.scale}, x + t0 * x_stride + g * kPairs * X::words,
                    x_stride, s.sums, n_groups, n);
    }
    for (int t = 0; t < n; ++t)
      put_panel(a.y + (t0 + t) * a.y_stride + row - a.y_row, s.sums + t * kPanelRows, n_rows,
                a.round_bf16);
  }
  return true;
}

template <Format format>
void run_format(const LinearArgs& a) {
  const std::int64_t stride = pairs_apart(a.w->n_in);
  std::uint32_t* const x = scratch_words(static_cast<std::size_t>(stride * a.n_tokens));
  for (int t = 0; t < a.n_tokens; ++t)
    if (!as_pairs(a.x + t * a.x_stride, a.w->n_in, format, x + t * stride)) return linear_avx2(a);
  Scratch s;
  for (int row = a.row_begin; row < a.row_end; row += kPanelRows) {
    if (run_block<format, Pairs>(a, x, stride, row, s)) continue;
    LinearArgs block = a;
    block.row_begin = row;
    block.row_end = least(row + kPanelRows, a.row_end);
    linear_avx2(block);
  }
}

// A pass of tokens at a time, so that what a thread keeps does not grow with them.
template <Format format>
void run_passes(const LinearArgs& a) {
  for (int t0 = 0; t0 < a.n_tokens; t0 += kTokensPass) {
    LinearArgs pass = a;
    pass.x += t0 * a.x_stride;
    pass.y += t0 * a.y_stride;
    pass.n_tokens = least(kTokensPass, a.n_tokens - t0);
    run_format<format>(pass);
  }
}

}  // namespace

void linear_avx512(const LinearArgs& a) {
  switch (a.w->format) {
    case Format::f32: {
      if (a.n_tokens == 1) return one_token_of_floats<Avx16, Transpose16>(a);
      Scratch s;
      for (int row = a.row_begin; row < a.row_end; row += kPanelRows)
        run_block<Format::f32, Plain>(a, a.x, a.x_stride, row, s);
      return;
    }
    case Format::bf16:
      return run_passes<Format::bf16>(a);
    case Format::fp8:
      return run_passes<Format::fp8>(a);
    case Format::fp4:
      return run_passes<Format::fp4>(a);
  }
}

}  // namespace lares::kernels

#endif
