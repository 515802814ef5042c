#include "kernels/cuda/attention/attention_inputs_kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/products/linear.h"

namespace lares::kernels::cuda {

Status attention_inputs(const AttentionInputsArgs& a, Stream stream) {
  if (a.queries.n_tokens == 0) return {};
  if (a.queries.n_tokens > kTokensFew) return refused("attention_inputs: more than few tokens");
  if (a.queries.head_dim % 32 != 0 || a.queries.head_dim > 512 || a.queries.rope_dim % 2 != 0)
    return refused("attention_inputs: the head's dimension is not a multiple of 32, or too large");
  if ((a.window.head_dim - a.window.rope_dim) % 64 != 0)
    return refused("attention_inputs: what is not rotary is not whole blocks of 64");
  if (a.index_queries.n_heads > kIndexHeadsMax || a.index_queries.rope_dim > kIndexDim ||
      a.index_queries.rope_dim % 4 != 0)
    return refused("attention_inputs: more index heads than the kernel takes");
  for (int i = 0; i < a.n_compress; ++i)
    if (const CompressArgs& c = a.compress[i];
        c.dim % 4 != 0 || (c.index ? c.dim != 128 : (c.dim - c.rope_dim) % 64 != 0 || c.dim > 1024))
      return refused("attention_inputs: not the dimensions of entries or index keys");
  return launch("launch attention_inputs", attention_inputs_kernel, {input_blocks(a).all()},
                kRowThreads, inputs_shared(a), stream, a);
}

}  // namespace lares::kernels::cuda
