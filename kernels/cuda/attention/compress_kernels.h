// Bodies of compress() and put_raw().
#pragma once

#include "kernels/cuda/attention/compress_rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

LARES_KERNEL(kCompressThreads, 4) compress_kernel(const CompressArgs a) {
  const TokenPlace place = token_place(a.places, block_x());
  const CompletedGroup group = completed_group(a, place);
  wait_for_inputs();
  compress_token(a, place, group, shared<float>());
}

// A block a token.
LARES_KERNEL(kCompressThreads, 4) put_raw_kernel(const CompressArgs a) {
  const TokenPlace place = token_place(a.places, block_x());
  wait_for_inputs();
  put_raw_token(a, block_x(), place);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
