#include "kernels/cuda/launch.h"
#include "kernels/cuda/wide.h"
#include "kernels/cuda/wide_kernels.h"

namespace lares::kernels::cuda {
namespace {

constexpr int blocks_of(int n) { return (n + kWideTokens - 1) / kWideTokens; }
constexpr int plane_blocks(int columns) { return (2 * along_of(columns) + kWideInputWarps - 1) / kWideInputWarps; }

template <Format format, bool codes_in, int blocks>
Status multiply(const Product& p, const WideInput& in, std::int64_t at, std::int64_t y_row, int n_tokens, Stream stream) {
  WideLinear all{p, in, at, y_row, n_tokens, wide_row_blocks(p.n_out, p.rows_per_group, 64 * kWideConsumers * blocks), 0};
  all.n_work = all.row_blocks * blocks_of(n_tokens);
  return launch("launch linear", wide_linear_kernel<format, codes_in, blocks>, {smaller(streaming_sms(), all.n_work)}, kWideThreads, wide_shared(format, blocks).bytes, stream, all);
}
// 256 rows a piece where that leaves work for every SM: what enters is then read half as often.
template <Format format, bool codes_in>
Status multiply_any(const Product& p, const WideInput& in, std::int64_t at, std::int64_t y_row, int n_tokens, Stream stream) {
  if (wide_row_blocks(p.n_out, p.rows_per_group, 128 * kWideConsumers) * blocks_of(n_tokens) >= streaming_sms()) return multiply<format, codes_in, 2>(p, in, at, y_row, n_tokens, stream);
  return multiply<format, codes_in, 1>(p, in, at, y_row, n_tokens, stream);
}
Status multiply_codes(const Product& p, const WideInput& in, std::int64_t at, std::int64_t y_row, int n_tokens, Stream stream) {
  return p.format == Format::fp4 ? multiply_any<Format::fp4, true>(p, in, at, y_row, n_tokens, stream) : multiply_any<Format::fp8, true>(p, in, at, y_row, n_tokens, stream);
}

}  // namespace

bool goes_wide(const Product& p) {
  return p.wgmma && p.room && has_wgmma() && streaming_sms() > 0 && (p.rows_per_group == p.n_out || p.n_in % kTileK == 0);
}
bool goes_wide(const ExpertLinearArgs& a) { return a.wgmma && a.room && a.codes && has_wgmma() && streaming_sms() > 0; }

Status wide_linear(const Product& p, int n_tokens, bool laid, Stream stream) {
  const int columns = p.n_out / p.rows_per_group * p.n_in;
  const WideInput in = wide_input(p.room, wide_rows(n_tokens), columns);
  if (!laid) {
    const WideSource from{p.codes_in ? p.codes : nullptr, p.x, p.code_scale, nullptr, p.x_stride, p.code_scale_stride, columns};
    if (const Status s = launch("launch linear", wide_input_kernel, {blocks_of(n_tokens), plane_blocks(columns)}, 32 * kWideInputWarps, 0, stream, from, in, n_tokens); !s.ok()) return s;
  }
  if (p.codes_in) return multiply_codes(p, in, 0, 0, n_tokens, stream);
  if (p.format == Format::bf16) return multiply<Format::bf16, false, 1>(p, in, 0, 0, n_tokens, stream);
  return multiply_any<Format::fp8, false>(p, in, 0, 0, n_tokens, stream);
}

Status wide_experts(const ExpertLinearArgs& a, Stream stream) {
  const bool shared_one = a.matrix[0].shared.tiles != nullptr;
  const int n_slots = a.n_tokens * a.k, n_jobs = expert_jobs(a.n_tokens, a.n_experts, a.k);
  const std::int64_t shared_at = wide_row_of(n_slots, n_jobs);
  const WideInput in = wide_input(a.room, shared_at + wide_rows(a.n_tokens), a.n_in);
  const WideSource from{a.codes, nullptr, a.code_scale, a.row_of, a.x_stride, a.code_scale_stride, a.n_in};
  if (const Status s = launch("launch experts_linear", wide_slots_kernel, {n_jobs + (shared_one ? blocks_of(a.n_tokens) : 0), plane_blocks(a.n_in)}, 32 * kWideInputWarps, 0, stream, from, in,
                              a.jobs, n_jobs, n_slots, a.n_tokens);
      !s.ok())
    return s;
  constexpr int kBlocks = 2;
  WideExperts all{};
  all.p.format = a.format;
  all.p.codes_in = true;
  all.p.n_out = all.p.rows_per_group = a.n_out;
  all.p.n_in = a.n_in;
  all.p.y_stride = a.y_stride;
  all.in = in;
  for (int m = 0; m < a.n_matrices; ++m) {
    all.tiles[m] = a.matrix[m].tiles;
    all.scale[m] = a.matrix[m].scale;
    all.y[m] = a.matrix[m].y;
  }
  all.jobs = a.jobs;
  all.n_matrices = a.n_matrices;
  all.row_blocks = wide_row_blocks(a.n_out, a.n_out, 64 * kWideConsumers * kBlocks);
  all.n_work = n_jobs * a.n_matrices * all.row_blocks;
  if (const Status s = launch("launch experts_linear", a.format == Format::fp4 ? wide_experts_kernel<Format::fp4, kBlocks> : wide_experts_kernel<Format::fp8, kBlocks>,
                              {smaller(streaming_sms(), all.n_work)}, kWideThreads, wide_shared(a.format, kBlocks).bytes, stream, all);
      !s.ok())
    return s;
  for (int m = 0; shared_one && m < a.n_matrices; ++m) {
    Product p = all.p;
    p.format = a.matrix[m].shared.format;
    p.tiles = a.matrix[m].shared.tiles;
    p.scale = a.matrix[m].shared.scale;
    p.y = a.matrix[m].y;
    if (const Status s = multiply_codes(p, in, shared_at, n_slots, a.n_tokens, stream); !s.ok()) return s;
  }
  return {};
}

}  // namespace lares::kernels::cuda
