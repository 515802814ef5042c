// What linear() and experts_linear() launch for many tokens where wgmma is.
#pragma once

#include "kernels/cuda/products/experts.h"
#include "kernels/cuda/products/wide_plan.h"

namespace lares::kernels::cuda {

// Whether a product is taken: it has room for what enters, and its groups begin with whole tiles of
// k.
bool goes_wide(const Product& p);
bool goes_wide(const ExpertLinearArgs& a);

// `laid`: the product before it was of the same rows, and so its room has them.
Status wide_linear(const Product& p, int n_tokens, bool laid, Stream stream);
Status wide_experts(const ExpertLinearArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
