// experts_linear() with few tokens, streamed.
#pragma once

#include "kernels/cuda/experts_kernels.h"
#include "kernels/cuda/stream_kernels.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// The matrices of experts' runs of slots, and the shared expert's.
struct ExpertPieces {
  const ExpertLinearArgs& a;
  int n_jobs, n_all;  // runs of routed experts, and all
  static constexpr bool kWait = true;
  LARES_DEVICE int n() const { return n_all * a.n_matrices; }
  LARES_DEVICE Piece operator()(int i) const {
    const int job = i / a.n_matrices;
    const ExpertRun run = expert_run(a, i % a.n_matrices, job, n_jobs, kTokensFew);
    Piece r;
    r.p = run.p;
    r.tile_rows = run.nothing ? 0 : (a.n_out + kTileRows - 1) / kTileRows;
    r.row_of = a.row_of ? a.row_of + run.first : nullptr;
    r.x_row = r.y_row = run.first;
    r.n = run.n;
    r.key = a.row_of && a.n_tokens == 1 ? 1 : 1 + job;
    return r;
  }
};

LARES_KERNEL(kStreamThreads, kStreamBlocks) experts_stream_kernel(const ExpertLinearArgs a, int n_jobs, int n_all, const StreamPlan plan) {
  const ExpertPieces pieces{a, n_jobs, n_all};
  stream(pieces, plan, pieces.n());
}


}  // namespace lares::kernels::cuda::inline LARES_SIDE
