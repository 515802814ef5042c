// As tiles_avx2.cc, over bf16 pairs: a line of weights is decoded into registers and meets up to
// eight tokens there; many tokens all pass over a few tiles, decoded once, before the next ones are
// read.
#include "kernels/tiles.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)

#include <bit>
#include <type_traits>

#include "kernels/cpu/panel_avx512.h"
#include "kernels/scratch.h"

namespace lares::kernels {
namespace {

// What a line of each format holds: `pairs` pairs of each row, `lines` lines a 32-group. A scale
// 2^e with e in [scale_least, kScaleMost] may be given to the weights instead of their products: no
// rounding changes (panel_avx512.h).
struct Fp4 {
  static constexpr Format format = Format::fp4;
  static constexpr int lines = 4, pairs = 4;
  static constexpr int scale_least = kLeastExponent + 1;  // of 2^-1
  static constexpr int many = 64;  // tokens, from which on decoding once pays
  __m512i table = line(kE2m1.bf16);
  template <int p>
  INLINE __m512i pair(__m512i v) const {
    return _mm512_permutexvar_epi16(p == 0 ? v : _mm512_srli_epi16(v, 4 * p), table);
  }
  INLINE static __m512 scale(const std::uint8_t* tile, float, int c) {
    const __m512i e = _mm512_cvtepu8_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(tile + 1024 + 16 * c)));
    // 2^-127, code 0, is a denormal: its bit pattern is not an exponent's.
    return _mm512_castsi512_ps(
        _mm512_max_epu32(_mm512_slli_epi32(e, 23), _mm512_set1_epi32(0x00400000)));
  }
};
struct Fp8 {
  static constexpr Format format = Format::fp8;
  static constexpr int lines = 8, pairs = 2;
  static constexpr int scale_least = kLeastExponent + 9;  // of 2^-9
  static constexpr int many = 40;
  __m512i low0 = line(kE4m3.low), low1 = line(kE4m3.low + 64), high0 = line(kE4m3.high),
          high1 = line(kE4m3.high + 64);
  template <int p>
  INLINE __m512i pair(__m512i v) const {
    const __m512i low = _mm512_permutex2var_epi8(low0, v, low1),
                  magnitude = _mm512_permutex2var_epi8(high0, v, high1);
    const __m512i high = _mm512_ternarylogic_epi32(
        magnitude, v, _mm512_set1_epi8(static_cast<char>(0x80)), 0xF8);  // magnitude | (v & 0x80)
    return p == 0 ? _mm512_unpacklo_epi8(low, high) : _mm512_unpackhi_epi8(low, high);
  }
  INLINE static __m512 scale(const std::uint8_t*, float s, int) { return _mm512_set1_ps(s); }
};
struct Bf16 {
  static constexpr Format format = Format::bf16;
  static constexpr int lines = 16, pairs = 1;
  static constexpr int many = 16;  // nothing to decode, but four blocks share each broadcast
  template <int>
  INLINE __m512i pair(__m512i v) const {
    return v;
  }
  INLINE static __m512 scale(const std::uint8_t*, float, int) { return _mm512_set1_ps(1.0f); }
};

template <class X>
const typename X::Word* words(const TilesArgs& a, int token) {
  return reinterpret_cast<const typename X::Word*>(a.x + token * packed_width(a.w->n_in));
}

// ---- tiles of fp4 or fp8, decoded and scaled once for many tokens: tiles of bf16

// Whether the scales of this tile may be given to its weights.
bool scales_fit(Fp8, const std::uint8_t*, const float* scale) {
  const auto bits = std::bit_cast<std::uint32_t>(*scale);
  const int e = static_cast<int>(bits >> 23) - 127;
  return (bits & 0x807FFFFFu) == 0 && e >= Fp8::scale_least && e <= kScaleMost;
}
bool scales_fit(Fp4, const std::uint8_t* tile, const float*) {
  const __m512i above = _mm512_sub_epi8(
      line(tile + 1024), _mm512_set1_epi8(static_cast<char>(127 + Fp4::scale_least)));
  return _mm512_cmpgt_epu8_mask(
             above, _mm512_set1_epi8(static_cast<char>(kScaleMost - Fp4::scale_least))) == 0;
}

