#include "kernels/cuda/hyper/hyper_cluster_kernels.h"
#include "kernels/cuda/hyper/hyper_many_kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/products/linear.h"

namespace lares::kernels::cuda {
namespace {

// Tokens of a run: their streams (33 MB at 4096 dims) stay in L2 between the two launches.
constexpr int kRunTokens = 1024;
static_assert(kRunTokens % kManyTokens == 0);

HyperArgs tokens(HyperArgs a, int first, int n) {
  const std::int64_t t = first, dim = a.dim;
  a.x += t * kHyperStreams * dim;
  if (a.y) a.y += t * dim;
  a.experts.first += first;
  a.post += t * kHyperStreams;
  a.comb += t * kHyperStreams * kHyperStreams;
  if (a.entered) a.entered += t * dim;
  if (a.normed) a.normed += t * dim;
  if (a.codes) a.codes += t * dim, a.code_scale += t * ((dim + 127) / 128);
  a.n_tokens = n;
  return a;
}

Status few(const HyperArgs& a, Stream stream) {
  const Grid slices{a.dim / kHyperSlice, (a.n_tokens + kSliceTokens - 1) / kSliceTokens};
  const int together = a.n_tokens < kSliceTokens ? a.n_tokens : kSliceTokens;
  const Status s = launch("launch hyper", hyper_slice_kernel, slices, kSliceThreads,
                          slice_shared(together), stream, a);
  if (!s.ok() || !a.fn) return s;
  return launch("launch hyper", hyper_mix_kernel, {a.n_tokens}, kMixThreads + 32, mix_shared(),
                stream, a);
}
Grid cluster_of(int dim) { return {.x = cluster_blocks(dim), .cluster = cluster_blocks(dim)}; }

}  // namespace

// A model's boundaries all ask the same, so the last answer is kept.
bool hyper_has_cluster(int dim) {
  struct Answer {
    int device = -1, dim = 0;
    bool fits = false;
  };
  thread_local Answer last;
  const int device = current_device();
  if (last.device != device || last.dim != dim)
    last = {
        device, dim,
        cluster_fits(hyper_cluster_kernel, cluster_of(dim), kClusterThreads, cluster_shared(dim))};
  return last.fits;
}

namespace {

Status one(const HyperArgs& a, Stream stream) {
  if (a.cluster && hyper_has_cluster(a.dim))
    return launch("launch hyper", hyper_cluster_kernel, cluster_of(a.dim), kClusterThreads,
                  cluster_shared(a.dim), stream, a);
  if (a.arrived)
    return launch("launch hyper", hyper_token_kernel, {a.dim / kHyperSlice}, kMixThreads + 32,
                  token_shared(), stream, a);
  return few(a, stream);
}
Status many(const HyperArgs& a, Stream stream) {
  const Grid slices{a.dim / kHyperSlice, (a.n_tokens + kManyTokens - 1) / kManyTokens};
  const Status s = launch("launch hyper", hyper_slice_many_kernel, slices, kSliceThreads,
                          slice_many_shared(), stream, a);
  if (!s.ok() || !a.fn) return s;
  return launch("launch hyper", hyper_mix_many_kernel, {a.n_tokens}, kMixManyThreads + 32,
                mix_many_shared(a.dim), stream, a);
}

}  // namespace

Status hyper(const HyperArgs& a, Stream stream) {
  if (a.dim % kHyperSlice != 0 || a.dim > kHyperDimMax)
    return refused("hyper: the dimension is not a multiple of 64, or too large");
  if (a.later && a.n_tokens > kTokensFew)
    return refused("hyper: of many tokens nothing is left for later");
  if (a.n_tokens == 1 && a.fn) return one(a, stream);
  if (a.n_tokens <= kTokensFew) return a.n_tokens == 0 ? Status{} : few(a, stream);
  for (int first = 0; first < a.n_tokens; first += kRunTokens) {
    const int n = a.n_tokens - first < kRunTokens ? a.n_tokens - first : kRunTokens;
    if (const Status s = many(tokens(a, first, n), stream); !s.ok()) return s;
  }
  return {};
}

}  // namespace lares::kernels::cuda
