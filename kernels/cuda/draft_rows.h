// What draft blocks read of the main model: tokens' streams, or their means, in rows that outlive
// the step. Where a token's row is the launch reads from memory, so that a recorded graph serves
// for the next token once the addresses have changed. Source: DeepSeek-V4 inference/model.py,
// MTPBlock, and tests/reference/v4_reference.py. Floor: the streams once in, the rows once out.
#pragma once

#include "kernels/cuda/device.h"

namespace lares::kernels::cuda {

enum class DraftRows {
  keep,        // row[t][s, d] = x[t, s, d]
  keep_means,  // row[t][offset + d] = bf16((x[t, 0, d] + x[t, 1, d] + ...) / n_streams)
  recall,      // x[t, s, d] = row[t][s, d]
};
struct DraftRowsArgs {
  DraftRows what;
  bf16* x;           // [n_tokens, n_streams, dim]
  bf16* const* row;  // [n_tokens], device memory, 16-byte aligned; null: nothing of that token
  int n_tokens, n_streams, dim;  // dim a multiple of 8
  std::int64_t offset = 0;       // a multiple of 8
};
Status draft_rows(const DraftRowsArgs& a, Stream stream);

// x[t, s, :] = bf16(y[t, :] + x[t, s, :]).
struct AddToStreamsArgs {
  bf16* x;                       // [n_tokens, n_streams, dim]
  const bf16* y;                 // [n_tokens, dim]
  int n_tokens, n_streams, dim;  // dim a multiple of 8
};
Status add_to_streams(const AddToStreamsArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