// kE4m3 times 2^e.
Fp8 scaled_code(Fp8 code, int e) {
  static constexpr struct alignas(64) Interleave {
    std::uint8_t low[64], high[64];
    constexpr Interleave() : low(), high() {
      for (int i = 0; i < 64; ++i)
        low[i] = static_cast<std::uint8_t>(2 * i), high[i] = static_cast<std::uint8_t>(2 * i + 1);
    }
  } kBytes{};
  const __m512i more = _mm512_set1_epi16(static_cast<short>(e << 7)), low = line(kBytes.low),
                high = line(kBytes.high);
  const auto half = [&](__m512i& lows, __m512i& highs, bool first) {
    // unpack works on lanes of 16 bytes, so codes come in another order, and go back the same way.
    __m512i a = _mm512_unpacklo_epi8(lows, highs), b = _mm512_unpackhi_epi8(lows, highs);
    a = _mm512_mask_add_epi16(a, first ? 0xFFFFFFFEu : 0xFFFFFFFFu, a, more);  // code 0 stays zero
    b = _mm512_add_epi16(b, more);
    const __m512i even = _mm512_permutex2var_epi8(a, low, b),
                  odd = _mm512_permutex2var_epi8(a, high, b);
    static constexpr struct alignas(64) Order {
      std::uint64_t at[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    } kOrder{};
    lows = _mm512_permutexvar_epi64(line(kOrder.at), even);
    highs = _mm512_permutexvar_epi64(line(kOrder.at), odd);
  };
  half(code.low0, code.high0, true);
  half(code.low1, code.high1, false);
  return code;
}

// Tile -> the same in bf16, scaled.
void decode(Fp8 code, const std::uint8_t* tile, const float* scale, std::uint8_t* to) {
  code = scaled_code(code, static_cast<int>(std::bit_cast<std::uint32_t>(*scale) >> 23) - 127);
  for (int j = 0; j < Fp8::lines; ++j, tile += 256, to += 512)
    EACH(c, 4, {
      const __m512i v = line(tile + c * 64);
      EACH(p, 2, { _mm512_store_si512(to + p * 256 + c * 64, code.pair<p>(v)); });
    });
}
void decode(Fp4 code, const std::uint8_t* tile, const float*, std::uint8_t* to) {
  EACH(c, 4, {
    const __m512i e = _mm512_cvtepu8_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(tile + 1024 + 16 * c)));
    const __m512i shifted = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(127)), 23);
    // In both halves
    const __m512i more = _mm512_or_si512(shifted, _mm512_srli_epi32(shifted, 16));
    for (int j = 0; j < Fp4::lines; ++j) {
      const __m512i v = line(tile + j * 256 + c * 64);
      EACH(p, 4, {
        const __m512i w = code.pair<p>(v);
        const __mmask32 some = _mm512_test_epi16_mask(w, _mm512_set1_epi16(0x7FFF));
        _mm512_store_si512(to + (4 * j + p) * 256 + c * 64,
                           _mm512_mask_add_epi16(w, some, w, more));
      });
    }
  });
}

// ---- one slab: a few tiles of one, two or four blocks of 16 rows

// Up to so many tokens meet one block of rows at a time, in four chains each: one ascending stream,
// as the processor's own prefetcher likes it. Two blocks, which share what is broadcast, are two
// streams.
constexpr int few_tokens(Format format) { return format == Format::fp8 ? 2 : 4; }
// Whether lines are asked for. Not where one stream needs little work a line: the prefetcher alone
// keeps up with a plain read then, and whatever is asked for besides holds one of the few buffers
// of L1's misses as long as memory takes.
constexpr bool asks(Format format, int tokens, int blocks) {
  return blocks > 1 || (format == Format::fp4 && tokens > 1);
}
// Into which cache: those buffers are too few for the formats with more bytes, so theirs come to
// L2. fp4 has time for L1.
constexpr _mm_hint into(Format format) { return format == Format::fp4 ? _MM_HINT_T0 : _MM_HINT_T1; }
// From the tile that is read to the one that is asked for, at least. All of this is measured, not
// derived.
constexpr int ahead_bytes(Format format, int blocks) {
  return format != Format::fp4 ? 8192 : blocks == 1 ? 2048 : 4096;
}
// Of each of two blocks: they stay in L1 while all tokens pass over them
constexpr int kSlabBytes = 8704;

