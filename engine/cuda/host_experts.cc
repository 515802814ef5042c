#include "engine/cuda/host_experts.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "kernels/tiles.h"

namespace lares::engine::cuda {
namespace {

constexpr int kRows = 2 * kernels::kTileRows;  // of a matrix, that a thread takes at a time
// Slots, or one expert's if those are more: so what lies between the products is bounded
constexpr int kRowsTogether = 512;

float of_bf16(bf16 v) { return std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16); }
bf16 high_half(float v) {
  return static_cast<bf16>(std::bit_cast<std::uint32_t>(v) >> 16);
}  // of one on the bf16 grid
bool quantises(const kernels::Matrix& m) {
  return m.format == kernels::Format::fp8 || m.format == kernels::Format::fp4;
}

struct Offsets {
  std::uint64_t out, token_of, factor, all;
  Offsets(const Config& c, int n_max) {
    const auto n = static_cast<std::uint64_t>(n_max), D = static_cast<std::uint64_t>(c.hidden_size),
               k = static_cast<std::uint64_t>(c.num_experts_per_tok);
    out = n * D * sizeof(bf16);
    token_of = out + n * k * D * sizeof(bf16);
    factor = token_of + n * k * sizeof(std::int32_t);
    all = factor + n * k * sizeof(float);
  }
};

}  // namespace

std::uint64_t HostExperts::bytes(const Config& c, int n_max) { return Offsets(c, n_max).all; }

HostExperts::HostExperts(Device& device, const Config& c, int n_max, kernels::ThreadPool& pool,
                         const kernels::Kernels& kernels)
    : device_(device), c_(c), pool_(pool), k_(kernels), memory_(device, bytes(c, n_max)) {
  if (!memory_) return;
  const Offsets at(c, n_max);
  normed_ = reinterpret_cast<bf16*>(memory_.data());
  out_ = reinterpret_cast<bf16*>(memory_.data() + at.out);
  token_of_ = reinterpret_cast<std::int32_t*>(memory_.data() + at.token_of);
  factor_ = reinterpret_cast<float*>(memory_.data() + at.factor);
}

// Every use's rows of x [rows, n_in] by its expert's matrices, rounded to bf16. All in one go, for
// threads wait for each other but once then.
void HostExperts::multiply(std::span<const Use> uses, std::span<const Product> products,
                           const float* x, int rows) {
  // a layer's experts are stored alike
  const kernels::Matrix& like = uses.front().expert->*products.front().which;
  const std::int64_t width = like.tiles ? kernels::packed_width(like.n_in) : like.n_in,
                     blocks = (like.n_out + kRows - 1) / kRows;
  const float* in = x;
  if (like.tiles) {
    float* const to = room(packed_, static_cast<std::size_t>(rows * width));
    each_row(rows, [&](int r) {
      k_.pack({.format = like.format,
               .x = x + static_cast<std::int64_t>(r) * like.n_in,
               .to = to + r * width,
               .x_stride = like.n_in,
               .n_in = like.n_in,
               .n_tokens = 1});
    });
    in = to;
  }
  const auto n_products = static_cast<std::int64_t>(products.size());
  pool_.run(
      static_cast<std::int64_t>(uses.size()) * n_products * blocks, 1,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const Use& use = uses[static_cast<std::size_t>(i / (n_products * blocks))];
          const Product& product = products[static_cast<std::size_t>(i / blocks % n_products)];
          const kernels::Matrix& m = use.expert->*product.which;
          const int first = static_cast<int>(i % blocks) * kRows,
                    last = std::min(m.n_out, first + kRows);
          const float* const from = in + use.at * width;
          float* const y = product.y + static_cast<std::int64_t>(use.at) * m.n_out + first;
          if (m.tiles)
            k_.linear_tiles({.w = m.tiles,
                             .x = from,
                             .y = y,
                             .y_stride = m.n_out,
                             .n_tokens = use.n,
                             .row_begin = first,
                             .row_end = last,
                             .y_row = first,
                             .round_bf16 = true});
          else
            k_.linear({.w = &m,
                       .x = from,
                       .y = y,
                       .x_stride = width,
                       .y_stride = m.n_out,
                       .n_tokens = use.n,
                       .row_begin = first,
                       .row_end = last,
                       .y_row = first,
                       .round_bf16 = true});
        }
      });
}

