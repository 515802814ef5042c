// The kernels beside the matrices. Every thread has calls of its own, as in prefill; a row's time
// is that of one call.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/bench/fill.h"
#include "engine/bench/runner.h"

namespace lares::engine::bench {
namespace {

using kernels::Format;

constexpr int kIndexKeys = 4096;  // of a call, in runs of
constexpr int kIndexRun = 64;
constexpr int kSplitTokens[] = {1, 64};
constexpr std::int64_t kPositions = 262144 * 4;  // 1M tokens leave 262,144 entries to choose from

// Calls of a turn, so that it takes about kTurnSeconds at the ceilings; and their work.
struct Calls {
  Work work;
  int n;
};
Calls calls(const Runner& r, const Work& one) {
  const double s = floor_s({one.bytes * r.threads(), one.flops * r.threads(), one.unit},
                           r.ceilings);
  const int n = static_cast<int>(std::clamp(kTurnSeconds / s, 1.0, 1e5));
  return {{one.bytes * n, one.flops * n, one.unit}, n};
}

std::vector<float> activations(std::size_t n, std::uint64_t seed) {
  std::vector<float> v(n);
  fill_activations(seed, v.data(), n);
  return v;
}

// `rows` rows of `width` floats in the arena, where turn `turn` of the thread lies.
float* rows_at(const Runner& r, int thread, std::int64_t turn, std::int64_t rows,
               std::int64_t width) {
  return reinterpret_cast<float*>(
      r.place(thread, r.threads(), turn, sizeof(float) * static_cast<std::size_t>(rows * width)));
}

BenchRow rms_norm_row(Runner& r) {
  r.fill(Format::f32, 1);
  const int D = r.config.hidden_size;
  const auto w = activations(static_cast<std::size_t>(D), 2);
  const Calls c = calls(r, {.bytes = 8.0 * D, .flops = 0, .unit = Unit::fp32});
  const Turn turn = [&](int thread, std::int64_t t) {
    float* x = rows_at(r, thread, t, 2 * c.n, D);
    r.kernels.rms_norm({.x = x,
                        .w = w.data(),
                        .y = x + static_cast<std::ptrdiff_t>(c.n) * D,
                        .x_stride = D,
                        .y_stride = D,
                        .n_rows = c.n,
                        .dim = D,
                        .eps = r.config.rms_norm_eps,
                        .round_bf16 = true});
  };
  return r.time("kernels", "rms_norm", fmt::format("a row of {}", D), c.work, c.n, turn);
}

BenchRow quantise_row(Runner& r, bool fp4) {
  r.fill(Format::f32, 1);
  const int D = r.config.hidden_size;
  const Calls c = calls(r, {.bytes = 8.0 * D, .flops = 0, .unit = Unit::fp32});
  const Turn turn = [&](int thread, std::int64_t t) {
    r.kernels.quantise({.x = rows_at(r, thread, t, c.n, D),
                        .stride = D,
                        .n_rows = c.n,
                        .n = D,
                        .block = fp4 ? 32 : 128,
                        .fp4 = fp4});
  };
  return r.time("kernels", fp4 ? "quantise fp4" : "quantise fp8", fmt::format("a row of {}", D),
                c.work, c.n, turn);
}

BenchRow rope_row(Runner& r) {
  r.fill(Format::f32, 1);
  const int C = r.config.head_dim, R = r.config.qk_rope_head_dim;
  std::vector<float> frequencies(static_cast<std::size_t>(R) / 2);
  std::vector<double> cos(frequencies.size()), sin(frequencies.size());
  kernels::rope_frequencies(R, r.config.rope_theta, 0, 1, 1, 1, frequencies.data());
  kernels::rope_angles(frequencies.data(), R, 4711, cos.data(), sin.data());
  const Calls c = calls(r, {.bytes = 8.0 * R, .flops = 0, .unit = Unit::fp32});
  const int n = std::min(
      c.n, static_cast<int>(r.arena.size() / 4 / (sizeof(float) * static_cast<std::size_t>(C)) /
                            static_cast<std::size_t>(r.threads())));
  const Turn turn = [&](int thread, std::int64_t t) {
    r.kernels.rope({.x = rows_at(r, thread, t, n, C) + C - R,
                    .stride = C,
                    .n_rows = n,
                    .dim = R,
                    .cos = cos.data(),
                    .sin = sin.data(),
                    .inverse = t % 2 == 1,
                    .round_bf16 = true});
  };
  return r.time("kernels", "rope", fmt::format("{} of a row of {}", R, C),
                {8.0 * R * n, 0, Unit::fp32}, n, turn);
}

BenchRow split_row(Runner& r, int tokens) {
  r.fill(Format::f32, 1);
  const int D = r.config.hidden_size, S = r.config.hc_mult, mixes = (2 + S) * S;
  const Calls c = calls(
      r, {.bytes = 4.0 * S * D * tokens, .flops = 2.0 * S * D * tokens, .unit = Unit::fp32});
  const auto dots = activations(static_cast<std::size_t>(tokens) * mixes, 3),
             scale = activations(3, 4), base = activations(static_cast<std::size_t>(mixes), 5);
  std::vector<float> out(static_cast<std::size_t>(r.threads()) * tokens *
                         static_cast<std::size_t>(2 * S + S * S));
  const Turn turn = [&](int thread, std::int64_t t) {
    float* pre = out.data() + static_cast<std::size_t>(thread) * tokens *
                                  static_cast<std::size_t>(2 * S + S * S);
    const float* x = rows_at(r, thread, t, static_cast<std::int64_t>(c.n) * tokens,
                             static_cast<std::int64_t>(S) * D);
    for (int i = 0; i < c.n; ++i)
      r.kernels.hyper_split({.dots = dots.data(),
                             .x = x + static_cast<std::ptrdiff_t>(i) * tokens * S * D,
                             .scale = scale.data(),
                             .base = base.data(),
                             .pre = pre,
                             .post = pre + tokens * S,
                             .comb = pre + 2 * tokens * S,
                             .n_tokens = tokens,
                             .n_streams = S,
                             .dim = D,
                             .iters = r.config.hc_sinkhorn_iters,
                             .eps = r.config.hc_eps,
                             .norm_eps = r.config.rms_norm_eps});
  };
  return r.time("kernels", "hyper split",
                fmt::format("[{}, {}, {}], {} sweeps", tokens, S, D, r.config.hc_sinkhorn_iters),
                c.work, c.n, turn);
}

constexpr double kIndexerAsked = 0.75;  // of the peak

BenchRow index_row(Runner& r) {
  const int H = r.config.index_n_heads, d = r.config.index_head_dim;
  auto q = activations(static_cast<std::size_t>(H) * d, 6);
  const auto w = activations(static_cast<std::size_t>(H), 7);
  r.kernels.quantise({.x = q.data(), .stride = d, .n_rows = H, .n = d, .block = 32, .fp4 = true});
  const std::size_t bytes = kernels::index_key_bytes(d) * kIndexKeys;
  r.filled = -1;
  r.team.run([&](int thread) {
    fill_index_keys(d, static_cast<std::uint64_t>(thread), r.place(thread, r.threads(), 0, bytes),
                    r.share(r.threads()) / bytes * bytes);
  });
  std::vector<float> score(static_cast<std::size_t>(r.threads()) * kIndexKeys),
      scratch(static_cast<std::size_t>(r.threads()) * kernels::index_scratch(H, d));
  const Work one{static_cast<double>(bytes), 2.0 * H * d * kIndexKeys, Unit::int8};
  const Turn turn = [&](int thread, std::int64_t t) {
    const std::uint8_t* const at = r.place(thread, r.threads(), t, bytes);
    const std::uint8_t* runs[kIndexKeys / kIndexRun];  // as pages of a sequence have them
    for (int i = 0; i < kIndexKeys / kIndexRun; ++i)
      runs[i] = at + static_cast<std::size_t>(i) * (bytes / (kIndexKeys / kIndexRun));
    r.kernels.index_scores({.q = q.data(),
                            .w = w.data(),
                            .keys = runs,
                            .cell = Format::fp4,
                            .score = score.data() + static_cast<std::size_t>(thread) * kIndexKeys,
                            .scratch = scratch.data() + static_cast<std::size_t>(thread) *
                                                            kernels::index_scratch(H, d),
                            .n_keys = kIndexKeys,
                            .n_heads = H,
                            .dim = d,
                            .run = kIndexRun});
  };
  BenchRow row = r.time("kernels", "indexer scores",
                        fmt::format("{} keys, {} heads of {}", kIndexKeys, H, d), one, 1, turn);
  if (!r.small()) row.asked = kIndexerAsked;
  return row;
}

BenchRow top_k_row(Runner& r) {
  constexpr int n = kPositions / 4;
  const int k = r.config.index_topk;
  r.fill(Format::f32, 1);
  std::vector<std::uint32_t> scratch(static_cast<std::size_t>(r.threads()) * n);
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(r.threads()) *
                                   static_cast<std::size_t>(k));
  const Turn turn = [&](int thread, std::int64_t t) {
    kernels::top_k(rows_at(r, thread, t, 1, n), n, k,
                   scratch.data() + static_cast<std::size_t>(thread) * n,
                   chosen.data() + static_cast<std::size_t>(thread) * static_cast<std::size_t>(k));
  };
  return r.time("kernels", "top k", fmt::format("{} of {}", k, n), {4.0 * n, 0, Unit::fp32}, 1,
                turn);
}

BenchRow attention_row(Runner& r) {
  r.fill(Format::bf16, 1);
  const int H = r.config.num_attention_heads, C = r.config.head_dim,
            n = r.config.sliding_window + r.config.index_topk;
  const auto q = activations(static_cast<std::size_t>(H) * C, 8),
             sink = activations(static_cast<std::size_t>(H), 9);
  const std::size_t space = kernels::attention_scratch(n, H, C, Format::bf16),
                    cell = 2 * static_cast<std::size_t>(C);
  std::vector<float> scratch(static_cast<std::size_t>(r.threads()) * space),
      out(static_cast<std::size_t>(r.threads()) * q.size());
  std::vector<const void*> rows(static_cast<std::size_t>(r.threads()) *
                                static_cast<std::size_t>(n));
  const Work one{static_cast<double>(cell) * n, 4.0 * H * C * n, Unit::dot};
  const Turn turn = [&](int thread, std::int64_t t) {
    // Rows lie apart, ascending, as the chosen entries do.
    const std::uint8_t* at = r.place(thread, r.threads(), t,
                                     4 * cell * static_cast<std::size_t>(n));
    const void** mine = rows.data() +
                        static_cast<std::size_t>(thread) * static_cast<std::size_t>(n);
    for (int i = 0; i < n; ++i) mine[i] = at + 4 * cell * static_cast<std::size_t>(i);
    kernels::attention(r.kernels,
                       {.q = q.data(),
                        .rows = mine,
                        .cell = Format::bf16,
                        .sink = sink.data(),
                        .out = out.data() + static_cast<std::size_t>(thread) * q.size(),
                        .scratch = scratch.data() + static_cast<std::size_t>(thread) * space,
                        .n_rows = n,
                        .n_heads = H,
                        .head_dim = C,
                        .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(C))),
                        .released = true});
  };
  return r.time("kernels", "attention", fmt::format("{} rows, {} heads of {}", n, H, C), one, 1,
                turn);
}

}  // namespace

std::vector<Step> operation_steps() {
  std::vector<Step> steps;
  const auto add = [&](std::string name, auto row) {
    steps.push_back({std::move(name), [row](Runner& r) { return std::vector{row(r)}; }});
  };
  add("indexer scores", index_row);
  add("attention", attention_row);
  add("top k", top_k_row);
  for (const int n : kSplitTokens)
    add(fmt::format("hyper split of {}", n), [n](Runner& r) { return split_row(r, n); });
  add("rms_norm", rms_norm_row);
  add("quantise fp8", [](Runner& r) { return quantise_row(r, false); });
  add("quantise fp4", [](Runner& r) { return quantise_row(r, true); });
  add("rope", rope_row);
  return steps;
}

}  // namespace lares::engine::bench
