// linear() with few tokens, streamed.
#pragma once

#include "kernels/cuda/products/stream_kernels.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

template <int kinds>
LARES_KERNEL(kStreamThreads, kStreamResident)
linear_stream_kernel(const StreamArgs all, const StreamShares shares) {
  stream_products<kinds>(all, shares);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
