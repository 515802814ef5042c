#include "engine/cuda/host_experts.h"

#include <algorithm>
#include <bit>

#include "kernels/tiles.h"

namespace lares::engine::cuda {
namespace {

constexpr int kRows = 2 * kernels::kTileRows;  // of a matrix, that a thread takes at a time

float of_bf16(bf16 v) { return std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16); }
bf16 high_half(float v) { return static_cast<bf16>(std::bit_cast<std::uint32_t>(v) >> 16); }  // of one on the bf16 grid
bool quantises(const kernels::Matrix& m) { return m.format == kernels::Format::fp8 || m.format == kernels::Format::fp4; }

struct Offsets {
  std::uint64_t out, token_of, factor, all;
  Offsets(const Config& c, int n_max) {
    const auto n = static_cast<std::uint64_t>(n_max), D = static_cast<std::uint64_t>(c.hidden_size), k = static_cast<std::uint64_t>(c.num_experts_per_tok);
    out = n * D * sizeof(bf16);
    token_of = out + n * k * D * sizeof(bf16);
    factor = token_of + n * k * sizeof(std::int32_t);
    all = factor + n * k * sizeof(float);
  }
};

}  // namespace

std::uint64_t HostExperts::bytes(const Config& c, int n_max) { return Offsets(c, n_max).all; }

HostExperts::HostExperts(Device& device, const Config& c, int n_max, kernels::ThreadPool& pool, const kernels::Kernels& kernels)
    : device_(device), c_(c), pool_(pool), k_(kernels), memory_(device, bytes(c, n_max)) {
  if (!memory_) return;
  const Offsets at(c, n_max);
  normed_ = reinterpret_cast<bf16*>(memory_.data());
  out_ = reinterpret_cast<bf16*>(memory_.data() + at.out);
  token_of_ = reinterpret_cast<std::int32_t*>(memory_.data() + at.token_of);
  factor_ = reinterpret_cast<float*>(memory_.data() + at.factor);
}

// y [n, n_out] = x [n, n_in] W^T, rounded to bf16.
void HostExperts::multiply(const kernels::Matrix& m, const float* x, float* y, int n) {
  const float* packed = nullptr;
  if (m.tiles) {
    float* const to = room(packed_, static_cast<std::size_t>(n * kernels::packed_width(m.n_in)));
    k_.pack({.format = m.format, .x = x, .to = to, .x_stride = m.n_in, .n_in = m.n_in, .n_tokens = n});
    packed = to;
  }
  pool_.run((m.n_out + kRows - 1) / kRows, 1, [&](std::int64_t begin, std::int64_t end) {
    const int first = static_cast<int>(begin) * kRows, last = std::min(m.n_out, static_cast<int>(end) * kRows);
    if (packed) k_.linear_tiles({.w = m.tiles, .x = packed, .y = y, .y_stride = m.n_out, .n_tokens = n, .row_begin = first, .row_end = last, .round_bf16 = true});
    else k_.linear({.w = &m, .x = x, .y = y, .x_stride = m.n_in, .y_stride = m.n_out, .n_tokens = n, .row_begin = first, .row_end = last, .round_bf16 = true});
  });
}

void HostExperts::compute(const LayerWeights& layer, std::span<const char> resident, const std::int32_t* begin, const WorkSpace& w, int n) {
  const int D = c_.hidden_size, I = c_.moe_intermediate_size, E = c_.n_routed_experts;
  const auto slots = static_cast<std::size_t>(n) * static_cast<std::size_t>(c_.num_experts_per_tok);
  device_.to_host(token_of_, w.token_of, sizeof(std::int32_t) * slots);
  device_.to_host(factor_, w.factor, sizeof(float) * slots);
  device_.to_host(normed_, w.normed, sizeof(bf16) * static_cast<std::size_t>(n) * static_cast<std::size_t>(D));
  device_.synchronise();
  for (int e = 0; e < E; ++e) {
    const int first = begin[e], rows = begin[e + 1] - first;
    if (rows == 0 || resident[static_cast<std::size_t>(e)]) continue;
    const ExpertWeights& expert = layer.experts[static_cast<std::size_t>(e)];
    const auto count = static_cast<std::size_t>(rows);
    float* const x = room(x_, count * static_cast<std::size_t>(D));
    for (int r = 0; r < rows; ++r) {
      const bf16* const from = normed_ + static_cast<std::size_t>(token_of_[first + r]) * static_cast<std::size_t>(D);
      std::transform(from, from + D, x + static_cast<std::size_t>(r) * static_cast<std::size_t>(D), of_bf16);
    }
    if (quantises(expert.w1)) k_.quantise({.x = x, .stride = D, .n_rows = rows, .n = D, .block = 128});
    float* const gate = room(gate_, count * static_cast<std::size_t>(I));
    float* const up = room(up_, count * static_cast<std::size_t>(I));
    multiply(expert.w1, x, gate, rows);
    multiply(expert.w3, x, up, rows);
    k_.swiglu({.gate = gate, .up = up, .h = gate, .weight = factor_ + first, .stride = I, .n_rows = rows, .n = I, .limit = c_.swiglu_limit, .round_bf16 = true});
    if (quantises(expert.w2)) k_.quantise({.x = gate, .stride = I, .n_rows = rows, .n = I, .block = 128});
    float* const y = room(y_, count * static_cast<std::size_t>(D));
    multiply(expert.w2, gate, y, rows);
    bf16* const out = out_ + static_cast<std::size_t>(first) * static_cast<std::size_t>(D);
    std::transform(y, y + count * static_cast<std::size_t>(D), out, high_half);
    device_.to_device(w.out + static_cast<std::size_t>(first) * static_cast<std::size_t>(D), out, sizeof(bf16) * count * static_cast<std::size_t>(D));
  }
}

}  // namespace lares::engine::cuda
