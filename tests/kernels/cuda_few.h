// The body of linear()'s kernel for few tokens, as a launch would choose it: what its tests run.
#pragma once

#include "kernels/cuda/products/linear_kernels.h"

namespace lares::kernels::cuda::test {

inline void few_kernel(const Products& all) {
  switch (few_of(all)) {
    case Few::bf16_plain:
      return linear_few_kernel<Few::bf16_plain>(all);
    case Few::fp8_plain:
      return linear_few_kernel<Few::fp8_plain>(all);
    case Few::fp8_codes:
      return linear_few_kernel<Few::fp8_codes>(all);
    case Few::any:
      return linear_few_kernel<Few::any>(all);
  }
}

}  // namespace lares::kernels::cuda::test
