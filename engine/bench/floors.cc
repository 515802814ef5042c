#include "engine/bench/floors.h"

#include <algorithm>
#include <cmath>

namespace lares::engine::bench {
namespace {

constexpr double kFp4 = 0.5 + 1.0 / 32;  // bytes a weight, its share of the scale included

// Mean of f over the positions.
template <class F>
double mean(std::int64_t begin, int n, F f) {
  if (n == 1) return f(static_cast<double>(begin + 1));
  constexpr int kSteps = 64;
  double total = 0;
  for (int i = 0; i < kSteps; ++i) total += f(static_cast<double>(begin) + n * (i + 0.5) / kSteps);
  return total / kSteps;
}

}  // namespace

double bytes_s(const Work& w, const Ceilings& c) { return w.bytes / c.read; }
double flops_s(const Work& w, const Ceilings& c) {
  return w.flops / (w.unit == Unit::fp32 ? c.fp32 : w.unit == Unit::dot ? c.dot : c.int8);
}
double floor_s(const Work& w, const Ceilings& c) { return std::max(bytes_s(w, c), flops_s(w, c)); }

double floor_s(const std::vector<NamedWork>& works, const Ceilings& c) {
  double total = 0;
  for (const auto& w : works) total += floor_s(w.work, c);
  return total;
}

std::size_t stored_bytes(kernels::Format format, int n_out, int n_in) {
  const auto n = static_cast<std::size_t>(n_out) * static_cast<std::size_t>(n_in);
  switch (format) {
    case kernels::Format::f32:
      return 4 * n;
    case kernels::Format::bf16:
      return 2 * n;
    case kernels::Format::fp8:
      return n + static_cast<std::size_t>((n_out + 127) / 128) *
                     static_cast<std::size_t>((n_in + 127) / 128);
    case kernels::Format::fp4:
      return n / 2 + n / 32;
  }
  return 0;
}

Work linear_work(kernels::Format format, int n_out, int n_in, int n) {
  return {.bytes = static_cast<double>(stored_bytes(format, n_out, n_in)),
          .flops = 2.0 * n_out * n_in * n,
          .unit = format == kernels::Format::f32 ? Unit::fp32 : Unit::dot};
}

std::vector<NamedWork> layer_work(const Config& c, int ratio, std::int64_t begin, int n) {
  const double D = c.hidden_size, H = c.num_attention_heads, C = c.head_dim, R = c.qk_rope_head_dim,
               Q = c.q_lora_rank, G = c.o_groups, A = c.o_lora_rank, S = c.hc_mult,
               W = c.sliding_window, Hi = c.index_n_heads, Ci = c.index_head_dim, K = c.index_topk,
               E = c.n_routed_experts, I = c.moe_intermediate_size, k = c.num_experts_per_tok,
               M = n;
  const double entry = (C - R) + 2 * R + std::ceil((C - R) / 64 / 8) * 8, key = Ci / 2 + Ci / 32,
               mixes = (2 + S) * S;
  const double end = static_cast<double>(begin + n);
  const bool decode = n == 1;
  std::vector<NamedWork> out;
  const auto add = [&](const char* name, double bytes, double flops, Unit unit) {
    out.push_back({name, {bytes, flops, unit}});
  };

  for (const char* which : {"mix into attention", "mix into experts"})
    add(which, mixes * S * D * 4 + M * (S * D * 4 + D * 3), M * (mixes * S * D * 2 + S * D * 10),
        Unit::fp32);
  add("wq_a and wkv", (Q + C) * D + M * (D + (Q + C) * 2), 2 * M * D * (Q + C), Unit::dot);
  add("wq_b", Q * H * C + M * (Q + H * C * 2), 2 * M * Q * H * C, Unit::dot);
  add("kv row", M * (C * 2 + entry), M * C * 10, Unit::fp32);
  if (ratio != 0) {
    const double width = ratio == 4 ? 2 * C : C, row = 2 * width * 4;  // raw values and gates
    const bool again = decode && ratio == 4;  // a lone token reads the group before it back, too
    add("compressor", 2 * width * D * 2 + M * (D * 2 + row), 2 * M * D * 2 * width, Unit::dot);
    add("compressor pool", M * (row * (again ? 3 : 2) + entry / ratio),
        M / ratio * C * (ratio == 4 ? 8 : ratio) * 6, Unit::fp32);
  }
  double entries = 0;
  if (ratio == 4) {
    add("indexer compressor and weights", (4 * Ci + Hi) * D * 2 + M * (4 * Ci + Hi) * 4,
        2 * M * D * (4 * Ci + Hi), Unit::dot);
    add("indexer wq_b", Q * Hi * Ci + M * (Q + Hi * key), 2 * M * Q * Hi * Ci + M * Hi * Ci * 7,
        Unit::dot);
    add("indexer pool", M * (16 * Ci * (decode ? 3 : 2) + key / 4), M / 4 * Ci * 8 * 8, Unit::fp32);
    const double visible = mean(begin, n, [](double p) { return p / 4; });
    add("indexer scores", end / 4 * key + M * Hi * key + (decode ? visible * 4 : 0),
        M * visible * (Hi * Ci * 2 + Hi * 3), Unit::int8);
    add("top k", (decode ? visible * 4 : 0) + M * K * 4, 0, Unit::fp32);
    entries = mean(begin, n, [&](double p) { return std::min(p + 1, W) + std::min(p / 4, K); });
  } else {
    entries = mean(begin, n,
                   [&](double p) { return std::min(p + 1, W) + (ratio ? p / ratio : 0); });
  }
  const double rows = decode ? entries : (ratio ? end / ratio : W) + M;
  add("attention", rows * entry + M * H * C * 4, M * entries * 4 * H * C, Unit::dot);
  add("wo_a", A * H * C + M * (H * C * 2 + G * A * 2), 2 * M * A * H * C, Unit::dot);
  add("wo_b", G * A * D + M * (G * A + D * 2), 2 * M * G * A * D, Unit::dot);
  add("gate", E * D * 2 + M * D * 2, 2 * M * E * D, Unit::dot);
  const double distinct = E * (1 - std::pow(1 - k / E, M));
  add("experts w1, w3", distinct * 2 * I * D * kFp4 + M * k * (D + I), 2 * M * k * 2 * I * D,
      Unit::dot);
  add("experts w2", distinct * I * D * kFp4 + M * k * I + M * D * 4, 2 * M * k * I * D, Unit::dot);
  add("shared expert", 3 * I * D + M * (2 * D + 3 * I), 2 * M * 3 * I * D, Unit::dot);
  return out;
}

Work head_work(const Config& c) {
  const double D = c.hidden_size, V = c.vocab_size, S = c.hc_mult;
  return {.bytes = V * D * 2 + S * S * D * 4 + V * 4, .flops = 2 * V * D, .unit = Unit::dot};
}

}  // namespace lares::engine::bench
