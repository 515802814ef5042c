#pragma once

#include "kernels/indexer.h"
#include "kernels/cpu/lanes.h"

namespace lares::kernels {
namespace {

// Of float keys.
template <class V>
void index_scores(const IndexArgs& a, void (*linear)(const LinearArgs&)) {
  Matrix keys;
  keys.format = a.cell;
  keys.n_in = a.dim;
  for (int j0 = 0, n = 0; j0 < a.n_keys; j0 += n) {
    const int within = (a.first + j0) % a.run,
              left = a.n_keys - j0 < a.run - within ? a.n_keys - j0 : a.run - within;
    n = left < kIndexBlock ? left : kIndexBlock;
    keys.data = a.keys[(a.first + j0) / a.run] + a.offset;
    keys.n_out = within + n;
    linear({.w = &keys,
            .x = a.q,
            .y = a.scratch,
            .x_stride = a.dim,
            .y_stride = kIndexBlock,
            .n_tokens = a.n_heads,
            .row_begin = within,
            .row_end = within + n,
            .y_row = within});
    for (int j = 0; j < n; j += kLanes) {
      V total = all<V>(0);
      for (int h = 0; h < a.n_heads; ++h)
        total = total + max(loaded<V>(a.scratch + h * kIndexBlock + j), all<V>(0)) * all<V>(a.w[h]);
      float out[kLanes];
      store(out, total);
      for (int i = 0; i < kLanes && j + i < n; ++i) a.score[j0 + j + i] = out[i];
    }
  }
}

}  // namespace
}  // namespace lares::kernels
