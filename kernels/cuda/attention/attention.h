// Attention of each token over its window's cells and its compressed entries, with a sink
// (kernels/attention.h has the equation), then the rotation back. Cells are read as stored.
//   Scores are sums of the lower half of the dims and of the upper, added.
//   Blocks of 64 rows: window rows by absolute position, a block never crossing a multiple of 64;
//   entries by number, or by rank in the ascending selection. Each block gives (m, l, O) from its
//   own maximum with P rounded to bf16; blocks are folded left to right, window first; the sink
//   comes last, in the denominator only.
// The order depends on the token alone, so decode and prefill agree bit for bit.
// Source: DeepSeek-V4 inference/kernel.py, sparse_attn. Floor: each cell once; 4 n_heads head_dim
// flops a row.
#pragma once

#include "kernels/cuda/places.h"

namespace lares::kernels::cuda {

inline constexpr int kAttentionBlock = 64;  // rows
inline constexpr int kAttentionRopeDim = 64;

struct AttentionArgs {
  const bf16* q;       // [n_tokens, n_heads, head_dim] from queries()
  const float* sink;   // [n_heads]
  const double* rope;  // [n_tokens, rope_dim / 2, 2], for the rotation back
  bf16* out;           // [n_tokens, n_heads, head_dim]
  float* workspace;    // attention_workspace() floats where attention_apart(), else unused
  Places places;
  PageCells entries;
  // [n_tokens, k] of tokens that see more than k entries; null: all attend all they see
  const std::int32_t* chosen;
  int k;
  int ratio;                        // token sees (position + 1) / ratio entries; 0: none
  int n_heads, head_dim, rope_dim;  // head_dim 128, 192 or 512 (the family's), rope_dim 64
  // Positions a token sees at most; of the ring. A place's position may lie behind the token's own:
  // it is how far that sees, and so a DSpark block's tokens all see to its end.
  int window, window_capacity;
  int n_entries_max;  // no token attends more; the launch's size
  float scale;
  bool wgmma = true;  // many tokens with 512 dims, where the device has it (sm_90a): the same bits
                      // as without
  // In place of q, heads as wq_b gives them: what queries() does to them is done on their way, or,
  // without wgmma, before and in place.
  bf16* raw_q = nullptr;
  float query_eps = 0;
};

// Blocks of the window and the entries that a token may have.
constexpr int attention_window_blocks(int window) {
  return (window + kAttentionBlock - 2) / kAttentionBlock + 1;
}
constexpr int attention_blocks(int window, int n_entries_max) {
  return attention_window_blocks(window) + (n_entries_max + kAttentionBlock - 1) / kAttentionBlock;
}
// With few tokens the blocks of rows are shared out; with many there are enough blocks as it is,
// and no workspace is needed.
inline constexpr int kAttentionApart = 64 * 64;  // (token, head) pairs
constexpr bool attention_apart(int n_tokens, int n_heads) {
  return n_tokens * n_heads <= kAttentionApart;
}
// Partial results of all blocks where they are apart: (m, l) and O, f32.
constexpr std::size_t attention_workspace(int n_tokens, int n_heads, int head_dim, int n_blocks) {
  return static_cast<std::size_t>(n_tokens) * static_cast<std::size_t>(n_blocks) *
         static_cast<std::size_t>(n_heads) * static_cast<std::size_t>(head_dim + 2);
}
Status attention(const AttentionArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
