// experts_linear() with few tokens, streamed.
#pragma once

#include "kernels/cuda/products/stream_kernels.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

template <int kinds>
LARES_KERNEL(kStreamThreads, kStreamResident)
experts_stream_kernel(const StreamArgs all, const Divisor blocks) {
  stream_experts<kinds>(all, blocks);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
