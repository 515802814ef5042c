// As tiles_avx2.cc, over bf16 pairs. Few tokens: a line of weights is decoded into registers and meets every token there. Many
// tokens: four tiles are decoded into a panel in L1, and 12 tokens by 16 rows run over it with all sums in registers.
#include "kernels/tiles.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)

#include <bit>

#include "kernels/panel_avx512.h"
#include "kernels/scratch.h"

namespace lares::kernels {
namespace {

// What a line of each format holds: `pairs` pairs of each row, `lines` lines a 32-group.
struct Fp4 {
  static constexpr Format format = Format::fp4;
  static constexpr int lines = 4, pairs = 4;
  __m512i table = line(kE2m1.bf16);
  template <int p>
  INLINE __m512i pair(__m512i v) const {
    return _mm512_permutexvar_epi16(p == 0 ? v : _mm512_srli_epi16(v, 4 * p), table);
  }
  INLINE static __m512 scale(const std::uint8_t* tile, float, int c) {
    const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(tile + 1024 + 16 * c)));
    // 2^-127, code 0, is a denormal: its bit pattern is not an exponent's.
    return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_slli_epi32(e, 23), _mm512_set1_epi32(0x00400000)));
  }
};
struct Fp8 {
  static constexpr Format format = Format::fp8;
  static constexpr int lines = 8, pairs = 2;
  __m512i low0 = line(kE4m3.low), low1 = line(kE4m3.low + 64), high0 = line(kE4m3.high), high1 = line(kE4m3.high + 64);
  template <int p>
  INLINE __m512i pair(__m512i v) const {
    const __m512i sign = _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(0x80)));
    const __m512i low = _mm512_permutex2var_epi8(low0, v, low1), high = _mm512_or_si512(_mm512_permutex2var_epi8(high0, v, high1), sign);
    return p == 0 ? _mm512_unpacklo_epi8(low, high) : _mm512_unpackhi_epi8(low, high);
  }
  INLINE static __m512 scale(const std::uint8_t*, float s, int) { return _mm512_set1_ps(s); }
};
struct Bf16 {
  static constexpr Format format = Format::bf16;
  static constexpr int lines = 16, pairs = 1;
  template <int>
  INLINE __m512i pair(__m512i v) const { return v; }
  INLINE static __m512 scale(const std::uint8_t*, float, int) { return _mm512_set1_ps(1.0f); }
};

template <class X>
const typename X::Word* words(const TilesArgs& a, int token) {
  return reinterpret_cast<const typename X::Word*>(a.x + token * packed_width(a.w->n_in));
}

// Blocks of 16 rows for M tokens, `chains` 32-groups at a time: M * chains independent sums hide the latency of a dot product.
template <class Code, class X, int M, int chains>
[[gnu::noinline]] void run_few(const TilesArgs& a, int token) {
  const Code code;
  const std::int64_t along = tiles_along(a.w->n_in), width = packed_width(a.w->n_in);
  constexpr int group = kPairs * X::words;
  for (int row = a.row_begin; row < a.row_end; row += kTileRows) {
    const std::uint8_t* tile = a.w->data + row / kTileRows * along * tile_bytes(Code::format);
    const float* scale = a.w->scale ? a.w->scale + row / 128 * along : nullptr;
    const typename X::Word* x = words<X>(a, token);
    __m512 acc[M];
    EACH(m, M, { acc[m] = _mm512_setzero_ps(); });
    for (std::int64_t t = 0; t < along; ++t, tile += tile_bytes(Code::format), x += 4 * group) {
      const float s_tile = scale ? scale[t] : 1.0f;
      EACH(part_of, 4 / chains, {
        constexpr int c0 = part_of * chains;
        __m512 part[chains][M];
        EACH(c, chains, { EACH(m, M, { part[c][m] = _mm512_setzero_ps(); }); });
        const std::uint8_t* from = tile + c0 * 64;
        const typename X::Word* xs = x + c0 * group;
        for (int j = 0; j < Code::lines; ++j, from += 256, xs += Code::pairs * X::words) {
          EACH(c, chains, {
            const __m512i v = line(from + c * 64);
            EACH(p, Code::pairs, {
              const auto w = X::weight(code.template pair<p>(v));
              EACH(m, M, { part[c][m] = X::add(part[c][m], w, xs + m * width + c * group + p * X::words); });
            });
          });
        }
        EACH(c, chains, {
          const __m512 s = Code::scale(tile, s_tile, c0 + c);
          EACH(m, M, { acc[m] = _mm512_fmadd_ps(part[c][m], s, acc[m]); });
        });
      });
    }
    EACH(m, M, { put(a.y + (token + m) * a.y_stride + row - a.y_row, acc[m], a.row_end - row, a.round_bf16); });
  }
}

// ---- many tokens

constexpr int kPanelTiles = 4;    // 512 k by 16 rows of pairs: 16 KB
constexpr int kTokensPass = 192;  // whose sums take 12 KB

struct alignas(64) Scratch {
  std::uint32_t panel[kPanelTiles * kTileK / 2 * kTileRows];
  float scale[kPanelTiles * 4 * kTileRows];
  float sums[kTokensPass * kTileRows];
};

template <class Code>
INLINE void decode(const std::uint8_t* tile, float s_tile, std::uint32_t* panel, float* scale) {
  const Code code;
  for (int j = 0; j < Code::lines; ++j)
    EACH(c, 4, {
      const __m512i v = line(tile + (4 * j + c) * 64);
      EACH(p, Code::pairs, { _mm512_store_si512(panel + (c * kPairs + j * Code::pairs + p) * kTileRows, code.template pair<p>(v)); });
    });
  EACH(c, 4, { _mm512_store_ps(scale + c * kTileRows, Code::scale(tile, s_tile, c)); });
}

