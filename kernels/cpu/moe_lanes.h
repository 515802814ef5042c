#pragma once

#include "kernels/cpu/lanes.h"
#include "kernels/moe.h"

namespace lares::kernels {
namespace {

template <class V>
void swiglu(const SwigluArgs& a) {
  const V hi = all<V>(a.limit), lo = all<V>(-a.limit), one = all<V>(1);
  for (int r = 0; r < a.n_rows; ++r) {
    const std::int64_t at = r * a.stride;
    for (int i = 0; i < a.n; i += kLanes) {
      V gate = loaded<V>(a.gate + at + i), up = loaded<V>(a.up + at + i);
      if (a.limit > 0) {
        gate = min(hi, gate);  // a NaN comes out as NaN: the second operand wins
        up = max(lo, min(hi, up));
      }
      V h = gate / (one + exp(all<V>(0) - gate)) * up;
      if (a.weight) h = h * all<V>(a.weight[r]);
      if (a.round_bf16) h = bf16_rounded(h);
      store(a.h + at + i, h);
    }
  }
}

}  // namespace
}  // namespace lares::kernels
