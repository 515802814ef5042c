#include <fmt/format.h>

#include <algorithm>

#include "engine/bench/fill.h"
#include "engine/bench/runner.h"

namespace lares::engine::bench {
namespace {

using kernels::Format;

constexpr int kTokens[] = {1, 2, 4, 8, 96, 512};
constexpr int kSlabMin = 64;     // rows the engine hands to a thread
constexpr int kHeadRows = 4096;  // of the head, which alone would fill the arena

struct Case {
  const char* name;
  Format format;
  int n_out, n_in;
};

std::vector<Case> cases(const Config& c) {
  return {{"fp4 expert w1", Format::fp4, c.moe_intermediate_size, c.hidden_size},
          {"fp4 expert w2", Format::fp4, c.hidden_size, c.moe_intermediate_size},
          {"fp8 wq_b", Format::fp8, c.num_attention_heads * c.head_dim, c.q_lora_rank},
          {"fp8 wo_b", Format::fp8, c.hidden_size, c.o_groups * c.o_lora_rank},
          {"bf16 head slice", Format::bf16, std::min(kHeadRows, c.vocab_size), c.hidden_size},
          {"f32 hc_fn", Format::f32, (2 + c.hc_mult) * c.hc_mult, c.hc_mult * c.hidden_size}};
}

// Every thread takes slabs of rows of its own, one after the other through its share of the arena's
// matrices.
BenchRow linear_row(Runner& r, const Case& c, int n) {
  r.fill(c.format, c.n_in);
  const std::size_t stored = stored_bytes(c.format, c.n_out, c.n_in),
                    apart = (stored + 4095) / 4096 * 4096;
  const auto count = static_cast<std::int64_t>(r.arena.size() / apart);
  std::vector<kernels::Matrix> matrices;
  for (std::int64_t i = 0; i < count; ++i)
    matrices.push_back(
        lay_out(c.format, c.n_out, c.n_in, r.arena.data() + static_cast<std::size_t>(i) * apart));

  const Work whole = linear_work(c.format, c.n_out, c.n_in, n);
  // A thread's time for one matrix at the ceilings, which all threads share.
  const double whole_s = floor_s(whole, r.ceilings) * r.threads();
  const auto wanted =
      static_cast<int>(c.n_out * std::min(1.0, kTurnSeconds / whole_s)) / kSlabMin * kSlabMin;
  const int slab = std::min(c.n_out, std::max(kSlabMin, wanted));
  const std::int64_t slabs = c.n_out / slab,
                     reps = std::max<std::int64_t>(
                         1, static_cast<std::int64_t>(kTurnSeconds / whole_s));
  const std::int64_t share = std::max<std::int64_t>(1, count * slabs / r.threads());

  std::vector<float> x(static_cast<std::size_t>(n) * c.n_in),
      y(static_cast<std::size_t>(r.threads()) * n * slab);
  fill_activations(1, x.data(), x.size());
  const Turn turn = [&](int thread, std::int64_t t) {
    for (std::int64_t i = 0; i < reps; ++i) {
      const std::int64_t at = (thread * share + (t * reps + i) % share) % (count * slabs);
      const int row = static_cast<int>(at % slabs) * slab;
      r.kernels.linear({.w = &matrices[static_cast<std::size_t>(at / slabs)],
                        .x = x.data(),
                        .y = y.data() + static_cast<std::size_t>(thread) * n * slab,
                        .x_stride = c.n_in,
                        .y_stride = slab,
                        .n_tokens = n,
                        .row_begin = row,
                        .row_end = row + slab,
                        .y_row = row,
                        .round_bf16 = true});
    }
  };
  const double part = static_cast<double>(slab) / c.n_out *
                      static_cast<double>(reps);  // of a matrix, on each thread
  return r.time("kernels", c.name, fmt::format("[{}, {}] M={}", c.n_out, c.n_in, n),
                {whole.bytes * part, whole.flops * part, whole.unit}, part * r.threads(), turn);
}

}  // namespace

std::vector<Step> linear_steps(const Config& config) {
  std::vector<Step> steps;
  for (const Case& c : cases(config))
    for (const int n : kTokens)
      steps.push_back({fmt::format("{} M={}", c.name, n),
                       [c, n](Runner& r) { return std::vector{linear_row(r, c, n)}; }});
  return steps;
}

}  // namespace lares::engine::bench
