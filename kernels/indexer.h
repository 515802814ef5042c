// The indexer: a score for every compressed entry, and the best of them.
//   I[j] = B(sum_h B(B(relu(B<q_h, key_j>)) * w_h)), heads in ascending order
// B rounds to bf16 in released numerics.
// Exact numerics keep keys as floats, and dot products have linear's order. Released numerics keep
// them on the grid of Q4_32, as codes of 4 bits with an exponent for each 32 of them; there
//   <q, key> = fma over the 32-groups, ascending, of t_g and the product of both groups' scales
// where t_g, a sum of products of small integers, is exact. Where no such product of scales is far
// from the others (all keys of a real model) nothing is ever rounded, and the whole sum may be one
// of integers. The k best under (score descending, index ascending), handed on in ascending order.
// Source: DeepSeek-V4 inference/model.py, Indexer. Floor: the keys once; 2 n_heads dim flops a key.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear.h"

namespace lares::kernels {

inline constexpr int kIndexBlock = 256;  // keys whose dot products are held at a time
inline constexpr int kIndexDimMax = 512;

// A key of released numerics: dim / 2 bytes of e2m1 codes, low nibble first, then dim / 32
// exponents (e8m0).
inline constexpr std::size_t index_key_bytes(int dim) {
  return static_cast<std::size_t>(dim / 2 + dim / kGroup);
}
// x [dim] lies on Q4_32's grid. Groups whose values are all below 2^-100 become zero; one with a
// value that is no number gets 255.
void pack_index_key(const float* x, int dim, std::uint8_t* key);

// Keys lie in runs of `run` rows, of dim floats or of index_key_bytes(dim); key j is row j % run of
// run j / run.
struct IndexArgs {
  const float* q;                   // [n_heads, dim]; with fp4 keys on Q4_32's grid
  const float* w;                   // [n_heads]
  const std::uint8_t* const* keys;  // the runs, each `offset` bytes behind its pointer
  Format cell;                      // f32: exact numerics; fp4: released ones
  float* score;                     // [n_keys] out
  float* scratch;                   // index_scratch() floats
  int n_keys, n_heads, dim;         // dim a multiple of 32, at most kIndexDimMax
  int run;
  int first = 0;  // keys [first, first + n_keys) are meant
  std::size_t offset = 0;
};

inline std::size_t index_scratch(int n_heads, int dim) {
  return static_cast<std::size_t>(n_heads) * static_cast<std::size_t>(kIndexBlock + dim);
}

void index_scores_cpu(const IndexArgs& a);  // fp4 keys
void index_scores_avx2(const IndexArgs& a);
void index_scores_avx512(const IndexArgs& a);  // with VNNI, bf16 and VBMI

// Writes min(k, n) indices to `chosen`, ascending; `scratch` holds n words. Returns how many.
int top_k(const float* score, int n, int k, std::uint32_t* scratch, std::int32_t* chosen);

}  // namespace lares::kernels
