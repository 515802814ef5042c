#include "kernels/cuda/launch.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/products/linear_kernels.h"
#include "kernels/cuda/products/linear_stream.h"
#include "kernels/cuda/products/wide.h"
#include "kernels/cuda/quantise.h"

namespace lares::kernels::cuda {
namespace {

template <Format format, bool codes_in>
Status many(const Product& p, int n_tokens, Stream stream) {
  constexpr int kTokens = many_tokens(format);
  return launch("launch linear", linear_many_kernel<format, codes_in>,
                {many_row_blocks(p), (n_tokens + kTokens - 1) / kTokens}, kLinearThreads,
                many_shared(kTokens), stream, p, n_tokens);
}
// Whether what enters b is laid out already, for a.
bool same_rows(const Product& a, const Product& b) {
  const auto columns = [](const Product& p) {
    return static_cast<std::int64_t>(p.n_in) * (p.n_out / p.rows_per_group);
  };
  return a.codes_in && b.codes_in && a.room == b.room && a.codes == b.codes &&
         a.quantise == b.quantise && (!a.quantise || a.x == b.x) && a.code_scale == b.code_scale &&
         a.code_scale_stride == b.code_scale_stride && a.x_stride == b.x_stride &&
         columns(a) == columns(b);
}
// Where what enters is not laid out as it is quantised: before the product.
Status quantised_before(Product& p, int n_tokens, Stream stream) {
  const int columns = p.n_out / p.rows_per_group * p.n_in;
  p.quantise = false;
  p.codes = p.quantised;
  p.code_scale = p.quantised_scale;
  return cuda::quantise({.x = p.x,
                         .codes = p.quantised,
                         .scale = p.quantised_scale,
                         .x_stride = p.x_stride,
                         .codes_stride = p.x_stride,
                         .scale_stride = p.code_scale_stride,
                         .n_rows = n_tokens,
                         .n = columns},
                        stream);
}

// What a boundary left, by a launch that has no products.
Status left_apart(const HyperMixes& mixes, Stream stream) {
  Products none;
  none.mixes = mixes;
  return launch("launch linear", linear_few_kernel<Few::fp8_codes>, {1}, kLinearThreads, 0, stream,
                none);
}
// Where blocks cannot norm what enters: before the products.
Status normed_before(Products& all, Stream stream) {
  const Product p = all.item[0];
  const RmsNormArgs norm{.x = p.x,
                         .w = p.norm,
                         .y = nullptr,
                         .codes = p.quantised,
                         .code_scale = p.quantised_scale,
                         .x_stride = p.x_stride,
                         .y_stride = 0,
                         .codes_stride = p.x_stride,
                         .code_scale_stride = p.code_scale_stride,
                         .n_rows = all.n_tokens,
                         .dim = p.n_in,
                         .eps = p.norm_eps};
  for (Product& of : std::span(all.item, static_cast<std::size_t>(all.n))) {
    of.quantise = false;
    of.norm = nullptr;
    of.codes = p.quantised;
    of.code_scale = p.quantised_scale;
  }
  return rms_norm(norm, stream);
}

}  // namespace

Status linear(std::span<const LinearArgs> together, Stream stream, const Scratch& scratch,
              const HyperMixes& mixes) {
  if (together.empty() || together[0].n_tokens == 0) return {};
  Products all;
  if (const Status s = products(together, all); !s.ok()) return s;
  if (mixes.n_tokens > 0 && (mixes.n_tokens > kTokensFew || all.n_tokens > kTokensFew))
    return refused("linear: mixes beside more than few tokens");
  all.mixes = mixes;
  if (all.n_tokens > kTokensFew) {
    for (int i = 0; i < all.n; ++i) {
      Product& p = all.item[i];
      if (p.quantise && !goes_wide(p))
        if (const Status s = quantised_before(p, all.n_tokens, stream); !s.ok()) return s;
      const Status s = goes_wide(p) ? wide_linear(p, all.n_tokens,
                                                  i > 0 && goes_wide(all.item[i - 1]) &&
                                                      same_rows(all.item[i - 1], p),
                                                  stream)
                       : p.format == Format::bf16
                           ? many<Format::bf16, false>(p, all.n_tokens, stream)
                       : p.format == Format::fp4 ? many<Format::fp4, true>(p, all.n_tokens, stream)
                       : p.codes_in              ? many<Format::fp8, true>(p, all.n_tokens, stream)
                                    : many<Format::fp8, false>(p, all.n_tokens, stream);
      if (!s.ok()) return s;
    }
    return {};
  }
  const int n_sms = streaming_sms();
  StreamArgs args = stream_of(all, n_sms <= kScratchBlocks ? scratch : Scratch{});
  const bool alike = n_sms > 0 && args.plan.slots > 0 && args.kinds == kFp8Codes;
  if (all.item[0].norm && !alike) {
    if (const Status s = normed_before(all, stream); !s.ok()) return s;
    args = stream_of(all, n_sms <= kScratchBlocks ? scratch : Scratch{});
  }
  if (n_sms > 0 && args.plan.slots > 0) {
    if (mixes.n_tokens > 0 && !alike)
      if (const Status s = left_apart(mixes, stream); !s.ok()) return s;
    const int n = smaller(smaller(n_sms, args.rows), kScratchBlocks);
    return launch("launch linear",
                  args.kinds == kFp8Codes   ? linear_stream_kernel<kFp8Codes>
                  : args.kinds == kFp8Plain ? linear_stream_kernel<kFp8Plain>
                  : args.kinds == kBf16     ? linear_stream_kernel<kBf16>
                  : args.kinds == (kFp8Codes | kBf16)
                      ? linear_stream_kernel<kFp8Codes | kBf16>
                      : linear_stream_kernel<kFp8Codes | kFp8Plain | kBf16 | kFp4>,
                  {n}, kStreamThreads, args.plan.bytes, stream, args, shares_of(args, n));
  }
  int blocks = 0, bytes = 0;
  for (int i = 0; i < all.n; ++i) {
    all.item[i].first_block = blocks;
    blocks += few_blocks(all.item[i]);
    bytes = larger(
        bytes, few_shared(all.n_tokens, all.item[i].n_in, tile_sums_of(all.item[i].format)).bytes);
  }
  all.n_blocks = blocks;
  const Few few = few_of(all);
  return launch("launch linear",
                few == Few::bf16_plain  ? linear_few_kernel<Few::bf16_plain>
                : few == Few::fp8_plain ? linear_few_kernel<Few::fp8_plain>
                : few == Few::fp8_codes ? linear_few_kernel<Few::fp8_codes>
                                        : linear_few_kernel<Few::any>,
                {blocks + (mixes.n_tokens > 0)}, kLinearThreads, bytes, stream, all);
}

}  // namespace lares::kernels::cuda
