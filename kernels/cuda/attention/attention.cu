#include "kernels/cuda/attention/attention_wgmma_kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/norm.h"

namespace lares::kernels::cuda {
namespace {

template <int C, int heads, bool apart>
Status rows(const AttentionArgs& a, int blocks, int n_blocks, Stream stream) {
  return launch("launch attention", attention_kernel<C, heads, apart>,
                {blocks, a.places.n_tokens, (a.n_heads + heads - 1) / heads}, kAttentionThreads,
                attention_shared<C, heads, apart>(), stream, a, n_blocks);
}

Status turned_before(const AttentionArgs& a, Stream stream) {
  return queries({.q = a.raw_q,
                  .rope = a.rope,
                  .n_tokens = a.places.n_tokens,
                  .n_heads = a.n_heads,
                  .head_dim = a.head_dim,
                  .rope_dim = a.rope_dim,
                  .eps = a.query_eps},
                 stream);
}

template <int C>
Status run(const AttentionArgs& given, Stream stream) {
  AttentionArgs a = given;
  const int n_blocks = attention_blocks(a.window, a.n_entries_max), n = a.places.n_tokens;
  if constexpr (C == kWgmmaDim)
    if (const int items = n * ((a.n_heads + kHeadsWide - 1) / kHeadsWide), sms = streaming_sms();
        !attention_apart(n, a.n_heads) && a.wgmma && has_wgmma())
      return launch("launch attention", attention_wgmma_kernel, {items < sms ? items : sms},
                    kWgmmaThreads, kWgmmaShared, stream, a);
  if (a.raw_q) {
    if (const Status s = turned_before(a, stream); !s.ok()) return s;
    a.q = a.raw_q;
  }
  if (!attention_apart(n, a.n_heads))
    return shared_bytes_max() >= attention_shared<C, kHeadsWide, false>()
               ? rows<C, kHeadsWide, false>(a, 1, n_blocks, stream)
               : rows<C, kHeadsNarrow, false>(a, 1, n_blocks, stream);
  Status s;
  if constexpr (C > 256) {
    s = attention_heads_apart(n, a.n_heads, n_blocks) == 16
            ? rows<C, 16, true>(a, n_blocks, n_blocks, stream)
            : rows<C, 32, true>(a, n_blocks, n_blocks, stream);
  } else {
    s = rows<C, 32, true>(a, n_blocks, n_blocks, stream);
  }
  if (!s.ok()) return s;
  return launch("launch attention", attention_fold_kernel,
                {a.n_heads, n, (C + kFoldColumns - 1) / kFoldColumns}, kFoldThreads,
                fold_shared(n_blocks), stream, a, n_blocks);
}

}  // namespace

Status attention(const AttentionArgs& a, Stream stream) {
  if (a.places.n_tokens == 0) return {};
  if (a.rope_dim != kAttentionRopeDim || a.entries.offset % 8 != 0)
    return refused("attention: 64 dims are rotary, and cells begin at multiples of 8");
  switch (a.head_dim) {
    case 128:
      return run<128>(a, stream);
    case 192:
      return run<192>(a, stream);
    case 512:
      return run<512>(a, stream);
    default:
      return refused("attention: heads have 128, 192 or 512 dims");
  }
}

}  // namespace lares::kernels::cuda
