// The compressors: raw rows kept, entries and index keys made of complete groups
// (kernels/compress.h). Pooling is in ascending order of tokens by one thread a
// channel: the CPU's order and bits. Floor: 8 bytes per row and channel; a cell out.
#pragma once

#include "kernels/cuda/places.h"

namespace lares::kernels::cuda {

struct CompressArgs {
  const float* values;  // [n_tokens, width] wkv's product; width = 2 dim with ratio 4, else dim
  const float* gates;   // [n_tokens, width] wgate's product, without bias
  const float* ape;     // [ratio, width]
  const float* norm;    // [dim]
  const float* frequencies;  // [rope_dim / 2]
  Places places;
  PageCells cells;  // where entries (index keys) lie
  int ratio, dim, rope_dim, raw_capacity;
  bool index;  // index keys: Hadamard and Q4_32 instead of a cell; Part::raw_index instead of raw
  float eps;
};
// Entry j of a part for every group that its tokens complete. Reads raw rows of earlier positions;
// writes none.
Status compress(const CompressArgs& a, Stream stream);
// The newest raw_capacity rows of each part, bias added, into its ring. After compress().
Status put_raw(const CompressArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
