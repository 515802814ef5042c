// The indexer: a score for every compressed entry, and the best of them.
//   I[j] = sum_h B(B(relu(B<q_h, key_j>)) * w_h), then B; B rounds to bf16 in released numerics; heads in ascending order
// The k best under (score descending, index ascending), handed on in ascending order.
// Source: DeepSeek-V4 inference/model.py, Indexer. Floor: the keys once; 2 n_heads dim flops a key.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear.h"

namespace lares::kernels {

inline constexpr int kIndexBlock = 256;  // keys whose dot products are held at a time

struct IndexArgs {
  const float* q;      // [n_heads, dim]
  const float* w;      // [n_heads]
  const void* keys;    // [n_keys, dim] of `cell`
  Format cell;         // f32 or bf16
  float* score;        // [n_keys] out
  float* scratch;      // index_scratch() floats
  int n_keys, n_heads, dim;  // dim a multiple of 32
  bool released;
};

inline std::size_t index_scratch(int n_heads) { return static_cast<std::size_t>(n_heads) * kIndexBlock; }

// Writes min(k, n) indices to `chosen`, ascending; `scratch` holds n words. Returns how many.
int top_k(const float* score, int n, int k, std::uint32_t* scratch, std::int32_t* chosen);

}  // namespace lares::kernels
