// linear() with few tokens, streamed.
#pragma once

#include "kernels/cuda/linear_kernels.h"
#include "kernels/cuda/stream_kernels.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// The groups of several products.
struct ProductPieces {
  const Products& all;
  static constexpr bool kWait = false;  // for the inputs, before it is known what there is
  LARES_DEVICE int n() const {
    int n = 0;
    for (int i = 0; i < all.n; ++i) n += all.item[i].n_out / all.item[i].rows_per_group;
    return n;
  }
  LARES_DEVICE Piece operator()(int i) const {
    int item = 0, group = i;
    for (int here; group >= (here = all.item[item].n_out / all.item[item].rows_per_group); ++item) group -= here;
    Piece r;
    r.p = all.item[item];
    const int rows = (r.p.rows_per_group + kTileRows - 1) / kTileRows;
    r.tile_row = group * rows;
    r.tile_rows = rows;
    r.column = group * r.p.n_in;
    r.n = all.n_tokens;
    r.key = 1 + i;
    return r;
  }
};

LARES_KERNEL(kStreamThreads, kStreamBlocks) linear_stream_kernel(const Products all, const StreamPlan plan) {
  const ProductPieces pieces{all};
  stream(pieces, plan, pieces.n());
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
