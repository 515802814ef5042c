// Tokens in, the likeliest one out.
#pragma once

#include "kernels/cuda/device.h"

namespace lares::kernels::cuda {

// x[t, s, :] = row tokens[t] of the table.
struct EmbedArgs {
  const bf16* table;             // [vocabulary, dim]
  const std::int32_t* tokens;    // [n_tokens]
  bf16* x;                       // [n_tokens, n_streams, dim]
  int n_tokens, n_streams, dim;  // dim a multiple of 8
};
Status embed(const EmbedArgs& a, Stream stream);

// The largest logit, ties to the lowest token, among those that `allowed` has a bit for. A NaN is
// never the largest. -1 where nothing is allowed.
struct ArgmaxArgs {
  const float* logits;           // [n_rows, n]
  const std::uint32_t* allowed;  // [n_rows, ceil(n / 32)], bit i of word i / 32; or null
  std::int32_t* token;           // [n_rows] out
  float* value;                  // [n_rows] out, or null
  std::uint64_t* scratch;        // [n_rows, kArgmaxParts]
  int n_rows, n;
};
inline constexpr int kArgmaxParts = 64;
Status argmax(const ArgmaxArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
