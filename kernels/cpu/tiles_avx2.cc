// Two kernels over tiles. Few tokens: weights are decoded in registers, a line at a time, and meet
// every token there. Many tokens: two tiles are decoded into a panel in L1, and 6 tokens by 16 rows
// run over it with all sums in registers.
#include "kernels/tiles.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/unrolled.h"

namespace lares::kernels {
namespace {

INLINE __m256i half_line(const std::uint8_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
INLINE __m256 floats_of(__m256i v) { return _mm256_castsi256_ps(v); }

// What a line of each format holds: `count` weights of each row, in processing order; `lines` of
// them a 32-group. `h` is the half.
struct Fp4 {
  static constexpr Format format = Format::fp4;
  static constexpr int lines = 4, count = 8;
  __m256 magnitudes = _mm256_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f);
  __m256i sign = _mm256_set1_epi32(static_cast<int>(0x80000000u));
  template <int i>
  INLINE __m256 weight(__m256i v) const {
    constexpr int nibble = i / 2 + (i % 2 ? 0 : 4);
    // The permutation looks at three bits
    const __m256i code = nibble == 0 ? v : _mm256_srli_epi32(v, 4 * nibble);
    const __m256i top = nibble == 7 ? v : _mm256_slli_epi32(v, 28 - 4 * nibble);
    return _mm256_xor_ps(_mm256_permutevar8x32_ps(magnitudes, code),
                         floats_of(_mm256_and_si256(top, sign)));
  }
  INLINE static __m256 scale(const std::uint8_t* tile, float, int c, int h) {
    const __m128i codes =
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(tile + 1024 + 16 * c + 8 * h));
    const __m256i e = _mm256_cvtepu8_epi32(codes);
    // 2^-127, code 0, is a denormal: its bit pattern is not an exponent's.
    return floats_of(_mm256_max_epu32(_mm256_slli_epi32(e, 23), _mm256_set1_epi32(0x00400000)));
  }
};
struct Fp8 {
  static constexpr Format format = Format::fp8;
  static constexpr int lines = 8, count = 4;
  __m256i keep = _mm256_set1_epi32(static_cast<int>(0x87F00000u));
  __m256 up = _mm256_set1_ps(0x1p120f);  // e4m3's bias in float's place: 127 - 7
  template <int i>
  INLINE __m256 weight(__m256i v) const {
    constexpr int k = i ^ 1, at = k / 2 * 8 + k % 2;
    const __m256i to_top = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, -1, -1, at, -1, -1, -1, at + 2, -1, -1, -1, at + 4, -1, -1, -1, at + 6));
    const __m256i code = _mm256_shuffle_epi8(v, to_top);
    return _mm256_mul_ps(floats_of(_mm256_and_si256(_mm256_srai_epi32(code, 4), keep)), up);
  }
  INLINE static __m256 scale(const std::uint8_t*, float s, int, int) { return _mm256_set1_ps(s); }
};
struct Bf16 {
  static constexpr Format format = Format::bf16;
  static constexpr int lines = 16, count = 2;
  __m256i high = _mm256_set1_epi32(static_cast<int>(0xFFFF0000u));
  template <int i>
  INLINE __m256 weight(__m256i v) const {
    return floats_of(i == 0 ? _mm256_and_si256(v, high) : _mm256_slli_epi32(v, 16));
  }
  INLINE static __m256 scale(const std::uint8_t*, float, int, int) { return _mm256_set1_ps(1.0f); }
};

INLINE void put(const TilesArgs& a, int token, int row, Avx8 lo, Avx8 hi) {
  if (a.round_bf16) lo = bf16_rounded(lo), hi = bf16_rounded(hi);
  float* y = a.y + token * a.y_stride + row - a.y_row;
  if (a.row_end - row >= kTileRows) {
    store(y, lo);
    store(y + 8, hi);
    return;
  }
  float v[kTileRows];
  store(v, lo);
  store(v + 8, hi);
  std::memcpy(y, v, sizeof(float) * static_cast<std::size_t>(a.row_end - row));
}

