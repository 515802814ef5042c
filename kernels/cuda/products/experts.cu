#include "kernels/cuda/products/experts_kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/products/experts_stream.h"
#include "kernels/cuda/products/wide.h"

namespace lares::kernels::cuda {
Status route(const RouteArgs& a, Stream stream) {
  if (a.n_tokens == 0) return {};
  if (a.n_experts > kExpertsMax || a.k > kExpertRanksMax || a.k > a.n_experts)
    return refused("route: more experts or ranks than the kernel takes");
  return launch("launch route", route_kernel, {a.n_tokens}, 32, a.n_experts * 4, stream, a);
}

Status group(const GroupArgs& a, Stream stream) {
  if (a.n_tokens == 0) return {};
  if (a.n_experts > kExpertsMax) return refused("group: more experts than the kernel takes");
  return launch("launch group", group_kernel, {a.n_experts + 1}, kGroupThreads,
                group_shared(a.n_experts), stream, a);
}

Status route_and_group(const RouteArgs& a, const GroupArgs& b, Stream stream) {
  if (a.n_tokens == 0) return {};
  if (a.n_experts > kExpertsMax || a.k > kExpertRanksMax || a.k > a.n_experts)
    return refused("route: more experts or ranks than the kernel takes");
  if (a.n_tokens > kTokensFew) return refused("route_and_group: more than few tokens");
  return launch("launch route_and_group", route_and_group_kernel, {1}, kGroupThreads,
                route_and_group_shared(a.n_tokens, a.n_experts, a.k), stream, a, b);
}

namespace {

// Where what enters is not laid out as it is made.
Status quantised_before(ExpertLinearArgs& a, Stream stream) {
  const SwigluArgs gated{.gate = a.x,
                         .up = a.up,
                         .factor = a.factor,
                         .h = nullptr,
                         .codes = a.quantised,
                         .code_scale = a.quantised_scale,
                         .stride = a.x_stride,
                         .scale_stride = a.code_scale_stride,
                         .n_rows = a.n_tokens * (a.k + 1),
                         .n = a.n_in,
                         .limit = a.limit};
  const bool laid = a.laid;
  a.x = a.up = nullptr;
  a.quantise = false;
  a.codes = a.quantised;
  a.code_scale = a.quantised_scale;
  return laid ? Status{} : swiglu(gated, stream);
}

}  // namespace

Status experts_linear(const ExpertLinearArgs& a, Stream stream, const Scratch& scratch) {
  if (a.n_tokens == 0) return {};
  if (a.format != Format::fp4 && a.format != Format::fp8)
    return refused("experts_linear: experts are fp4 or fp8");
  if (a.matrix[0].shared.tiles && a.matrix[0].shared.format != Format::fp8 &&
      a.matrix[0].shared.format != Format::fp4)
    return refused("experts_linear: the shared expert is fp4 or fp8");
  if (!a.codes && !(a.x && a.quantise))
    return refused("experts_linear: experts multiply codes only");
  if (!a.codes && a.n_tokens > kTokensFew &&
      (!a.up || a.row_of || !a.quantised || !a.quantised_scale))
    return refused("experts_linear: with many tokens gate and up alone are quantised on entry");
  if (a.n_in % kGroup != 0 || a.x_stride % 8 != 0)
    return refused("experts_linear: rows are not whole groups");
  if (a.up && (a.codes || !a.quantise || !a.factor))
    return refused("experts_linear: gate and up are quantised on entry");
  if (a.mixes.n_tokens > 0 && (a.mixes.n_tokens > kTokensFew || a.n_tokens > kTokensFew))
    return refused("experts_linear: mixes beside more than few tokens");
  const ExpertPlan plan = expert_plan(a);
  if (const int n_sms = streaming_sms(); plan.few && n_sms > 0)
    if (const StreamArgs args = stream_of(a, n_sms <= kScratchBlocks ? scratch : Scratch{});
        args.plan.slots > 0) {
      const int n = smaller(n_sms, args.rows);
      return launch("launch experts_linear",
                    args.kinds == kFp4        ? experts_stream_kernel<kFp4>
                    : args.kinds == kFp8Codes ? experts_stream_kernel<kFp8Codes>
                                              : experts_stream_kernel<kFp4 | kFp8Codes>,
                    {n}, kStreamThreads, args.plan.bytes, stream, args,
                    divisor(static_cast<std::uint32_t>(n)));
    }
  if (!plan.few && goes_wide(a)) return wide_experts(a, stream);
  if (!plan.few && !a.codes) {
    ExpertLinearArgs b = a;
    if (const Status s = quantised_before(b, stream); !s.ok()) return s;
    return experts_linear(b, stream, scratch);
  }
  return launch("launch experts_linear", plan.few ? experts_few_kernel : experts_many_kernel,
                {plan.x + (a.mixes.n_tokens > 0), plan.y}, kLinearThreads, plan.shared_bytes,
                stream, a, plan.n_jobs);
}

Status swiglu(const SwigluArgs& a, Stream stream) {
  if (a.n_rows == 0) return {};
  if (a.n % 8 != 0 || a.stride % 8 != 0) return refused("swiglu: rows are not whole words");
  return launch("launch swiglu", swiglu_kernel, {swiglu_blocks(a.n_rows, a.n)}, 256, 0, stream, a);
}

Status combine(const CombineArgs& a, Stream stream) {
  if (a.n_tokens == 0) return {};
  if (a.dim % 8 != 0) return refused("combine: the dimension is not a multiple of 8");
  return launch("launch combine", combine_kernel, {(a.dim + 1023) / 1024, a.n_tokens}, 256, 0,
                stream, a);
}

}  // namespace lares::kernels::cuda
