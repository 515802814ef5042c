#include "kernels/cuda/hyper_kernels.h"
#include "kernels/cuda/launch.h"

namespace lares::kernels::cuda {

Status hyper(const HyperArgs& a, Stream stream) {
  if (a.n_tokens == 0) return {};
  if (a.dim % kHyperSlice != 0 || a.dim > kHyperDimMax) return refused("hyper: the dimension is not a multiple of 64, or too large");
  const int tokens = a.n_tokens < kSliceTokens ? a.n_tokens : kSliceTokens;
  const Grid slices{a.dim / kHyperSlice, (a.n_tokens + kSliceTokens - 1) / kSliceTokens};
  if (const Status s = launch("launch hyper", hyper_slice_kernel, slices, kSliceThreads, slice_shared(tokens), stream, a);
      !s.ok() || !a.fn)
    return s;
  return launch("launch hyper", hyper_mix_kernel, {a.n_tokens}, kMixThreads + 32, mix_shared(a.dim), stream, a);
}

}  // namespace lares::kernels::cuda