// Many tokens pass over four blocks of bf16, for which fp4 and fp8 are decoded a tile at a time.
// Six tokens and four blocks have the fewest loads a dot product that registers allow.
constexpr int kWide = 4, kWideTokens = 6;
constexpr int tokens_a_step(int blocks) { return blocks == kWide ? kWideTokens : 8; }

// The tiles of `blocks` blocks of 16 rows that lie `apart` bytes from each other.
struct Slab {
  const std::uint8_t* tile;
  const float* scale;  // of the 128 rows all blocks lie in; or null
  std::int64_t apart;
  int tiles, left;  // left: to the end of the rows, this slab's included
};

// What is asked for while many tokens pass over a slab: lines of the next one's blocks, as they are
// stored.
struct Soon {
  const std::uint8_t* line;
  std::int64_t apart;
  int lines, lines_a_group;  // of each block: those left, those a 32-group asks for
};

// M tokens over a slab, `chains` 32-groups at a time: M * blocks * chains independent sums hide the
// latency of a dot product, and blocks share what is broadcast. A line is decoded into registers
// each time, between the dot products, which costs less than a decoded copy would, while tokens are
// few. sums [M][blocks][16 rows] in and out. Where tokens are many, `soon` is asked for instead of
// what lies ahead, and so are the next tokens' activations, at `next`.
template <class Code, class X, int M, int blocks, int chains>
[[gnu::noinline]] void run_slab(const Slab& slab, const typename X::Word* x, std::int64_t width,
                                float* sums, const typename X::Word* next, Soon* soon) {
  const Code code;
  constexpr int group = kPairs * X::words;
  constexpr bool many = blocks == kWide && M == kWideTokens;
  const std::uint8_t* tile = slab.tile;
  const std::int64_t apart = slab.apart;
  Walk<X, M> walk(x, width);
  constexpr int size = static_cast<int>(tile_bytes(Code::format)),
                ahead = (ahead_bytes(Code::format, blocks) + size - 1) / size;
  constexpr int together = many ? 2 : 1;  // lines
  for (int t = 0; t < slab.tiles; ++t, tile += size) {
    // Behind the end of a row of tiles lies another block's; this one's next is as many blocks
    // further as there are together.
    const std::int64_t later = ahead * size + (t + ahead < slab.left ? 0 : (blocks - 1) * apart);
    const float s_tile = slab.scale ? slab.scale[t] : 1.0f;
    EACH(part_of, 4 / chains, {
      constexpr int c0 = part_of * chains;
      __m512 part[chains][M][blocks];
      EACH(c, chains,
           { EACH(m, M, { EACH(b, blocks, { part[c][m][b] = _mm512_setzero_ps(); }); }); });
      if constexpr (many)
        for (int i = least(soon->lines_a_group, soon->lines); i > 0;
             --i, soon->line += 64, --soon->lines)
          EACH(b, blocks, { _mm_prefetch(soon->line + b * soon->apart, _MM_HINT_T0); });
      const std::uint8_t* from = tile + c0 * 64;
      for (int j = 0; j < Code::lines; j += together, from += together * 256) {
        if constexpr (many && Code::format == Format::bf16)
          if (j < together * M) {  // a token has a line of a group
            _mm_prefetch(next, _MM_HINT_T0);
            next += width;
          }
        EACH(u, together, {
          EACH(c, chains, {
            __m512i v[blocks];
            EACH(b, blocks, {
              v[b] = line(from + u * 256 + b * apart + c * 64);
              // In ascending order, also where the tile is passed over several times.
              if constexpr (blocks != kWide && asks(Code::format, M, blocks))
                _mm_prefetch(
                    tile + b * apart + later + ((part_of * Code::lines + j) * chains + c) * 64,
                    into(Code::format));
            });
            EACH(p, Code::pairs, {
              typename X::Weight w[blocks];
              EACH(b, blocks, { w[b] = X::weight(code.template pair<p>(v[b])); });
              EACH(m, M, {
                const auto value =
                    X::value(walk.template row<m>() + c * group + (u * Code::pairs + p) * X::words);
                EACH(b, blocks, { part[c][m][b] = X::add(part[c][m][b], w[b], value); });
              });
            });
          });
        });
        walk.step(together * Code::pairs * X::words);
      }
      walk.step((chains - 1) * group);
      if constexpr (many && Code::format == Format::bf16) next += group - M * width;
      EACH(c, chains, {
        EACH(b, blocks, {
          const __m512 s = Code::scale(tile + b * apart, s_tile, c0 + c);
          EACH(m, M, {
            float* const at = sums + (m * blocks + b) * kRows;
            // Where there is no scale, a plain sum: a seventeenth of the time, on the units of the
            // dot products, saved.
            if constexpr (Code::format == Format::bf16)
              _mm512_store_ps(at, _mm512_add_ps(part[c][m][b], _mm512_load_ps(at)));
            else
              add_to(at, part[c][m][b], s);
          });
        });
      });
      asm("" : : : "memory");  // or the compiler would give the sums registers after all
    });
  }
}

