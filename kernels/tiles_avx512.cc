// As tiles_avx2.cc, over bf16 pairs: a line of weights is decoded into registers and meets eight tokens there; of many tokens all pass
// over a few tiles before the next ones are read.
#include "kernels/tiles.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)

#include <bit>
#include <type_traits>

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

// From the tile that is read to the one that is asked for, at least: measured, one or two tokens of the larger formats gain by more.
constexpr int ahead_bytes(Format format, int tokens) { return tokens <= 2 && format != Format::fp4 ? 8192 : 4096; }
constexpr int kTokensPass = 192; // whose sums take 24 KB
constexpr int kSlabBytes = 8704; // of each of two blocks: they stay in L1 while all tokens pass over them

// The tiles of `blocks` blocks of 16 rows that lie `apart` bytes from each other.
struct Slab {
  const std::uint8_t* tile;
  const float* scale;  // of the 128 rows all blocks lie in; or null
  std::int64_t apart;
  int tiles, left;  // left: to the end of the rows, this slab's included
};

// M tokens over a slab, `chains` 32-groups at a time: M * blocks * chains independent sums hide the latency of a dot product, and
// blocks share what is broadcast. A line is decoded into registers each time, between the dot products, which costs less than a
// decoded copy would. sums [M][blocks][16 rows] in and out.
template <class Code, class X, int M, int blocks, int chains>
[[gnu::noinline]] void run_slab(const Slab& slab, const typename X::Word* x, std::int64_t width, float* sums) {
  const Code code;
  constexpr int group = kPairs * X::words;
  const std::uint8_t* tile = slab.tile;
  const std::int64_t apart = slab.apart;
  Walk<X, M> walk(x, width);
  constexpr int size = static_cast<int>(tile_bytes(Code::format)), ahead = (ahead_bytes(Code::format, M) + size - 1) / size;
  for (int t = 0; t < slab.tiles; ++t, tile += size) {
    // Behind the end of a row of tiles lies another block's; this one's next is as many blocks further as there are together.
    const std::int64_t soon = ahead * size + (t + ahead < slab.left ? 0 : (blocks - 1) * apart);
    const float s_tile = slab.scale ? slab.scale[t] : 1.0f;
    EACH(part_of, 4 / chains, {
      constexpr int c0 = part_of * chains;
      __m512 part[chains][M][blocks];
      EACH(c, chains, { EACH(m, M, { EACH(b, blocks, { part[c][m][b] = _mm512_setzero_ps(); }); }); });
      const std::uint8_t* from = tile + c0 * 64;
      for (int j = 0; j < Code::lines; ++j, from += 256) {
        EACH(c, chains, {
          __m512i v[blocks];
          EACH(b, blocks, {
            v[b] = line(from + b * apart + c * 64);
            _mm_prefetch(from + b * apart + c * 64 + soon, _MM_HINT_T0);
          });
          EACH(p, Code::pairs, {
            typename X::Weight w[blocks];
            EACH(b, blocks, { w[b] = X::weight(code.template pair<p>(v[b])); });
            EACH(m, M, {
              const auto value = X::value(walk.template row<m>() + c * group + p * X::words);
              EACH(b, blocks, { part[c][m][b] = X::add(part[c][m][b], w[b], value); });
            });
          });
        });
        walk.step(Code::pairs * X::words);
      }
      walk.step((chains - 1) * group);
      EACH(c, chains, {
        EACH(b, blocks, {
          const __m512 s = Code::scale(tile + b * apart, s_tile, c0 + c);
          EACH(m, M, { add_to(sums + (m * blocks + b) * kRows, part[c][m][b], s); });
        });
      });
      asm("" : : : "memory");  // or the compiler would give the sums registers after all
    });
  }
}

// n tokens over it: eight at a time, then what is left, in one pass where that is the usual case.
template <class Code, class X, int blocks>
void run_tokens(const Slab& slab, const typename X::Word* x, std::int64_t width, float* sums, int n) {
  constexpr bool usual = std::is_same_v<X, Pairs> && blocks == 2;
  const auto pass = [&]<int M>(std::integral_constant<int, M>) {
    constexpr int chains = M <= 2 ? 4 : M <= 4 ? 4 / blocks : 2 / blocks;
    run_slab<Code, X, M, blocks, chains>(slab, x, width, sums);
    n -= M;
    x += M * width;
    sums += M * blocks * kRows;
  };
  while (n >= 8) pass(std::integral_constant<int, 8>{});
  if constexpr (usual) switch (n) {
      case 7: return pass(std::integral_constant<int, 7>{});
      case 6: return pass(std::integral_constant<int, 6>{});
      case 5: return pass(std::integral_constant<int, 5>{});
      case 3: return pass(std::integral_constant<int, 3>{});
      default: break;
    }
  if (n >= 4) pass(std::integral_constant<int, 4>{});
  if (n >= 2) pass(std::integral_constant<int, 2>{});
  if (n >= 1) pass(std::integral_constant<int, 1>{});
}

// Rows row.. of `blocks` blocks.
template <class Code, class X, int blocks>
void run_blocks(const TilesArgs& a, int row) {
  const std::int64_t along = tiles_along(a.w->n_in), width = packed_width(a.w->n_in), size = tile_bytes(Code::format);
  const std::uint8_t* tile = a.w->data + row / kTileRows * along * size;
  const float* scale = a.w->scale ? a.w->scale + row / 128 * along : nullptr;
  alignas(64) float sums[kTokensPass * blocks * kRows];
  for (int t0 = 0; t0 < a.n_tokens; t0 += kTokensPass) {
    const int n = least(kTokensPass, a.n_tokens - t0);
    const std::int64_t at_once = n <= 8 ? along : kSlabBytes / size;
    std::memset(sums, 0, sizeof(float) * blocks * kRows * static_cast<std::size_t>(n));
    for (std::int64_t k = 0; k < along; k += at_once) {
      const Slab slab{tile + k * size, scale ? scale + k : nullptr, along * size, least(static_cast<int>(at_once), static_cast<int>(along - k)), static_cast<int>(along - k)};
      run_tokens<Code, X, blocks>(slab, words<X>(a, t0) + k * kTileK / 2 * X::words, width, sums, n);
    }
    for (int m = 0; m < n; ++m)
      EACH(b, blocks, {
        const int first = row + b * kTileRows;
        put(a.y + (t0 + m) * a.y_stride + first - a.y_row, _mm512_load_ps(sums + (m * blocks + b) * kRows), a.row_end - first, a.round_bf16);
      });
  }
}

template <class Code, class X>
void run(const TilesArgs& a) {
  for (int row = a.row_begin; row < a.row_end;) {
    const bool two = row + kTileRows < a.row_end && row / 128 == (row + kTileRows) / 128;
    if (two) run_blocks<Code, X, 2>(a, row);
    else run_blocks<Code, X, 1>(a, row);
    row += two ? 2 * kTileRows : kTileRows;
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
