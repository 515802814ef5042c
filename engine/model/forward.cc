#include "engine/model/forward.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/model/forward_chunk.h"

namespace lares::engine {
namespace {

constexpr int kRowsUnit = 16, kRowsUnitFloats = 4, kRowsUnitFew = 2 * kernels::kTileRows,
              kRowsUnitMany = 4 * kernels::kTileRows;  // rows a kernel computes at a time
constexpr int kManyTokens = 16;              // from which on kernels take so many rows together
constexpr int kTokensUnit = 64;              // tokens that share one pass over row-major weights
constexpr std::int64_t kPackUnit = 1 << 15;  // activations worth handing to another thread
// Multiply-adds worth handing to another thread (about 10 us)
constexpr std::int64_t kWorkUnit = 1 << 17;
constexpr int kFloatsCost = 4;  // ... of one with four bytes, which takes as long as reading them
// Of a thread, at most: a longer run of weights is read faster, a shorter one leaves less at the
// end
constexpr int kShares = 16;

}  // namespace

Forward::Forward(const Weights& weights, bool exact, kernels::ThreadPool& pool,
                 const kernels::Kernels& kernels)
    : weights_(weights), c_(weights.checkpoint.config()), exact_(exact), pool_(pool), k_(kernels) {
  const int R = c_.qk_rope_head_dim;
  for (auto& f : frequencies_) f.resize(R / 2);
  kernels::rope_frequencies(R, c_.rope_theta, 0, 1, 1, 1, frequencies_[0].data());
  kernels::rope_frequencies(R, c_.compress_rope_theta, c_.rope_original_len, c_.rope_factor,
                            c_.rope_beta_fast, c_.rope_beta_slow, frequencies_[1].data());
}

Forward::Chunk::Chunk(const Forward& forward, const LayerWeights& w, std::span<const Part> parts_of,
                      std::optional<std::int64_t> sees_from)
    : parts(parts_of.begin(), parts_of.end()),
      seen_from(sees_from),
      frequencies(forward.frequencies_[w.ratio != 0]),
      pairs(forward.c_.qk_rope_head_dim / 2) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    begin.push_back(n);
    for (int t = 0; t < parts[i].n; ++t)
      places.push_back({parts[i].position + t, static_cast<int>(i)});
    n += parts[i].n;
  }
  cos.resize(static_cast<std::size_t>(n) * pairs);
  sin.resize(cos.size());
  for (int t = 0; t < n; ++t)
    kernels::rope_angles(frequencies.data(), 2 * pairs, position(t),
                         cos.data() + static_cast<std::size_t>(t) * pairs,
                         sin.data() + static_cast<std::size_t>(t) * pairs);
}

// Shares the rows out among the threads. Tiles take all tokens in one pass; row-major weights are
// transposed again for every kTokensUnit, which then may as well be another thread's.
Forward::Shares Forward::shares_of(const Product& p, int n) const {
  const kernels::Matrix& w = *p.w;
  Shares s{.product = &p, .packed = nullptr};
  s.tiled = w.tiles && p.row_begin % kernels::kTileRows == 0 &&
            (p.groups == 1 || p.rows % kernels::kTileRows == 0);
  const bool floats = w.format == kernels::Format::f32 && n == 1;  // few rows, which are long
  s.unit = s.tiled ? kernels::even_pass(n) : kTokensUnit;
  s.rows_unit = floats            ? kRowsUnitFloats
                : !s.tiled        ? kRowsUnit
                : n < kManyTokens ? kRowsUnitFew
                                  : kRowsUnitMany;
  const int blocks = (p.rows + s.rows_unit - 1) / s.rows_unit;
  const std::int64_t work = static_cast<std::int64_t>(s.rows_unit) * w.n_in * std::min(n, s.unit) *
                            (floats ? kFloatsCost : 1);
  s.grain = std::max<std::int64_t>({1, kWorkUnit / work,
                                    static_cast<std::int64_t>(blocks) * p.groups /
                                        (static_cast<std::int64_t>(pool_.size()) * kShares)});
  s.pieces = (blocks + s.grain - 1) / s.grain;
  s.n_of_them = s.pieces * p.groups * ((n + s.unit - 1) / s.unit);
  return s;
}