// n tokens over it: so many at a time, then what is left, in one pass where that is the usual case.
template <class Code, class X, int blocks>
void run_tokens(const Slab& slab, const typename X::Word* x, std::int64_t width, float* sums, int n,
                Soon* soon = nullptr) {
  // What the next slab meets first
  const typename X::Word* const after = x + slab.tiles * (kTileK / 2) * X::words;
  constexpr bool usual = std::is_same_v<X, Pairs>;
  constexpr int most = tokens_a_step(blocks);
  const auto pass = [&]<int M>(std::integral_constant<int, M>) {
    constexpr int chains = M <= 2 ? 4 : M <= 4 ? 4 / blocks : 2 / blocks;
    run_slab<Code, X, M, blocks, blocks == kWide ? 1 : chains>(
        slab, x, width, sums, n >= 2 * most ? x + most * width : after, soon);
    n -= M;
    x += M * width;
    sums += M * blocks * kRows;
  };
  while (n >= most) pass(std::integral_constant<int, most>{});
  if constexpr (usual && blocks == 2) switch (n) {
      case 7:
        return pass(std::integral_constant<int, 7>{});
      case 6:
        return pass(std::integral_constant<int, 6>{});
      case 5:
        return pass(std::integral_constant<int, 5>{});
      default:
        break;
    }
  if constexpr (usual && blocks <= 2)
    if (n == 3) return pass(std::integral_constant<int, 3>{});
  if (n >= 4) pass(std::integral_constant<int, 4>{});
  if (n >= 2) pass(std::integral_constant<int, 2>{});
  if (n >= 1) pass(std::integral_constant<int, 1>{});
}

// Rows of `blocks` blocks: their tiles, and what they meet.
struct Rows {
  const std::uint8_t* tile;
  const float* scale;  // of the first tile; or null
  std::int64_t along, width;
};

template <class Code, class X, int blocks>
void run_few(const Rows& r, const typename X::Word* x, float* sums, int n) {
  constexpr std::int64_t size = tile_bytes(Code::format);
  const std::int64_t step = n <= 8 ? r.along : kSlabBytes / size;
  for (std::int64_t k = 0; k < r.along; k += step) {
    const int left = static_cast<int>(r.along - k);
    const Slab slab{r.tile + k * size, r.scale ? r.scale + k : nullptr, r.along * size,
                    least(static_cast<int>(step), left), left};
    run_tokens<Code, X, blocks>(slab, x + k * kTileK / 2 * X::words, r.width, sums, n);
  }
}

