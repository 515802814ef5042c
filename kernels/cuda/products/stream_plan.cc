#include "kernels/cuda/products/stream_plan.h"

#include <algorithm>

namespace lares::kernels::cuda {
namespace {

// Below this a row that is cut would be in more than two blocks; rounding moves a stretch's ends by
// less than two of the largest tiles.
int cut_from(const StreamArgs& s) {
  int row = 0;
  for (int i = 0; i < s.n_items; ++i)
    row = std::max(row, along_of(s.item[i].n_in) * cuda::tile_bytes(s.item[i].format) / 64);
  return row + 2 * cuda::tile_bytes(Format::bf16) / 64;
}

void plan(StreamArgs& s, int n_tokens, int n_pieces, const Scratch& scratch) {
  int n_in = 0, slot = 0, of_tile = 1;
  for (int i = 0; i < s.n_items; ++i) {
    const Product& p = s.item[i];
    n_in = std::max(n_in, p.n_in);
    slot = std::max(slot, cuda::tile_bytes(p.format) * (p.format == Format::fp4 ? 2 : 1));
    of_tile = std::max(of_tile, tile_sums_of(p.format));
    s.kinds |= stream_kind(p.format, p.codes_in);
    s.along[i] = divisor(static_cast<std::uint32_t>(along_of(p.n_in)));
    s.group_rows[i] = divisor(static_cast<std::uint32_t>(tile_rows(p.rows_per_group)));
  }
  s.plan = stream_plan(n_tokens, n_in, slot, of_tile);
  for (int i = 0; i < std::min(s.n_items, kExpertItems); ++i) {
    s.cost[i] = divisor(row_cost(s.item[i]));
    s.cost[kExpertItems + i] = divisor(unit_cost(s.plan, s.item[i]));
  }
  int visits = n_pieces + 2;  // two more where a stretch begins and ends within rows
  for (int i = 0; i < s.n_items; ++i) visits += s.item[i].n_out / s.item[i].rows_per_group - 1;
  if (n_pieces > kPiecesMax || visits > kVisitsMax) s.plan.slots = 0;
  if (s.item[0].norm && along_of(n_in) > kStreamThreads / 32) s.plan.slots = 0;
  // With one buffer a block would bring what its last row multiplies twice.
  if (s.plan.x_buffers > 1 && along_of(n_in) * of_tile * n_tokens * kTileRows <= kScratchSums) {
    s.scratch = scratch.streams;
    s.cut_from = cut_from(s);
  }
}

}  // namespace

StreamArgs stream_of(const Products& all, const Scratch& scratch) {
  StreamArgs s;
  s.n_items = all.n;
  s.n_tokens = all.n_tokens;
  s.mixes = all.mixes;
  for (int i = 0; i < all.n; ++i) {
    s.item[i] = all.item[i];
    s.rows += tile_rows(all.item[i].n_out);
  }
  plan(s, all.n_tokens, all.n, scratch);
  return s;
}

StreamArgs stream_of(const ExpertLinearArgs& a, const Scratch& scratch) {
  StreamArgs s;
  s.n_jobs = expert_jobs(a.n_tokens, a.n_experts, a.k);
  s.n_routed = a.n_matrices;
  s.n_tokens = a.n_tokens;
  s.k = a.k;
  s.n_experts = a.n_experts;
  s.mixes = a.mixes;
  s.jobs = a.jobs;
  s.row_of = a.row_of;
  s.one_row = a.row_of && a.n_tokens == 1;
  s.jobs_known = a.jobs_known;
  Product p;
  p.codes_in = true;
  p.quantise = a.quantise && !a.codes;
  p.x = a.x;
  p.up = a.up;
  p.factor = a.factor;
  p.limit = a.limit;
  p.codes = a.codes;
  p.code_scale = a.code_scale;
  p.x_stride = a.x_stride;
  p.code_scale_stride = a.code_scale_stride;
  p.y_stride = a.y_stride;
  p.n_out = p.rows_per_group = a.n_out;
  p.n_in = a.n_in;
  for (int m = 0; m < a.n_matrices; ++m) {
    p.format = a.format;
    p.y = a.matrix[m].y;
    s.tiles[m] = a.matrix[m].tiles;
    s.scale[m] = a.matrix[m].scale;
    s.item[s.n_items++] = p;
  }
  const bool shared_one = a.matrix[0].shared.tiles != nullptr;
  for (int m = 0; shared_one && m < a.n_matrices; ++m) {
    p.format = a.matrix[m].shared.format;
    p.tiles = a.matrix[m].shared.tiles;
    p.scale = a.matrix[m].shared.scale;
    p.y = a.matrix[m].y;
    s.item[s.n_items++] = p;
  }
  s.rows = tile_rows(a.n_out) * a.n_matrices * (s.n_jobs + shared_one);
  plan(s, a.n_tokens, a.n_matrices * (s.n_jobs + shared_one), scratch);
  // Where experts' tiles are lies where sums will.
  if (s.n_routed * s.n_experts * static_cast<int>(sizeof(void*)) > s.plan.factor_at - s.plan.sum_at)
    s.plan.slots = 0;
  return s;
}

}  // namespace lares::kernels::cuda
