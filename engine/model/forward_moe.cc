#include <algorithm>
#include <cstring>
#include <optional>

#include "engine/model/forward.h"
#include "engine/model/forward_chunk.h"

namespace lares::engine {
namespace {

// Rows of one expert's matrix a thread takes at a time, where experts see few tokens and are read,
// and where they see many.
constexpr int kExpertRowsFew = 256, kExpertRowsMany = 64;
constexpr int kFewTokens = 8;

// Floats from one slot's outputs to the next: an odd number of lines, so that those of one column
// do not share a set of a cache.
std::int64_t apart(int n) { return (n / 32 * 2 + 1) * 16; }

struct Group {
  const ExpertWeights* expert;
  int slot, n;  // its rows in the buffers
};

}  // namespace

// Where the routes are a function of the tokens they are known before anything is computed.
void Forward::expect_experts(const LayerWeights& w, std::span<const Token> tokens) {
  if (!experts_ || !w.tid2eid) return;
  std::vector<std::int32_t> named;
  for (const Token t : tokens) {
    const std::int64_t* row = w.tid2eid + static_cast<std::int64_t>(t) * c_.num_experts_per_tok;
    for (int i = 0; i < c_.num_experts_per_tok; ++i)
      named.push_back(static_cast<std::int32_t>(w.index * c_.n_routed_experts + row[i]));
  }
  std::sort(named.begin(), named.end());
  named.erase(std::unique(named.begin(), named.end()), named.end());
  experts_->expect(named);
}

// counts: tokens sent to each of the layer's experts.
void Forward::use_experts(const LayerWeights& w, std::span<const int> counts, int n) {
  if (!experts_) return;
  std::vector<std::int32_t> named, tokens;
  for (int e = 0; e < c_.n_routed_experts; ++e)
    if (counts[e] > 0) {
      named.push_back(w.index * c_.n_routed_experts + e);
      tokens.push_back(counts[e]);
    }
  experts_->use(named, tokens, static_cast<double>(n) / c_.num_hidden_layers);
}

// kernels/moe.h. Every (token, expert) pair is a slot; slots of one expert lie together, the
// shared expert's come last.
void Forward::moe(const LayerWeights& w, std::span<const Token> tokens, const float* x, float* y) {
  const int n = static_cast<int>(tokens.size()), D = c_.hidden_size, I = c_.moe_intermediate_size,
            E = c_.n_routed_experts;
  const int k = c_.num_experts_per_tok, n_slots = n * (k + 1);
  std::optional<Trace::Span> span(std::in_place, trace_, "experts: route");
  float* u = room(u_, static_cast<std::size_t>(n) * E);
  linear(w.gate, x, D, u, E, n, false);
  std::vector<std::int32_t> expert(static_cast<std::size_t>(n) * k), slot_of(expert.size());
  std::vector<float> weight(expert.size());
  each(n, 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch(E);
    for (std::int64_t t = begin; t < end; ++t)
      kernels::route(
          {.u = u + t * E,
           .bias = w.gate_bias,
           .given = w.tid2eid ? w.tid2eid + static_cast<std::int64_t>(tokens[t]) * k : nullptr,
           .expert = expert.data() + t * k,
           .weight = weight.data() + t * k,
           .scratch = scratch.data(),
           .n_experts = E,
           .k = k,
           .factor = c_.routed_scaling_factor});
  });

