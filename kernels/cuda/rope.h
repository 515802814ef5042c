// Rotary positions. Tables hold the cosine and sine of every pair as doubles, for the float product
// position * frequency, as kernels/rope.h has them; a step makes one for each base, and all kernels
// of its layers read it.
#pragma once

#include "kernels/cuda/places.h"

namespace lares::kernels::cuda {

struct RopeTableArgs {
  const float* frequencies;      // [dim / 2], kernels::rope_frequencies()
  const std::int64_t* position;  // [n]
  double* table;                 // [n, dim / 2, 2] out: cosine, sine
  int n, dim;
};
Status rope_table(const RopeTableArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
