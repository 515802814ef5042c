// Body of index_queries(); index_scores() and top_k() have files of their own.
#pragma once

#include "kernels/cuda/indexer/index_score_kernels.h"
#include "kernels/cuda/indexer/indexer_rows.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/indexer/top_k_kernels.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// Eight lanes a head.
LARES_KERNEL(128, 6) index_queries_kernel(const IndexQueryArgs a) {
  wait_for_inputs();
  const std::int64_t i = static_cast<std::int64_t>(block_x()) * 16 + thread() / 8;
  index_query<8>(a, i, i < static_cast<std::int64_t>(a.n_tokens) * a.n_heads);
}
constexpr int index_queries_blocks(int n_tokens, int n_heads) {
  return static_cast<int>((static_cast<std::int64_t>(n_tokens) * n_heads + 15) / 16);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
