#include "engine/bench/fill.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/bench/floors.h"
#include "kernels/cells.h"
#include "kernels/indexer.h"

namespace lares::engine::bench {
namespace {

using kernels::Format;

// splitmix64: every state is good, so chunks may be seeded by their number.
inline std::uint64_t next(std::uint64_t& state) {
  std::uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

constexpr double kFp8Rms = 96, kFp4Rms = 2.9;  // of the codes below

// 2^-n next to 1 / (rms sqrt(n_in)), as the exponent byte that e8m0 and the float formats share.
std::uint32_t exponent(double rms, int n_in) {
  return static_cast<std::uint32_t>(
      127 - std::lround(std::log2(rms * std::sqrt(static_cast<double>(n_in)))));
}

}  // namespace

void fill_codes(Format format, int n_in, std::uint64_t seed, std::uint8_t* to, std::size_t bytes) {
  std::uint64_t keep = ~std::uint64_t{0}, put = 0;
  const std::uint64_t e = exponent(1.5, n_in) & ~1u;  // its lowest bit is random
  switch (format) {
    case Format::fp4:
      break;
    case Format::fp8:  // exponents 8, 10, 12, 14: neither NaN nor denormal, most of the weight near
                       // 448
      keep = 0xB7B7B7B7B7B7B7B7u;
      put = 0x4040404040404040u;
      break;
    case Format::bf16:
      keep = 0x80FF80FF80FF80FFu;
      put = (e << 7) * 0x0001000100010001u;
      break;
    case Format::f32:
      keep = 0x80FFFFFF80FFFFFFu;
      put = (e << 23) * 0x0000000100000001u;
      break;
  }
  for (std::size_t at = 0; at + 8 <= bytes; at += 8) {
    const std::uint64_t v = (next(seed) & keep) | put;
    std::memcpy(to + at, &v, 8);
  }
}

void fill_index_keys(int dim, std::uint64_t seed, std::uint8_t* to, std::size_t bytes) {
  fill_codes(Format::fp4, dim, seed, to, bytes);
  const std::size_t key = kernels::index_key_bytes(dim), codes = static_cast<std::size_t>(dim) / 2;
  for (std::size_t at = 0; at + key <= bytes; at += key)
    for (std::size_t i = codes; i < key; ++i)
      to[at + i] = static_cast<std::uint8_t>(126 + to[at + i] % 2);
}

void fill_cell(int head_dim, int rope_dim, std::uint64_t seed, std::uint8_t* to) {
  const auto n = static_cast<std::size_t>(head_dim - rope_dim),
             rope = kernels::cell_rope_at(head_dim, rope_dim);
  fill_codes(Format::fp8, 1, seed, to, n);
  std::memset(to + n, 0, rope - n);
  std::memset(to + n, static_cast<int>(exponent(kFp8Rms, 1)), n / kernels::kCellBlock);
  fill_codes(Format::bf16, 1, seed + 1, to + rope, kernels::cell_bytes(head_dim, rope_dim) - rope);
}

kernels::Matrix lay_out(Format format, int n_out, int n_in, std::uint8_t* base) {
  kernels::Matrix m;
  m.format = format;
  m.data = base;
  m.n_out = n_out;
  m.n_in = n_in;
  if (format == Format::f32 || format == Format::bf16) return m;
  const auto n = static_cast<std::size_t>(n_out) * static_cast<std::size_t>(n_in);
  const std::size_t codes = format == Format::fp4 ? n / 2 : n;
  m.scale = base + codes;
  std::memset(base + codes,
              static_cast<int>(exponent(format == Format::fp4 ? kFp4Rms : kFp8Rms, n_in)),
              stored_bytes(format, n_out, n_in) - codes);
  return m;
}

std::size_t laid_bytes(Format format, int n_out, int n_in) {
  const auto tiles = static_cast<std::size_t>(kernels::tiles_bytes(format, n_out, n_in));
  if (format != Format::fp8) return tiles;
  return tiles + sizeof(float) * static_cast<std::size_t>(kernels::tiles_scales(n_out, n_in));
}

void fill_tiles(Format format, int n_in, std::uint64_t seed, std::uint8_t* to, std::size_t bytes) {
  fill_codes(format, n_in, seed, to, bytes);
  if (format != Format::fp4) return;
  const auto tile = static_cast<std::size_t>(kernels::tile_bytes(format));
  for (std::size_t at = 0; at + tile <= bytes; at += tile)  // the last line of each is scales
    std::memset(to + at + tile - 64, static_cast<int>(exponent(kFp4Rms, n_in)), 64);
}

kernels::Tiles lay_out_tiles(Format format, int n_out, int n_in, std::uint8_t* base) {
  kernels::Tiles t{.format = format, .data = base, .n_out = n_out, .n_in = n_in};
  if (format != Format::fp8) return t;
  auto* scale = reinterpret_cast<float*>(base + kernels::tiles_bytes(format, n_out, n_in));
  std::fill_n(scale, kernels::tiles_scales(n_out, n_in),
              kernels::e8m0_value(static_cast<std::uint8_t>(exponent(kFp8Rms, n_in))));
  t.scale = scale;
  return t;
}

void fill_activations(std::uint64_t seed, float* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    to[i] = static_cast<float>(static_cast<std::int64_t>(next(seed) & 255) - 127) / 64.0f;
}

}  // namespace lares::engine::bench
