// The body of attention_inputs().
#pragma once

#include "kernels/cuda/attention/attention_inputs.h"
#include "kernels/cuda/attention/attention_rows.h"
#include "kernels/cuda/attention/compress_rows.h"
#include "kernels/cuda/indexer/indexer_rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// Blocks, in this order: of four query heads, of four index query heads, a token's window row each,
// a compressor each.
struct InputBlocks {
  int queries, index_queries, window, compress;
  constexpr int all() const { return queries + index_queries + window + compress; }
};
inline constexpr int kInputWarps = kRowThreads / 32;
static_assert(kRowThreads == kCompressThreads);
LARES_BOTH constexpr InputBlocks input_blocks(const AttentionInputsArgs& a) {
  return {(a.queries.n_tokens * a.queries.n_heads + kInputWarps - 1) / kInputWarps,
          (a.index_queries.n_tokens * a.index_queries.n_heads + kInputWarps - 1) / kInputWarps,
          a.window.places.n_tokens, a.n_compress};
}
constexpr int inputs_shared(const AttentionInputsArgs& a) {
  int bytes = kInputWarps * (a.queries.head_dim + kHeadPad) * 4;
  if (a.window.head_dim * 4 > bytes) bytes = a.window.head_dim * 4;
  for (int i = 0; i < a.n_compress; ++i)
    if (compress_shared(a.compress[i].dim) > bytes) bytes = compress_shared(a.compress[i].dim);
  return bytes;
}

LARES_KERNEL(kRowThreads, 4) attention_inputs_kernel(const AttentionInputsArgs a) {
  const InputBlocks blocks = input_blocks(a);
  const int warp = thread() / 32;
  int i = block_x();
  if (i < blocks.queries) {
    const int head = i * kInputWarps + warp;
    const bool works = head < a.queries.n_tokens * a.queries.n_heads;
    const Angle angle = works ? query_angle(a.queries, head, thread() % 32) : Angle{};
    wait_for_inputs();
    if (works)
      turn_query(a.queries, head, angle, shared<float>() + warp * (a.queries.head_dim + kHeadPad));
    return;
  }
  if ((i -= blocks.queries) < blocks.index_queries) {
    wait_for_inputs();
    const int head = i * kInputWarps + warp;
    if (head < a.index_queries.n_tokens * a.index_queries.n_heads)
      index_query<32>(a.index_queries, head);
    return;
  }
  if ((i -= blocks.index_queries) < blocks.window) {
    const TokenPlace place = token_place(a.window.places, i);
    wait_for_inputs();
    put_window_row(a.window, i, place, shared<float>());
    return;
  }
  i -= blocks.window;
  // Groups are completed by rows of earlier steps, which the ring may lose to this step's: those
  // come after.
  const CompressArgs& c = a.compress[i];
  const TokenPlace first = token_place(c.places, 0);
  const CompletedGroup first_group = completed_group(c, first);
  wait_for_inputs();
  for (int t = 0; t < c.places.n_tokens; ++t) {
    const TokenPlace place = t == 0 ? first : token_place(c.places, t);
    compress_token(c, place, t == 0 ? first_group : completed_group(c, place), shared<float>());
    sync_block();
  }
  for (int t = 0; t < c.places.n_tokens; ++t)
    put_raw_token(c, t, t == 0 ? first : token_place(c.places, t));
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
