#include "kernels/cuda/indexer/indexer_kernels.h"
#include "kernels/cuda/launch.h"

namespace lares::kernels::cuda {

Status index_queries(const IndexQueryArgs& a, Stream stream) {
  if (a.n_tokens == 0) return {};
  if (a.n_heads > kIndexHeadsMax || a.rope_dim > kIndexDim || a.rope_dim % 4 != 0)
    return refused("index_queries: more heads than the kernel takes");
  return launch("launch index_queries", index_queries_kernel,
                {index_queries_blocks(a.n_tokens, a.n_heads)}, 128, 0, stream, a);
}

Status index_scores(const IndexScoreArgs& a, Stream stream) {
  if (a.places.n_tokens == 0 || a.n_keys_max == 0) return {};
  if (a.n_heads > kIndexHeadsMax) return refused("index_scores: more heads than the kernel takes");
  const Grid grid{score_blocks(a.places.n_tokens, a.n_keys_max), a.places.n_tokens};
  return launch("launch index_scores", index_scores_kernel, grid, kScoreThreads, kScoreShared,
                stream, a);
}

std::size_t top_k_scratch(int n_tokens, int n_max) {
  return static_cast<std::size_t>(n_tokens) * static_cast<std::size_t>(top_words(n_max));
}

Status top_k(const TopKArgs& a, Stream stream) {
  if (a.places.n_tokens == 0 || a.n_max == 0) return {};
  if (a.k > kTopKMax || a.k < 1) return refused("top_k: k is not within 1 to kTopKMax");
  if (a.n_max <= kTopWhole) {
    const auto kernel = a.n_max <= kTopWholeThreads * kTopWholeFew
                            ? top_whole_kernel<kTopWholeFew>
                            : top_whole_kernel<kTopWholeMany>;
    return launch("launch top_k", kernel, {a.places.n_tokens}, kTopWholeThreads, kTopWholeShared,
                  stream, a);
  }
  const Grid grid{top_slices(a.n_max), a.places.n_tokens};
  if (const Status s = launch("launch top_k", top_bins_kernel, grid, kTopThreads, kTopBinsShared,
                              stream, a);
      !s.ok())
    return s;
  if (const Status s = launch("launch top_k", top_fine_kernel, grid, kTopThreads, kTopFineShared,
                              stream, a);
      !s.ok())
    return s;
  return launch("launch top_k", top_choose_kernel, grid, kTopThreads, kTopChooseShared, stream, a);
}

}  // namespace lares::kernels::cuda