// One block of 16 rows for M tokens, `chains` 32-groups at a time: 2 * M * chains independent sums
// hide the latency of an fma.
template <class Code, int M, int chains>
[[gnu::noinline]] void run_few(const TilesArgs& a, int token) {
  const Code code;
  const std::int64_t along = tiles_along(a.w->n_in), width = packed_width(a.w->n_in);
  for (int row = a.row_begin; row < a.row_end; row += kTileRows) {
    const std::uint8_t* tile = a.w->data + row / kTileRows * along * tile_bytes(Code::format);
    const float* scale = a.w->scale ? a.w->scale + row / 128 * along : nullptr;
    const float* x = a.x + token * width;
    __m256 acc[M][2];
    EACH(m, M, { acc[m][0] = acc[m][1] = _mm256_setzero_ps(); });
    for (std::int64_t t = 0; t < along; ++t, tile += tile_bytes(Code::format), x += kTileK) {
      const float s_tile = scale ? scale[t] : 1.0f;
      EACH(part_of, 4 / chains, {
        constexpr int c0 = part_of * chains;
        __m256 part[chains][M][2];
        EACH(c, chains, { EACH(m, M, { part[c][m][0] = part[c][m][1] = _mm256_setzero_ps(); }); });
        const std::uint8_t* line = tile + c0 * 64;
        const float* xs = x + c0 * kGroup;
        for (int j = 0; j < Code::lines; ++j, line += 256, xs += Code::count) {
          EACH(c, chains, {
            const __m256i v0 = half_line(line + c * 64), v1 = half_line(line + c * 64 + 32);
            EACH(i, Code::count, {
              const __m256 w0 = code.template weight<i>(v0), w1 = code.template weight<i>(v1);
              EACH(m, M, {
                const __m256 v = _mm256_broadcast_ss(xs + m * width + c * kGroup + i);
                part[c][m][0] = _mm256_fmadd_ps(w0, v, part[c][m][0]);
                part[c][m][1] = _mm256_fmadd_ps(w1, v, part[c][m][1]);
              });
            });
          });
        }
        EACH(c, chains, {
          EACH(h, 2, {
            const __m256 s = Code::scale(tile, s_tile, c0 + c, h);
            EACH(m, M, { acc[m][h] = _mm256_fmadd_ps(part[c][m][h], s, acc[m][h]); });
          });
        });
      });
    }
    EACH(m, M, { put(a, token + m, row, {acc[m][0]}, {acc[m][1]}); });
  }
}

// ---- many tokens

constexpr int kPanelTiles = 2;  // 256 k by 16 rows of floats: 16 KB

struct alignas(64) Scratch {
  float panel[kPanelTiles * kTileK * kTileRows];  // [k in processing order][row]
  float scale[kPanelTiles * 4 * kTileRows];
  float sums[kTokensPass * kTileRows];
};

template <class Code>
INLINE void decode(const std::uint8_t* tile, float s_tile, float* panel, float* scale) {
  const Code code;
  for (int c = 0; c < 4; ++c) {
    float* to = panel + c * kGroup * kTileRows;
    for (int j = 0; j < Code::lines; ++j, to += Code::count * kTileRows) {
      const std::uint8_t* line = tile + (4 * j + c) * 64;
      const __m256i v0 = half_line(line), v1 = half_line(line + 32);
      EACH(i, Code::count, {
        _mm256_store_ps(to + i * kTileRows, code.template weight<i>(v0));
        _mm256_store_ps(to + i * kTileRows + 8, code.template weight<i>(v1));
      });
    }
    EACH(h, 2,
         { _mm256_store_ps(scale + c * kTileRows + 8 * h, Code::scale(tile, s_tile, c, h)); });
  }
}

template <int M>
[[gnu::noinline]] void run_panel(const Scratch& s, const float* x, std::int64_t width, float* sums,
                                 int groups) {
  const float* w = s.panel;
  for (int g = 0; g < groups; ++g, x += kGroup) {
    __m256 part[M][2];
    EACH(m, M, { part[m][0] = part[m][1] = _mm256_setzero_ps(); });
    for (int i = 0; i < kGroup; i += 4) {
      EACH(u, 4, {
        const __m256 w0 = _mm256_load_ps(w), w1 = _mm256_load_ps(w + 8);
        w += kTileRows;
        EACH(m, M, {
          const __m256 v = _mm256_broadcast_ss(x + m * width + i + u);
          part[m][0] = _mm256_fmadd_ps(w0, v, part[m][0]);
          part[m][1] = _mm256_fmadd_ps(w1, v, part[m][1]);
        });
      });
    }
    EACH(h, 2, {
      const __m256 scale = _mm256_load_ps(s.scale + g * kTileRows + 8 * h);
      EACH(m, M, {
        float* sum = sums + m * kTileRows + 8 * h;
        _mm256_store_ps(sum, _mm256_fmadd_ps(part[m][h], scale, _mm256_load_ps(sum)));
      });
    });
  }
}