void Forward::multiply(const Shares& s, std::int64_t i, int n) const {
  const Product& p = *s.product;
  const kernels::Matrix& w = *p.w;
  const std::int64_t piece = i % s.pieces, group = i / s.pieces % p.groups;
  const int t0 = static_cast<int>(i / (s.pieces * p.groups)) * s.unit,
            n_tokens = std::min(s.unit, n - t0);
  const int row = p.row_begin + static_cast<int>(group) * p.rows,
            first = row + static_cast<int>(piece * s.grain) * s.rows_unit,
            last = std::min(row + p.rows, first + static_cast<int>(s.grain) * s.rows_unit);
  if (s.tiled) {
    k_.linear_tiles({.w = w.tiles,
                     .x = s.packed + (group * n + t0) * kernels::packed_width(w.n_in),
                     .y = p.y + t0 * p.y_stride,
                     .y_stride = p.y_stride,
                     .n_tokens = n_tokens,
                     .row_begin = first,
                     .row_end = last,
                     .round_bf16 = p.round});
  } else {
    k_.linear({.w = &w,
               .x = p.x + t0 * p.x_stride + group * w.n_in,
               .y = p.y + t0 * p.y_stride,
               .x_stride = p.x_stride,
               .y_stride = p.y_stride,
               .n_tokens = n_tokens,
               .row_begin = first,
               .row_end = last,
               .round_bf16 = p.round});
  }
}

// All of them in one loop, so that no thread waits for the others between two: none may read what
// another writes.
void Forward::multiply(std::span<const Product> products, int n) {
  Shares all[kProductsMax];
  std::int64_t total = 0;
  std::size_t count = 0;
  for (const Product& p : products) total += (all[count++] = shares_of(p, n)).n_of_them;
  const std::span shares(all, count);
  pack(shares, n);
  each(total, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Shares* s = all;
      std::int64_t piece = i;
      for (; piece >= s->n_of_them; ++s) piece -= s->n_of_them;
      multiply(*s, piece, n);
    }
  });
}

// What enters tiles, in their processing order: [groups, n, packed width]. What several read is
// packed once.
void Forward::pack(std::span<Shares> all, int n) {
  const auto same = [](const Product& a, const Product& b) {
    return a.x == b.x && a.w->format == b.w->format && a.groups == b.groups;
  };
  const auto floats_of = [&](const Product& p) {
    return static_cast<std::size_t>(p.groups) * static_cast<std::size_t>(n) *
           static_cast<std::size_t>(kernels::packed_width(p.w->n_in));
  };
  std::size_t taken = 0, at[kProductsMax];
  const auto first_of = [&](std::size_t i) {
    std::size_t k = 0;
    while (k < i && !(all[k].tiled && same(*all[k].product, *all[i].product))) ++k;
    return k;
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].tiled) continue;
    const std::size_t first = first_of(i);
    at[i] = first < i ? at[first] : taken;
    if (first == i) taken += floats_of(*all[i].product);
  }
  float* const room_for_all = room(packed_, taken);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].tiled) continue;
    float* const to = room_for_all + at[i];
    all[i].packed = to;
    if (first_of(i) < i) continue;
    const Product& p = *all[i].product;
    const std::int64_t width = kernels::packed_width(p.w->n_in);
    each(static_cast<std::int64_t>(p.groups) * n, std::max<std::int64_t>(1, kPackUnit / width),
         [&](std::int64_t begin, std::int64_t end) {
           for (std::int64_t k = begin; k < end;) {
             const std::int64_t group = k / n, t = k % n, some = std::min(n - t, end - k);
             k_.pack({.format = p.w->format,
                      .x = p.x + t * p.x_stride + group * p.w->n_in,
                      .to = to + k * width,
                      .x_stride = p.x_stride,
                      .n_in = p.w->n_in,
                      .n_tokens = static_cast<int>(some)});
             k += some;
           }
         });
  }
}

