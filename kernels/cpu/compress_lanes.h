#pragma once

#include "kernels/compress.h"
#include "kernels/cpu/lanes.h"

namespace lares::kernels {
namespace {

template <class V>
void pool(const PoolArgs& a) {
  for (int c = 0; c < a.dim; c += kLanes) {
    V top = loaded<V>(a.gates[0] + c);
    for (int t = 1; t < a.n_rows; ++t) top = max(loaded<V>(a.gates[t] + c), top);
    V e[kPoolRowsMax], total = all<V>(0);
    for (int t = 0; t < a.n_rows; ++t)
      total = total + (e[t] = exp(loaded<V>(a.gates[t] + c) - top));
    V out = all<V>(0);
    for (int t = 0; t < a.n_rows; ++t) out = out + loaded<V>(a.values[t] + c) * (e[t] / total);
    store(a.out + c, a.round_bf16 ? bf16_rounded(out) : out);
  }
}

}  // namespace
}  // namespace lares::kernels
