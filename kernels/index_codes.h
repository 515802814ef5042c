// The integers behind values on the grid of Q4_32: twice an e2m1 value, -12..12, and a power of two
// for each 32 of them. Compiled once an instruction set: see lanes.h.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/indexer.h"
#include "kernels/cpu/lanes.h"

namespace lares::kernels {
namespace {

inline constexpr int kGroupsMax = kIndexDimMax / kGroup;
inline constexpr int kNotANumber = 255;

// 2^(e - 127), a denormal for 0; infinite for 255.
inline float exponent_value(int e) {
  return std::bit_cast<float>(e == 0 ? 0x00400000u : static_cast<std::uint32_t>(e) << 23);
}

// The exponent with which 32 values on the grid are e2m1's; 0 when they are all next to nothing.
// The largest is 4 or 6 then.
inline int group_exponent(const float* x) {
  std::uint32_t most = 0;
  for (int i = 0; i < kGroup; ++i) {
    const std::uint32_t m = std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFu;
    most = m > most ? m : most;
  }
  const int e = static_cast<int>(most >> 23);
  return e == 255 ? kNotANumber : e < 27 ? 0 : e - 2;
}

struct Exponents {
  int of[kGroupsMax];
  std::uint32_t holding = 0;  // bit g: group g has values
};

// Of every group. Those without values take the least exponent of the others, so that they stand in
// nobody's way.
inline Exponents group_exponents(const float* x, int groups) {
  Exponents e;
  int least = kNotANumber;
  for (int g = 0; g < groups; ++g) {
    e.of[g] = group_exponent(x + g * kGroup);
    if (e.of[g] == 0) continue;
    if (e.of[g] != kNotANumber) e.holding |= 1u << g;
    least = e.of[g] < least ? e.of[g] : least;
  }
  for (int g = 0; g < groups; ++g)
    if (e.of[g] == 0) e.of[g] = least == kNotANumber ? 127 : least;
  return e;
}

// Twice the e2m1 values of group g.
inline void group_codes(const float* x, const Exponents& e, int g, std::int8_t* code) {
  if (!(e.holding >> g & 1)) {
    std::memset(code, 0, kGroup);
    return;
  }
  const float scale = exponent_value(255 - e.of[g]);  // 2^(1 - (e - 127))
  for (int i = 0; i < kGroup; ++i)
    code[i] = static_cast<std::int8_t>(static_cast<int>(x[g * kGroup + i] * scale));
}

// Key `first` + j.
inline const std::uint8_t* index_key(const IndexArgs& a, int j) {
  const int at = a.first + j;
  return a.keys[at / a.run] + a.offset +
         static_cast<std::size_t>(at % a.run) * index_key_bytes(a.dim);
}
// Keys [j, j + n) of the call, the last of all again where there is none.
template <int n>
inline void index_keys(const IndexArgs& a, int j, const std::uint8_t** key) {
  if (const int within = (a.first + j) % a.run; j + n <= a.n_keys && within + n <= a.run) {
    key[0] = index_key(a, j);
    for (int i = 1; i < n; ++i) key[i] = key[i - 1] + index_key_bytes(a.dim);
  } else {
    for (int i = 0; i < n; ++i) key[i] = index_key(a, j + i < a.n_keys ? j + i : a.n_keys - 1);
  }
}

// The queries of one call. Eight codes are ordered 0 2 4 6 1 3 5 7: the low nibbles of a key's four
// bytes, then the high ones.
struct IndexQueries {
  std::int8_t* code;       // [n_heads, dim]
  float* scale;            // [n_heads, groups]: both factors 2 of the codes are taken out here
  std::int32_t* exponent;  // [n_heads, groups]
};

inline IndexQueries index_queries(const IndexArgs& a) {
  const int groups = a.dim / kGroup;
  IndexQueries q;
  q.scale = a.scratch;
  q.exponent = reinterpret_cast<std::int32_t*>(a.scratch + a.n_heads * groups);
  q.code = reinterpret_cast<std::int8_t*>(a.scratch + 2 * a.n_heads * groups);
  for (int h = 0; h < a.n_heads; ++h) {
    const float* x = a.q + static_cast<std::int64_t>(h) * a.dim;
    const Exponents e = group_exponents(x, groups);
    for (int g = 0; g < groups; ++g) {
      std::int8_t code[kGroup];
      group_codes(x, e, g, code);
      std::int8_t* to = q.code + static_cast<std::int64_t>(h) * a.dim + g * kGroup;
      for (int b = 0; b < kGroup; b += 8)
        for (int i = 0; i < 4; ++i) {
          to[b + i] = code[b + 2 * i];
          to[b + 4 + i] = code[b + 2 * i + 1];
        }
      q.exponent[h * groups + g] = e.of[g];
      q.scale[h * groups + g] = exponent_value(e.of[g]) * 0.25f;
    }
  }
  return q;
}

}  // namespace
}  // namespace lares::kernels