// A tile of every block at a time.
template <class Code>
void run_many(const Rows& r, const std::uint32_t* x, float* sums, int n) {
  constexpr std::int64_t size = tile_bytes(Code::format), decoded = tile_bytes(Format::bf16);
  constexpr bool ready = Code::format == Format::bf16;
  [[maybe_unused]] alignas(64) std::uint8_t panel[ready ? 64 : kWide * decoded];
  const std::int64_t apart = r.along * size;
  const int lines = static_cast<int>(size / 64), groups = n < kWideTokens ? 4 : n / kWideTokens * 4;
  const std::uint8_t* tile = r.tile;
  for (std::int64_t k = 0; k < r.along; ++k, tile += size, x += kTileK / 2) {
    const int left = static_cast<int>(r.along - k);
    const float* const scale = r.scale ? r.scale + k : nullptr;
    Soon soon{tile + size + (left > 1 ? 0 : (kWide - 1) * apart), apart, lines,
              (lines + groups - 1) / groups};
    Slab slab{tile, scale, apart, 1, left};
    bool fit = true;
    if constexpr (!ready) {
      for (int b = 0; b < kWide; ++b) fit = fit && scales_fit(Code(), tile + b * apart, scale);
      if (fit) {
        for (int b = 0; b < kWide; ++b)
          decode(Code(), tile + b * apart, scale, panel + b * decoded);
        slab = {panel, nullptr, decoded, 1, 1};
      }
    }
    if (fit)
      run_tokens<Bf16, Pairs, kWide>(slab, x, r.width, sums, n, &soon);
    else
      run_tokens<Code, Pairs, kWide>(slab, x, r.width, sums, n, &soon);
  }
}

// Rows row.. of `blocks` blocks.
template <class Code, class X, int blocks>
void run_blocks(const TilesArgs& a, int row) {
  const std::int64_t along = tiles_along(a.w->n_in);
  const Rows rows{a.w->data + row / kTileRows * along * tile_bytes(Code::format),
                  a.w->scale ? a.w->scale + row / 128 * along : nullptr, along,
                  packed_width(a.w->n_in)};
  alignas(64) float sums[kTokensPass * blocks * kRows];
  const int pass = even_pass(a.n_tokens);
  for (int t0 = 0; t0 < a.n_tokens; t0 += pass) {
    const int n = least(pass, a.n_tokens - t0);
    std::memset(sums, 0, sizeof(float) * blocks * kRows * static_cast<std::size_t>(n));
    if constexpr (blocks == kWide)
      run_many<Code>(rows, words<X>(a, t0), sums, n);
    else
      run_few<Code, X, blocks>(rows, words<X>(a, t0), sums, n);
    for (int m = 0; m < n; ++m)
      EACH(b, blocks, {
        const int first = row + b * kTileRows;
        put(a.y + (t0 + m) * a.y_stride + first - a.y_row,
            _mm512_load_ps(sums + (m * blocks + b) * kRows), a.row_end - first, a.round_bf16);
      });
  }
}

template <class Code, class X>
void run(const TilesArgs& a) {
  for (int row = a.row_begin; row < a.row_end;) {
    // Blocks that have rows to compute, within the 128 rows that share scales.
    const int blocks = (least(a.row_end, row / 128 * 128 + 128) - row + kTileRows - 1) / kTileRows;
    if constexpr (std::is_same_v<X, Pairs>)
      if (blocks >= kWide && a.n_tokens >= Code::many) {
        run_blocks<Code, X, kWide>(a, row);
        row += kWide * kTileRows;
        continue;
      }
    const bool two = blocks >= 2 && a.n_tokens > few_tokens(Code::format);
    if (two)
      run_blocks<Code, X, 2>(a, row);
    else
      run_blocks<Code, X, 1>(a, row);
    row += (two ? 2 : 1) * kTileRows;
  }
}

template <class X>
void run_format(const TilesArgs& a) {
  switch (a.w->format) {
    case Format::bf16:
      return run<Bf16, X>(a);
    case Format::fp8:
      return run<Fp8, X>(a);
    case Format::fp4:
      return run<Fp4, X>(a);
    case Format::f32:
      return;  // tileable() said no
  }
}

// ---- packed activations: pairs, which take half of a token's room, or floats; the room's last
// float says which

constexpr std::uint32_t kArePairs = 1;

bool are_pairs(const float* x, std::int64_t width) {
  return std::bit_cast<std::uint32_t>(x[width - 1]) == kArePairs;
}

void pack_floats(const float* x, int n_in, Format format, float* to) {
  alignas(64) std::int32_t at[16];
  for (int i = 0; i < 16; ++i) at[i] = ordered(format, i);
  const __m512i order = line(at);
  for (int k = 0; k < n_in; k += 16)
    _mm512_storeu_ps(to + k, _mm512_permutexvar_ps(order, _mm512_loadu_ps(x + k)));
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
  auto* const all =
      reinterpret_cast<float*>(scratch_words(static_cast<std::size_t>(a.n_tokens * width)));
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