template <class Code>
void run_many(const TilesArgs& a) {
  Scratch s;  // 30 KB of stack
  const std::int64_t along = tiles_along(a.w->n_in), width = packed_width(a.w->n_in),
                     size = tile_bytes(Code::format);
  for (int row = a.row_begin; row < a.row_end; row += kTileRows) {
    const std::uint8_t* block = a.w->data + row / kTileRows * along * size;
    const float* scale = a.w->scale ? a.w->scale + row / 128 * along : nullptr;
    for (int t0 = 0; t0 < a.n_tokens; t0 += kTokensPass) {
      const int n = a.n_tokens - t0 < kTokensPass ? a.n_tokens - t0 : kTokensPass;
      std::memset(s.sums, 0, sizeof(float) * kTileRows * static_cast<std::size_t>(n));
      for (std::int64_t k = 0; k < along; k += kPanelTiles) {
        const int tiles = static_cast<int>(along - k < kPanelTiles ? along - k : kPanelTiles);
        for (int u = 0; u < tiles; ++u)
          decode<Code>(block + (k + u) * size, scale ? scale[k + u] : 1.0f,
                       s.panel + u * kTileK * kTileRows, s.scale + u * 4 * kTileRows);
        const float* x = a.x + t0 * width + k * kTileK;
        int m = 0;
        for (; m + 6 <= n; m += 6)
          run_panel<6>(s, x + m * width, width, s.sums + m * kTileRows, 4 * tiles);
        if (n - m >= 4)
          run_panel<4>(s, x + m * width, width, s.sums + m * kTileRows, 4 * tiles), m += 4;
        if (n - m >= 2)
          run_panel<2>(s, x + m * width, width, s.sums + m * kTileRows, 4 * tiles), m += 2;
        if (n - m >= 1) run_panel<1>(s, x + m * width, width, s.sums + m * kTileRows, 4 * tiles);
      }
      for (int m = 0; m < n; ++m)
        put(a, t0 + m, row, loaded<Avx8>(s.sums + m * kTileRows),
            loaded<Avx8>(s.sums + m * kTileRows + 8));
    }
  }
}

constexpr int kFewMax = 5;  // tokens up to which decoding in registers beats a panel

template <class Code>
void run(const TilesArgs& a) {
  if (a.n_tokens > kFewMax) return run_many<Code>(a);
  int t = 0;
  if (a.n_tokens - t >= 4) run_few<Code, 4, 1>(a, t), t += 4;
  if (a.n_tokens - t >= 2) run_few<Code, 2, 2>(a, t), t += 2;
  if (a.n_tokens - t >= 1) run_few<Code, 1, 4>(a, t);
}

}  // namespace

void pack_avx2(const PackArgs& a) {
  const std::int64_t width = packed_width(a.n_in);
  const auto at = [&](int i) { return ordered(a.format, i); };  // inside every 8 alike
  const __m256i order = _mm256_setr_epi32(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7));
  for (int t = 0; t < a.n_tokens; ++t) {
    const float* from = a.x + t * a.x_stride;
    float* out = a.to + t * width;
    for (int k = 0; k < a.n_in; k += 8)
      _mm256_storeu_ps(out + k, _mm256_permutevar8x32_ps(_mm256_loadu_ps(from + k), order));
    for (std::int64_t k = a.n_in; k < width; ++k) out[k] = 0.0f;
  }
}

void linear_tiles_avx2(const TilesArgs& a) {
  switch (a.w->format) {
    case Format::bf16:
      return run<Bf16>(a);
    case Format::fp8:
      return run<Fp8>(a);
    case Format::fp4:
      return run<Fp4>(a);
    case Format::f32:
      return;  // tileable() said no
  }
}

}  // namespace lares::kernels

#endif