void HostExperts::compute_together(std::span<const Use> uses, int rows, const WorkSpace& w) {
  const std::int64_t D = c_.hidden_size, I = c_.moe_intermediate_size;
  slots_.resize(static_cast<std::size_t>(rows));
  for (const Use& use : uses)
    std::iota(slots_.begin() + use.at, slots_.begin() + use.at + use.n, use.first);
  const ExpertWeights& like = *uses.front().expert;
  float* const x = room(x_, static_cast<std::size_t>(rows * D));
  each_row(rows, [&](int r) {
    const bf16* const from = normed_ + token_of_[slots_[static_cast<std::size_t>(r)]] * D;
    std::transform(from, from + D, x + r * D, of_bf16);
    if (quantises(like.w1))
      k_.quantise(
          {.x = x + r * D, .stride = D, .n_rows = 1, .n = static_cast<int>(D), .block = 128});
  });
  float* const gate = room(gate_, static_cast<std::size_t>(rows * I));
  float* const up = room(up_, static_cast<std::size_t>(rows * I));
  multiply(uses, std::array{Product{&ExpertWeights::w1, gate}, Product{&ExpertWeights::w3, up}}, x,
           rows);
  each_row(rows, [&](int r) {
    float* const h = gate + r * I;
    k_.swiglu({.gate = h,
               .up = up + r * I,
               .h = h,
               .weight = factor_ + slots_[static_cast<std::size_t>(r)],
               .stride = I,
               .n_rows = 1,
               .n = static_cast<int>(I),
               .limit = c_.swiglu_limit,
               .round_bf16 = true});
    if (quantises(like.w2))
      k_.quantise({.x = h, .stride = I, .n_rows = 1, .n = static_cast<int>(I), .block = 128});
  });
  float* const y = room(y_, static_cast<std::size_t>(rows * D));
  multiply(uses, std::array{Product{&ExpertWeights::w2, y}}, gate, rows);
  each_row(rows, [&](int r) {
    std::transform(y + r * D, y + (r + 1) * D, out_ + slots_[static_cast<std::size_t>(r)] * D,
                   high_half);
  });
  for (const Use& use : uses)
    device_.to_device(w.out + use.first * D, out_ + use.first * D,
                      sizeof(bf16) * static_cast<std::size_t>(use.n * D));
}

void HostExperts::compute(const LayerWeights& layer, std::span<const char> resident,
                          const std::int32_t* begin, const WorkSpace& w, int n) {
  const auto slots = static_cast<std::size_t>(n) * static_cast<std::size_t>(c_.num_experts_per_tok);
  device_.to_host(token_of_, w.token_of, sizeof(std::int32_t) * slots);
  device_.to_host(factor_, w.factor, sizeof(float) * slots);
  device_.to_host(
      normed_, w.normed,
      sizeof(bf16) * static_cast<std::size_t>(n) * static_cast<std::size_t>(c_.hidden_size));
  device_.synchronise();
  int rows = 0;
  uses_.clear();
  const auto finish = [&] {
    if (rows > 0) compute_together(uses_, rows, w);
    uses_.clear();
    rows = 0;
  };
  for (std::size_t e = 0; e < resident.size(); ++e) {
    const int of = begin[e + 1] - begin[e];
    if (of == 0 || resident[e]) continue;
    if (rows + of > kRowsTogether) finish();
    uses_.push_back({&layer.experts[e], begin[e], of, rows});
    rows += of;
  }
  finish();
}

}  // namespace lares::engine::cuda