void Forward::rms_norm(const float* x, const float* w, float* y, int n, int dim) {
  each(n, std::max(1, 16384 / dim), [&](std::int64_t begin, std::int64_t end) {
    k_.rms_norm({.x = x + begin * dim,
                 .w = w,
                 .y = y + begin * dim,
                 .x_stride = dim,
                 .y_stride = dim,
                 .n_rows = static_cast<int>(end - begin),
                 .dim = dim,
                 .eps = c_.rms_norm_eps,
                 .round_bf16 = !exact_});
  });
}

// What enters a matrix: in released numerics Q8_128 of x where it is fp8 or fp4; else x itself.
const float* Forward::entering(const kernels::Matrix& w, const float* x, int n, Buffer& buffer) {
  if (exact_ || !quantises(w)) return x;
  const int dim = w.n_in;
  float* to = room(buffer, static_cast<std::size_t>(n) * dim);
  each(n, std::max(1, 8192 / dim), [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(to + begin * dim, x + begin * dim, sizeof(float) * (end - begin) * dim);
    k_.quantise({.x = to + begin * dim,
                 .stride = dim,
                 .n_rows = static_cast<int>(end - begin),
                 .n = dim,
                 .block = 128});
  });
  return to;
}

void Forward::put_row(std::uint8_t* to, const float* from, int n) const {
  if (exact_) {
    std::memcpy(to, from, sizeof(float) * n);
    return;
  }
  for (int i = 0; i < n; ++i) {  // already on the bf16 grid
    const auto high = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(from[i]) >> 16);
    std::memcpy(to + 2 * i, &high, 2);
  }
}

// Row `token` of a matrix of bf16 or f32.
void Forward::look_up(const kernels::Matrix& table, Token token, float* row) const {
  const int width = table.n_in;
  const std::size_t at = static_cast<std::size_t>(token) * width;
  for (int i = 0; i < width; ++i)
    row[i] =
        table.format == kernels::Format::f32
            ? static_cast<const float*>(table.data)[at + i]
            : std::bit_cast<float>(
                  static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(table.data)[at + i])
                  << 16);
}

void Forward::embed(std::span<const Token> tokens, float* x) {
  const int D = c_.hidden_size, S = c_.hc_mult;
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    float* row = x + t * S * D;
    look_up(weights_.embed, tokens[t], row);
    for (int s = 1; s < S; ++s)
      std::memcpy(row + static_cast<std::size_t>(s) * D, row, sizeof(float) * D);
  }
}

void Forward::hyper_split(const HyperWeights& w, const float* x, int n, bool head) {
  const Trace::Span span(trace_, "hyper-connections");
  const int S = c_.hc_mult, D = c_.hidden_size, rows = w.fn.n_out;
  float* dots = room(dots_, static_cast<std::size_t>(n) * rows);
  linear(w.fn, x, static_cast<std::int64_t>(S) * D, dots, rows, n, false);
  float *pre = room(pre_, static_cast<std::size_t>(n) * S),
        *post = room(post_, static_cast<std::size_t>(n) * S);
  float* comb = room(comb_, static_cast<std::size_t>(n) * S * S);
  each(n, 8, [&](std::int64_t begin, std::int64_t end) {
    k_.hyper_split({.dots = dots + begin * rows,
                    .x = x + begin * S * D,
                    .scale = w.scale,
                    .base = w.base,
                    .pre = pre + begin * S,
                    .post = head ? nullptr : post + begin * S,
                    .comb = head ? nullptr : comb + begin * S * S,
                    .n_tokens = static_cast<int>(end - begin),
                    .n_streams = S,
                    .dim = D,
                    .iters = c_.hc_sinkhorn_iters,
                    .eps = c_.hc_eps,
                    .norm_eps = c_.rms_norm_eps});
  });
  float* sub = room(sub_, static_cast<std::size_t>(n) * D);
  each(n, std::max(1, 16384 / D), [&](std::int64_t begin, std::int64_t end) {
    k_.hyper_enter({.x = x + begin * S * D,
                    .pre = pre + begin * S,
                    .y = sub + begin * D,
                    .n_tokens = static_cast<int>(end - begin),
                    .n_streams = S,
                    .dim = D,
                    .round_bf16 = !exact_});
  });
}

