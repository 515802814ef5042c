#include "kernels/cuda/products/linear_plan.h"

namespace lares::kernels::cuda {
namespace {

constexpr Status refused(const char* why) { return {Status::kRefused, why}; }
bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

}  // namespace

Status product(const LinearArgs& a, Product& to) {
  const Weight& w = a.w;
  if (w.format == Format::f32) return refused("linear: weights of f32 have no tiles");
  if (w.n_in % kGroup != 0) return refused("linear: n_in is not a multiple of 32");
  if (!a.codes && !a.x) return refused("linear: neither x nor codes");
  const bool codes_in = a.codes || a.quantise;
  if (w.format == Format::bf16 && codes_in)
    return refused("linear: bf16 weights do not multiply codes");
  if (w.format == Format::fp4 && !codes_in)
    return refused("linear: fp4 weights multiply codes only");
  if (a.quantise && !a.codes && a.n_tokens > kTokensFew && (!a.quantised || !a.quantised_scale))
    return refused("linear: with many tokens what is quantised on entry needs memory for it");
  if (a.x_stride % 8 != 0 || !aligned(a.codes ? static_cast<const void*>(a.codes) : a.x))
    return refused("linear: x is not aligned to 16 bytes");
  if (a.rows_per_group != 0 &&
      (a.rows_per_group % kTileRows != 0 || w.n_out % a.rows_per_group != 0))
    return refused("linear: groups are not whole tiles of rows");
  if (a.rows_per_group != 0 && codes_in && w.n_in % kScaleBlock != 0)
    return refused("linear: groups of codes are not whole blocks");
  if (a.norm && (!a.quantise || a.codes || a.n_tokens > kTokensFew || a.rows_per_group != 0 ||
                 !a.quantised || !a.quantised_scale))
    return refused(
        "linear: what is normed on entry is few tokens' x, and has memory for its codes");
  to = {.format = w.format,
        .codes_in = codes_in,
        .quantise = a.quantise && !a.codes,
        .y_f32 = a.y_f32,
        .wgmma = a.wgmma,
        .tiles = w.tiles,
        .scale = w.scale,
        .x = a.x,
        .norm = a.norm,
        .norm_eps = a.norm_eps,
        .codes = a.codes,
        .code_scale = a.code_scale,
        .quantised = a.quantised,
        .quantised_scale = a.quantised_scale,
        .y = a.y,
        .room = a.room,
        .x_stride = a.x_stride,
        .code_scale_stride = a.code_scale_stride,
        .y_stride = a.y_stride,
        .n_out = w.n_out,
        .n_in = w.n_in,
        .rows_per_group = a.rows_per_group ? a.rows_per_group : w.n_out,
        .first_block = 0};
  return {};
}

Status products(std::span<const LinearArgs> together, Products& to) {
  if (together.size() > kLinearTogether)
    return refused("linear: more than kLinearTogether products in one launch");
  to.n = static_cast<int>(together.size());
  to.n_tokens = together[0].n_tokens;
  for (std::size_t i = 0; i < together.size(); ++i) {
    if (together[i].n_tokens != to.n_tokens)
      return refused("linear: products of one launch have different tokens");
    if (const Status s = product(together[i], to.item[i]); !s.ok()) return s;
    const Product &p = to.item[i], &first = to.item[0];
    if (p.norm != first.norm || (p.norm && (p.x != first.x || p.n_in != first.n_in)))
      return refused("linear: of a launch all products' x is normed, and the same, or none's");
  }
  return {};
}

}  // namespace lares::kernels::cuda
