#include "kernels/cuda/draft_rows_kernels.h"
#include "kernels/cuda/launch.h"

namespace lares::kernels::cuda {

Status draft_rows(const DraftRowsArgs& a, Stream stream) {
  if (a.n_tokens == 0) return {};
  if (a.dim % 8 != 0 || a.offset % 8 != 0)
    return refused("draft_rows: the dimension or the offset is not a multiple of 8");
  const int values = a.what == DraftRows::keep_means ? a.dim : a.n_streams * a.dim;
  return launch("launch draft_rows", draft_rows_kernel, {a.n_tokens, draft_blocks(values)},
                kDraftThreads, 0, stream, a);
}

Status add_to_streams(const AddToStreamsArgs& a, Stream stream) {
  if (a.n_tokens == 0) return {};
  if (a.dim % 8 != 0) return refused("add_to_streams: the dimension is not a multiple of 8");
  return launch("launch add_to_streams", add_to_streams_kernel, {a.n_tokens, draft_blocks(a.dim)},
                kDraftThreads, 0, stream, a);
}

}  // namespace lares::kernels::cuda