void Forward::layer(const LayerWeights& w, std::span<const Part> parts,
                    std::span<const Token> tokens, float* x) {
  layer(w, Chunk(*this, w, parts), tokens, x);
}

void Forward::layer(const LayerWeights& w, LayerState& state, std::int64_t position,
                    std::span<const Token> tokens, float* x,
                    std::optional<std::int64_t> seen_from) {
  const Part part{&state, position, static_cast<int>(tokens.size())};
  layer(w, Chunk(*this, w, {&part, 1}, seen_from), tokens, x);
}

void Forward::layer(const LayerWeights& w, const Chunk& chunk, std::span<const Token> tokens,
                    float* x) {
  const int n = chunk.n, D = c_.hidden_size, S = c_.hc_mult;
  const Trace::Span span(trace_,
                         w.ratio == 0   ? "layer (window)"
                         : w.ratio == 4 ? "layer (CSA)"
                                        : "layer (HCA)",
                         "layer", w.index);
  float* normed = room(normed_, static_cast<std::size_t>(n) * D);
  float* y = room(y_, static_cast<std::size_t>(n) * D);
  const auto leave = [&] {
    const Trace::Span leaving(trace_, "hyper-connections");
    each(n, std::max(1, 16384 / D), [&](std::int64_t begin, std::int64_t end) {
      k_.hyper_leave({.x = x + begin * S * D,
                      .y = y + begin * D,
                      .post = post_.data() + begin * S,
                      .comb = comb_.data() + begin * S * S,
                      .n_tokens = static_cast<int>(end - begin),
                      .n_streams = S,
                      .dim = D,
                      .round_bf16 = !exact_});
    });
  };
  hyper_split(w.hc_attn, x, n, false);
  rms_norm(sub_.data(), w.attn_norm, normed, n, D);
  attention(w, chunk, normed, y);
  leave();
  hyper_split(w.hc_ffn, x, n, false);
  rms_norm(sub_.data(), w.ffn_norm, normed, n, D);
  moe(w, tokens, normed, y);
  leave();
}

bool Forward::evaluate(std::span<const Sequence> sequences, std::span<const Token> tokens, float* x,
                       const std::function<bool(int, const float*)>& after) {
  const Trace::Span span(trace_, "evaluate", "tokens", static_cast<std::int64_t>(tokens.size()));
  embed(tokens, x);
  for (const Sequence& s : sequences) s.state->open(s.state->size(), s.n);
  std::vector<Part> parts(sequences.size());
  for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
    expect_experts(weights_.layers[i], tokens);  // read while attention is computed
    for (std::size_t k = 0; k < sequences.size(); ++k)
      parts[k] = {&sequences[k].state->layer(static_cast<int>(i)), sequences[k].state->size(),
                  sequences[k].n};
    layer(weights_.layers[i], parts, tokens, x);
    if (after && !after(static_cast<int>(i), x)) return false;
  }
  for (const Sequence& s : sequences) s.state->advance(s.n);
  return true;
}

void Forward::head(const HyperWeights& hyper, const float* norm, const float* x, int n,
                   float* logits) {
  const Trace::Span span(trace_, "head", "tokens", n);
  hyper_split(hyper, x, n, true);
  float* normed = room(normed_, static_cast<std::size_t>(n) * c_.hidden_size);
  rms_norm(sub_.data(), norm, normed, n, c_.hidden_size);
  linear(weights_.head, normed, c_.hidden_size, logits, c_.vocab_size, n, false);
}

}  // namespace lares::engine
