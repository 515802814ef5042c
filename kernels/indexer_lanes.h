#pragma once

#include "kernels/indexer.h"
#include "kernels/lanes.h"

namespace lares::kernels {
namespace {

// Of float keys.
template <class V>
void index_scores(const IndexArgs& a, void (*linear)(const LinearArgs&)) {
  Matrix keys;
  keys.format = a.cell;
  keys.data = a.keys;
  keys.n_out = a.n_keys;
  keys.n_in = a.dim;
  for (int j0 = 0; j0 < a.n_keys; j0 += kIndexBlock) {
    const int n = a.n_keys - j0 < kIndexBlock ? a.n_keys - j0 : kIndexBlock;
    linear({.w = &keys, .x = a.q, .y = a.scratch, .x_stride = a.dim, .y_stride = kIndexBlock, .n_tokens = a.n_heads,
            .row_begin = j0, .row_end = j0 + n, .y_row = j0});
    for (int j = 0; j < n; j += kLanes) {
      V total = all<V>(0);
      for (int h = 0; h < a.n_heads; ++h) total = total + max(loaded<V>(a.scratch + h * kIndexBlock + j), all<V>(0)) * all<V>(a.w[h]);
      float out[kLanes];
      store(out, total);
      for (int i = 0; i < kLanes && j + i < n; ++i) a.score[j0 + j + i] = out[i];
    }
  }
}

}  // namespace
}  // namespace lares::kernels
