// Bodies of linear()'s launches.
#pragma once

#include "kernels/cuda/hyper/hyper_mixes.h"
#include "kernels/cuda/products/linear_rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// Blocks an SM holds. From sm_90 on this is for what does not fit a stream, and three would cost
// registers that quantising needs.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
inline constexpr int kFewResident = 2;
#else
inline constexpr int kFewResident = 3;
#endif

// Block: 16 rows of one of the products; the one behind them has what a boundary left.
template <Few few>
LARES_KERNEL(kLinearThreads, few == Few::any          ? 1
                             : few == Few::bf16_plain ? 2
                                                      : kFewResident)
linear_few_kernel(const Products all) {
  if (all.mixes.n_tokens > 0 && block_x() == all.n_blocks) {
    wait_for_inputs();
    if (thread() / 32 < all.mixes.n_tokens) put_left(all.mixes, thread() / 32);
    return;
  }
  int i = 0;
  while (i + 1 < all.n && block_x() >= all.item[i + 1].first_block) ++i;
  const Product& p = all.item[i];
  const int tile = block_x() - p.first_block;
  if constexpr (few == Few::bf16_plain) {
    few_rows<Format::bf16, false, false>(p, tile, nullptr, 0, 0, all.n_tokens);
  } else if constexpr (few == Few::fp8_plain) {
    few_rows<Format::fp8, false, false>(p, tile, nullptr, 0, 0, all.n_tokens);
  } else if constexpr (few == Few::fp8_codes) {
    few_rows<Format::fp8, true, false>(p, tile, nullptr, 0, 0, all.n_tokens);
  } else {
    if (p.format == Format::bf16)
      few_rows<Format::bf16, false, false>(p, tile, nullptr, 0, 0, all.n_tokens);
    else if (p.format == Format::fp4)
      few_rows<Format::fp4, true, false>(p, tile, nullptr, 0, 0, all.n_tokens);
    else if (p.codes_in)
      few_rows<Format::fp8, true, false>(p, tile, nullptr, 0, 0, all.n_tokens);
    else
      few_rows<Format::fp8, false, false>(p, tile, nullptr, 0, 0, all.n_tokens);
  }
}

// One product a launch: its kind decides about registers.
template <Format format, bool codes_in>
LARES_KERNEL(kLinearThreads, 1)
linear_many_kernel(const Product p, int n_tokens) {
  wait_for_inputs();
  constexpr int kTokens = many_tokens(format);
  const int first = block_y() * kTokens;
  const RowBlock rows = row_block(p, block_x());
  many_rows<kTokens, format, codes_in>(p, rows.begin, rows.end, nullptr, first, first,
                                       smaller(kTokens, n_tokens - first));
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
