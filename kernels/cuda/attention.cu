#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/launch.h"

namespace lares::kernels::cuda {
namespace {

template <int C>
Status run(const AttentionArgs& a, Stream stream) {
  const int n_blocks = attention_blocks(a.window, a.n_entries_max),
            groups = (a.n_heads + attention_heads(C) - 1) / attention_heads(C), n = a.places.n_tokens;
  if (!attention_apart(n, a.n_heads))
    return launch("launch attention", attention_kernel<C, false>, {1, n, groups}, kAttentionThreads, attention_shared(C), stream, a,
                  n_blocks);
  if (const Status s = launch("launch attention", attention_kernel<C, true>, {n_blocks, n, groups}, kAttentionThreads,
                              attention_shared(C), stream, a, n_blocks);
      !s.ok())
    return s;
  return launch("launch attention", attention_fold_kernel, {a.n_heads, n}, kFoldThreads, kFoldShared, stream, a, n_blocks);
}

}  // namespace

Status attention(const AttentionArgs& a, Stream stream) {
  if (a.places.n_tokens == 0) return {};
  if (a.rope_dim % 2 != 0 || (a.head_dim - a.rope_dim) % 64 != 0)
    return refused("attention: what is not rotary is not whole blocks of 64");
  switch (a.head_dim) {
    case 128: return run<128>(a, stream);
    case 192: return run<192>(a, stream);
    case 512: return run<512>(a, stream);
    default: return refused("attention: heads have 128, 192 or 512 dims");
  }
}

}  // namespace lares::kernels::cuda
