// What enters fp8 and fp4 matrices: Q8_128 as codes and scales (kernels/quantise.h has the
// definition), bit for bit. Floor: 2 bytes a value in, 1 out.
#pragma once

#include "kernels/cuda/device.h"

namespace lares::kernels::cuda {

struct QuantiseArgs {
  const bf16* x;        // [n_rows, x_stride]
  std::uint8_t* codes;  // [n_rows, codes_stride] e4m3
  float* scale;         // [n_rows, scale_stride], one per 128
  std::int64_t x_stride, codes_stride, scale_stride;
  int n_rows, n;  // n a multiple of 8; a last block may be short
};
Status quantise(const QuantiseArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