  std::vector<int> count(E + 1, 0);
  for (const auto e : expert) ++count[e + 1];
  use_experts(w, std::span(count).subspan(1), n);
  for (int e = 0; e < E; ++e) count[e + 1] += count[e];
  std::vector<Group> groups;
  for (int e = 0; e < E; ++e)
    if (count[e + 1] > count[e])
      groups.push_back({&w.experts[e], count[e], count[e + 1] - count[e]});
  groups.push_back({&w.shared, n * k, n});
  const bool tiles = w.shared.w1.tiles != nullptr;  // as in all experts of the layer
  const std::int64_t in_width = tiles ? kernels::packed_width(D) : D;
  // All routed experts of a layer are stored alike.
  const ExpertWeights& routed = w.experts.front();
  const float* xq = entering(quantises(routed.w1) ? routed.w1 : w.shared.w1, x, n, xq_);
  float* in = room(gathered_, static_cast<std::size_t>(n_slots * in_width));
  float* factor = room(weights_of_, static_cast<std::size_t>(n_slots));
  std::vector<int> next(count.begin(), count.end() - 1);
  for (int t = 0; t < n; ++t)
    for (int i = 0; i < k; ++i) {
      const int slot = slot_of[t * k + i] = next[expert[t * k + i]]++;
      factor[slot] = weight[t * k + i];
    }
  std::fill(factor + n * k, factor + n_slots, 1.0f);
  each(n, std::max(1, 4096 / D), [&](std::int64_t begin, std::int64_t end) {
    const auto take = [&](const kernels::Matrix& m, std::int64_t t, int slot) {
      const float* from = (quantises(m) ? xq : x) + t * D;
      float* to = in + slot * in_width;
      if (tiles)
        k_.pack({.format = m.format, .x = from, .to = to, .x_stride = D, .n_in = D, .n_tokens = 1});
      else
        std::memcpy(to, from, sizeof(float) * D);
    };
    for (auto t = begin; t < end; ++t) {
      for (int i = 0; i < k; ++i) take(routed.w1, t, slot_of[t * k + i]);
      take(w.shared.w1, t, n * k + static_cast<int>(t));
    }
  });
  // Rows [first, last) of one of a group's matrices.
  const auto multiply = [&](const kernels::Matrix& m, const Group& g, const float* from,
                            std::int64_t width, float* to, std::int64_t to_width, int first,
                            int last) {
    const float* rows = from + g.slot * width;
    float* column = to + g.slot * to_width + first;
    if (tiles) {
      k_.linear_tiles({.w = m.tiles,
                       .x = rows,
                       .y = column,
                       .y_stride = to_width,
                       .n_tokens = g.n,
                       .row_begin = first,
                       .row_end = last,
                       .y_row = first,
                       .round_bf16 = !exact_});
    } else {
      k_.linear({.w = &m,
                 .x = rows,
                 .y = column,
                 .x_stride = width,
                 .y_stride = to_width,
                 .n_tokens = g.n,
                 .row_begin = first,
                 .row_end = last,
                 .y_row = first,
                 .round_bf16 = !exact_});
    }
  };

  span.emplace(trace_, "experts: gate, up");
  const std::int64_t hidden_width = apart(I);
  float* gate = room(hidden_, static_cast<std::size_t>(n_slots * hidden_width));
  float* up = room(up_, static_cast<std::size_t>(n_slots * hidden_width));
  const int expert_rows = n <= kFewTokens ? kExpertRowsFew : kExpertRowsMany;
  const std::int64_t blocks = (I + expert_rows - 1) / expert_rows,
                     n_groups = static_cast<std::int64_t>(groups.size());
  each(n_groups * blocks * 2, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Group& g = groups[i / (2 * blocks)];
      const int first = static_cast<int>(i / 2 % blocks) * expert_rows;
      multiply(i % 2 ? g.expert->w3 : g.expert->w1, g, in, in_width, i % 2 ? up : gate,
               hidden_width, first, std::min(I, first + expert_rows));
    }
  });
  // What enters w2 is made ready for it by whoever has it in the cache.
  const std::int64_t down_width = tiles ? kernels::packed_width(I) : hidden_width;
  float* const down = tiles ? room(down_, static_cast<std::size_t>(n_slots * down_width)) : gate;
  each(n_slots, std::max(1, 4096 / I), [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t at = begin * hidden_width;
    const int rows = static_cast<int>(end - begin);
    k_.swiglu({.gate = gate + at,
               .up = up + at,
               .h = gate + at,
               .weight = factor + begin,
               .stride = hidden_width,
               .n_rows = rows,
               .n = I,
               .limit = c_.swiglu_limit,
               .round_bf16 = !exact_});
    for (auto slot = begin; slot < end; ++slot) {
      const kernels::Matrix& w2 = slot < n * k ? routed.w2 : w.shared.w2;
      float* const h = gate + slot * hidden_width;
      if (!exact_ && quantises(w2))
        k_.quantise({.x = h, .stride = I, .n_rows = 1, .n = I, .block = 128});
      if (tiles)
        k_.pack({.format = w2.format,
                 .x = h,
                 .to = down + slot * down_width,
                 .x_stride = hidden_width,
                 .n_in = I,
                 .n_tokens = 1});
    }
  });
  span.emplace(trace_, "experts: down");
  const std::int64_t out_width = apart(D);
  float* out = room(slots_, static_cast<std::size_t>(n_slots * out_width));
  const std::int64_t out_blocks = (D + expert_rows - 1) / expert_rows;
  each(n_groups * out_blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Group& g = groups[i / out_blocks];
      const int first = static_cast<int>(i % out_blocks) * expert_rows;
      multiply(g.expert->w2, g, down, down_width, out, out_width, first,
               std::min(D, first + expert_rows));
    }
  });
  // Experts in order of rank, the shared one last, as the release adds them.
  each(n, std::max(1, 8192 / D), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* to = y + t * D;
      std::memcpy(to, out + slot_of[t * k] * out_width, sizeof(float) * D);
      for (int i = 1; i <= k; ++i) {
        const float* from = out + (i < k ? slot_of[t * k + i] : n * k + t) * out_width;
        for (int c = 0; c < D; ++c) to[c] += from[c];
      }
      if (!exact_) k_.round_bf16(to, D);
    }
  });
}

}  // namespace lares::engine
