// Body of index_queries(); index_scores() and top_k() have files of their own.
#pragma once

#include "kernels/cuda/indexer/index_score_kernels.h"
#include "kernels/cuda/indexer/indexer_rows.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/indexer/top_k_kernels.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// A warp a head.
LARES_KERNEL(128, 8) index_queries_kernel(const IndexQueryArgs a) {
  wait_for_inputs();
  const std::int64_t i = static_cast<std::int64_t>(block_x()) * 4 + thread() / 32;
  if (i < static_cast<std::int64_t>(a.n_tokens) * a.n_heads) index_query(a, i);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
