#include "kernels/cuda/elementwise_kernels.h"
#include "kernels/cuda/launch.h"

namespace lares::kernels::cuda {
Status quantise(const QuantiseArgs& a, Stream stream) {
  if (a.n_rows == 0) return {};
  if (a.n % 8 != 0 || a.x_stride % 4 != 0 || a.codes_stride % 4 != 0)
    return refused("quantise: rows are not whole words");
  return launch("launch quantise", quantise_kernel, {quantise_blocks(a.n_rows, a.n)}, 256, 0,
                stream, a);
}

Status rope_table(const RopeTableArgs& a, Stream stream) {
  if (a.n == 0) return {};
  return launch("launch rope_table", rope_table_kernel, {(a.n * (a.dim / 2) + 127) / 128}, 128, 0,
                stream, a);
}

Status rms_norm(const RmsNormArgs& a, Stream stream) {
  if (a.n_rows == 0) return {};
  if (a.dim % 8 != 0 || a.dim > kNormDimMax || a.y_stride % 4 != 0 || a.codes_stride % 4 != 0)
    return refused("rms_norm: the dimension is not a multiple of 8, or too large");
  return launch("launch rms_norm", rms_norm_kernel, {a.n_rows}, kNormThreads,
                rms_norm_shared(a.dim), stream, a);
}

Status queries(const QueryArgs& a, Stream stream) {
  if (a.n_tokens == 0) return {};
  if (a.head_dim % 32 != 0 || a.head_dim > 512 || a.rope_dim % 2 != 0)
    return refused("queries: the head's dimension is not a multiple of 32, or too large");
  return launch("launch queries", queries_kernel, {queries_blocks(a.n_tokens, a.n_heads)},
                kRowThreads, queries_shared(a.head_dim), stream, a);
}

Status put_window(const WindowArgs& a, Stream stream) {
  if (a.places.n_tokens == 0) return {};
  if ((a.head_dim - a.rope_dim) % 64 != 0)
    return refused("put_window: what is not rotary is not whole blocks of 64");
  return launch("launch put_window", put_window_kernel, {a.places.n_tokens}, kRowThreads,
                a.head_dim * 4, stream, a);
}

Status embed(const EmbedArgs& a, Stream stream) {
  if (a.n_tokens == 0) return {};
  if (a.dim % 8 != 0) return refused("embed: the dimension is not a multiple of 8");
  return launch("launch embed", embed_kernel, {a.n_tokens}, 256, 0, stream, a);
}

Status argmax(const ArgmaxArgs& a, Stream stream) {
  if (a.n_rows == 0) return {};
  if (const Status s = launch("launch argmax", argmax_parts_kernel, {kArgmaxParts, a.n_rows}, 256,
                              256 * 8, stream, a);
      !s.ok())
    return s;
  return launch("launch argmax", argmax_kernel, {a.n_rows}, kArgmaxParts, kArgmaxParts * 8, stream,
                a);
}

}  // namespace lares::kernels::cuda
