#include "kernels/cuda/attention/compress_kernels.h"
#include "kernels/cuda/launch.h"

namespace lares::kernels::cuda {

Status compress(const CompressArgs& a, Stream stream) {
  if (a.places.n_tokens == 0) return {};
  if (a.index ? a.dim != 128 : (a.dim - a.rope_dim) % 64 != 0 || a.dim > 1024)
    return refused("compress: not the dimensions of entries or index keys");
  return launch("launch compress", compress_kernel, {a.places.n_tokens}, kCompressThreads,
                compress_shared(a.dim), stream, a);
}

Status put_raw(const CompressArgs& a, Stream stream) {
  if (a.places.n_tokens == 0) return {};
  if (a.dim % 4 != 0) return refused("put_raw: rows are not whole words of 16 bytes");
  return launch("launch put_raw", put_raw_kernel, {a.places.n_tokens}, kCompressThreads, 0, stream,
                a);
}

}  // namespace lares::kernels::cuda
