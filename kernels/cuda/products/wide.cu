#include "kernels/cuda/launch.h"
#include "kernels/cuda/products/wide.h"
#include "kernels/cuda/products/wide_kernels.h"
#include "kernels/cuda/products/wide_quantise.h"

namespace lares::kernels::cuda {
namespace {

constexpr int blocks_of(int n) { return (n + kWideTokens - 1) / kWideTokens; }
constexpr int plane_blocks(int columns) {
  return (2 * along_of(columns) + kWideInputWarps - 1) / kWideInputWarps;
}

template <Format format, bool codes_in, int blocks>
Status multiply(const Product& p, const WideInput& in, int n_tokens, Stream stream) {
  WideLinear all{p, in, n_tokens,
                 wide_row_blocks(p.n_out, p.rows_per_group, 64 * kWideConsumers * blocks), 0};
  all.n_work = all.row_blocks * blocks_of(n_tokens);
  return launch("launch linear", wide_linear_kernel<format, codes_in, blocks>,
                {smaller(streaming_sms(), all.n_work)}, kWideThreads,
                wide_shared(format, blocks).bytes, stream, all);
}
// 256 rows a piece where that leaves work for every SM: what enters is then read half as often.
template <Format format, bool codes_in>
Status multiply(const Product& p, const WideInput& in, int n_tokens, Stream stream) {
  if (wide_row_blocks(p.n_out, p.rows_per_group, 128 * kWideConsumers) * blocks_of(n_tokens) >=
      streaming_sms())
    return multiply<format, codes_in, 2>(p, in, n_tokens, stream);
  return multiply<format, codes_in, 1>(p, in, n_tokens, stream);
}

// Lays out what enters one product.
Status lay(const Product& p, const WideInput& in, int columns, int n, Stream stream) {
  if (p.quantise) {
    const Grid grid{(n + kQuantiseRows - 1) / kQuantiseRows,
                    (along_of(columns) + kWideInputWarps - 1) / kWideInputWarps};
    const WideValues from{p.x, nullptr, nullptr, p.x_stride, columns, 0};
    return launch("launch linear", wide_quantise_kernel, grid, 32 * kWideInputWarps, 0, stream,
                  from, in, n);
  }
  const WideSource from{p.codes, p.code_scale, nullptr, p.x_stride, p.code_scale_stride, columns};
  return launch("launch linear", wide_input_kernel, {blocks_of(n), plane_blocks(columns)},
                32 * kWideInputWarps, 0, stream, from, in, n);
}

// What enters experts: rows that several slots multiply lie in rows, slots that have their own in
// planes, run by run.
Status lay(const ExpertLinearArgs& a, const WideInput& in, int n_jobs, int n_slots, Stream stream) {
  if (!a.codes && a.laid)
    return launch("launch experts_linear", wide_again_kernel, {1}, 32, 0, stream, in);
  const Grid slots{n_jobs + (a.matrix[0].shared.tiles ? blocks_of(a.n_tokens) : 0),
                   plane_blocks(a.n_in)};
  const bool fp4 = a.format == Format::fp4;
  if (!a.codes) {
    const WideValues from{a.x, a.up, a.factor, a.x_stride, a.n_in, a.limit};
    const Grid grid{slots.x, (along_of(a.n_in) + kWideInputWarps - 1) / kWideInputWarps};
    return launch("launch experts_linear", wide_gated_kernel, grid, 32 * kWideInputWarps, 0, stream,
                  from, in, a.jobs, n_jobs, n_slots, a.n_tokens, fp4);
  }
  const WideSource from{a.codes, a.code_scale, nullptr, a.x_stride, a.code_scale_stride, a.n_in};
  if (a.row_of)
    return launch("launch experts_linear", wide_input_kernel,
                  {blocks_of(a.n_tokens), plane_blocks(a.n_in)}, 32 * kWideInputWarps, 0, stream,
                  from, in, a.n_tokens);
  return launch("launch experts_linear", wide_slots_kernel, slots, 32 * kWideInputWarps, 0, stream,
                from, in, a.jobs, n_jobs, n_slots, a.n_tokens, fp4);
}

constexpr int kExpertBlocks = 2;
Status multiply(const WideExperts& all, Format format, bool by_rows, Stream stream) {
  return launch("launch experts_linear",
                format == Format::fp4
                    ? by_rows ? wide_experts_kernel<Format::fp4, kExpertBlocks, WideFrom::pieces>
                              : wide_experts_kernel<Format::fp4, kExpertBlocks, WideFrom::planes>
                : by_rows ? wide_experts_kernel<Format::fp8, kExpertBlocks, WideFrom::pieces>
                          : wide_experts_kernel<Format::fp8, kExpertBlocks, WideFrom::planes>,
                {smaller(streaming_sms(), all.n_work)}, kWideThreads,
                wide_shared(format, kExpertBlocks).bytes, stream, all);
}

}  // namespace

bool goes_wide(const Product& p) {
  return p.wgmma && (p.room || !p.codes_in) && has_wgmma() && streaming_sms() > 0 &&
         (p.rows_per_group == p.n_out || p.n_in % kTileK == 0);
}
bool goes_wide(const ExpertLinearArgs& a) {
  return a.wgmma && a.room && has_wgmma() && streaming_sms() > 0;
}

Status wide_linear(const Product& p, int n_tokens, bool laid, Stream stream) {
  if (p.format == Format::bf16) return multiply<Format::bf16, false, 1>(p, {}, n_tokens, stream);
  if (!p.codes_in) return multiply<Format::fp8, false>(p, {}, n_tokens, stream);
  const int columns = p.n_out / p.rows_per_group * p.n_in;
  const WideInput in = wide_input(p.room, wide_rows(n_tokens), columns);
  if (!laid)
    if (const Status s = lay(p, in, columns, n_tokens, stream); !s.ok()) return s;
  return p.format == Format::fp4 ? multiply<Format::fp4, true>(p, in, n_tokens, stream)
                                 : multiply<Format::fp8, true>(p, in, n_tokens, stream);
}

Status wide_experts(const ExpertLinearArgs& a, Stream stream) {
  const bool shared_one = a.matrix[0].shared.tiles != nullptr, by_rows = a.row_of != nullptr;
  const int n_slots = a.n_tokens * a.k, n_jobs = expert_jobs(a.n_tokens, a.n_experts, a.k);
  WideExperts all{};
  all.one_at = wide_row_of(n_slots, n_jobs);
  all.in = by_rows ? wide_input(a.room, wide_rows(a.n_tokens), a.n_in, true)
                   : wide_input(a.room, all.one_at + wide_rows(a.n_tokens), a.n_in);
  if (const Status s = lay(a, all.in, n_jobs, n_slots, stream); !s.ok()) return s;
  all.p.codes_in = true;
  all.p.n_out = all.p.rows_per_group = a.n_out;
  all.p.n_in = a.n_in;
  all.p.y_stride = a.y_stride;
  all.one_slot = n_slots;
  all.n_tokens = a.n_tokens;
  for (int m = 0; m < a.n_matrices; ++m) {
    all.tiles[m] = a.matrix[m].tiles;
    all.scale[m] = a.matrix[m].scale;
    all.one_tiles[m] = a.matrix[m].shared.tiles;
    all.one_scale[m] = a.matrix[m].shared.scale;
    all.y[m] = a.matrix[m].y;
  }
  all.jobs = a.jobs;
  all.row_of = a.row_of;
  all.n_matrices = a.n_matrices;
  all.row_blocks = wide_row_blocks(a.n_out, a.n_out, 64 * kWideConsumers * kExpertBlocks);
  all.n_work = n_jobs * a.n_matrices * all.row_blocks;
  if (const Status s = multiply(all, a.format, by_rows, stream); !s.ok() || !shared_one) return s;
  all.jobs = nullptr;
  all.n_work = blocks_of(a.n_tokens) * a.n_matrices * all.row_blocks;
  return multiply(all, a.matrix[0].shared.format, by_rows, stream);
}

}  // namespace lares::kernels::cuda