template <class Code, class X>
void run_many(const TilesArgs& a) {
  Scratch s;  // 29 KB of stack
  const std::int64_t along = tiles_along(a.w->n_in), width = packed_width(a.w->n_in), size = tile_bytes(Code::format);
  for (int row = a.row_begin; row < a.row_end; row += kTileRows) {
    const std::uint8_t* block = a.w->data + row / kTileRows * along * size;
    const float* scale = a.w->scale ? a.w->scale + row / 128 * along : nullptr;
    for (int t0 = 0; t0 < a.n_tokens; t0 += kTokensPass) {
      const int n = least(kTokensPass, a.n_tokens - t0);
      std::memset(s.sums, 0, sizeof(float) * kTileRows * static_cast<std::size_t>(n));
      for (std::int64_t k = 0; k < along; k += kPanelTiles) {
        const int tiles = least(kPanelTiles, static_cast<int>(along - k));
        for (int u = 0; u < tiles; ++u)
          decode<Code>(block + (k + u) * size, scale ? scale[k + u] : 1.0f, s.panel + u * kTileK / 2 * kTileRows, s.scale + u * 4 * kTileRows);
        run_panels<X>(s.panel, s.scale, words<X>(a, t0) + k * kTileK / 2 * X::words, width, s.sums, 4 * tiles, n);
      }
      for (int m = 0; m < n; ++m)
        put(a.y + (t0 + m) * a.y_stride + row - a.y_row, _mm512_load_ps(s.sums + m * kTileRows), a.row_end - row, a.round_bf16);
    }
  }
}

constexpr int kFewMax = 16;  // tokens up to which decoding in registers beats a panel

template <class Code, class X>
void run(const TilesArgs& a) {
  if (a.n_tokens > kFewMax) return run_many<Code, X>(a);
  // Block by block, so that what does not fit the registers at once finds its weights in the cache. For eight tokens the lines of
  // a tile are not read in order, which costs bf16, with the most of them, more than a second pass.
  TilesArgs block = a;
  for (int row = a.row_begin; row < a.row_end; row += kTileRows) {
    block.row_begin = row;
    block.row_end = least(row + kTileRows, a.row_end);
    int t = 0;
    if (Code::format != Format::bf16)
      for (; a.n_tokens - t >= 8; t += 8) run_few<Code, X, 8, 1>(block, t);
    for (; a.n_tokens - t >= 4; t += 4) run_few<Code, X, 4, 4>(block, t);
    if (a.n_tokens - t >= 2) run_few<Code, X, 2, 4>(block, t), t += 2;
    if (a.n_tokens - t >= 1) run_few<Code, X, 1, 4>(block, t);
  }
}

template <class X>
void run_format(const TilesArgs& a) {
  switch (a.w->format) {
    case Format::bf16: return run<Bf16, X>(a);
    case Format::fp8: return run<Fp8, X>(a);
    case Format::fp4: return run<Fp4, X>(a);
    case Format::f32: return;  // tileable() said no
  }
}

// ---- packed activations: pairs, which take half of a token's room, or floats; the line behind says which

constexpr std::uint32_t kArePairs = 1;

bool are_pairs(const float* x, std::int64_t width) { return std::bit_cast<std::uint32_t>(x[width - 1]) == kArePairs; }

void pack_floats(const float* x, int n_in, Format format, float* to) {
  alignas(64) std::int32_t at[16];
  for (int i = 0; i < 16; ++i) at[i] = ordered(format, i);
  const __m512i order = line(at);
  for (int k = 0; k < n_in; k += 16) _mm512_storeu_ps(to + k, _mm512_permutexvar_ps(order, _mm512_loadu_ps(x + k)));
}

}  // namespace

void pack_avx512(const PackArgs& a) {
  const std::int64_t width = packed_width(a.n_in);
  for (int t = 0; t < a.n_tokens; ++t) {
    const float* x = a.x + t * a.x_stride;
    float* to = a.to + t * width;
    const bool pairs = as_pairs(x, a.n_in, a.format, reinterpret_cast<Pairs::Word*>(to));
    if (!pairs) pack_floats(x, a.n_in, a.format, to);
    for (std::int64_t k = pairs ? a.n_in / 2 : a.n_in; k < width; ++k) to[k] = 0.0f;
    to[width - 1] = std::bit_cast<float>(pairs ? kArePairs : 0u);
  }
}

void linear_tiles_avx512(const TilesArgs& a) {
  const std::int64_t width = packed_width(a.w->n_in);
  int n_pairs = 0;
  for (int t = 0; t < a.n_tokens; ++t) n_pairs += are_pairs(a.x + t * width, width);
  if (n_pairs == a.n_tokens) return run_format<Pairs>(a);
  if (n_pairs == 0) return run_format<Floats>(a);
  // Some of each: all as floats.
  const std::int64_t pairs = tiles_along(a.w->n_in) * kTileK / 2;
  auto* const all = reinterpret_cast<float*>(scratch_words(static_cast<std::size_t>(a.n_tokens * width)));
  for (int t = 0; t < a.n_tokens; ++t) {
    const float* from = a.x + t * width;
    float* to = all + t * width;
    if (!are_pairs(from, width)) {
      std::memcpy(to, from, sizeof(float) * static_cast<std::size_t>(width));
      continue;
    }
    for (std::int64_t q = 0; q < pairs; ++q) {
      const auto pair = std::bit_cast<std::uint32_t>(from[q]);
      to[2 * q] = std::bit_cast<float>(pair & 0xFFFF0000u);
      to[2 * q + 1] = std::bit_cast<float>(pair << 16);
    }
  }
  TilesArgs floats = a;
  floats.x = all;
  run_format<Floats>(floats);
}

}  // namespace lares::kernels

#endif
