// The draft blocks that checkpoints carry beside the model: MTP or DSpark, as in
// tests/reference/v4_reference.py.
#include <algorithm>
#include <cstring>

#include "engine/model/forward.h"
#include "engine/model/forward_chunk.h"

namespace lares::engine {

LayerState Forward::draft_state(int chunk_max) const {
  LayerState state;
  state.window.plan(c_.sliding_window + chunk_max + kRollback,
                    (exact_ ? 4 : 2) * static_cast<std::size_t>(c_.head_dim));
  state.window.make();
  return state;
}

void Forward::mtp(const MtpWeights& w, LayerState& state, std::int64_t position,
                  std::span<const Token> next, float* x) {
  const int n = static_cast<int>(next.size()), D = c_.hidden_size, S = c_.hc_mult;
  const Trace::Span span(trace_, "draft block", "tokens", n);
  Buffer e(static_cast<std::size_t>(n) * D), h(static_cast<std::size_t>(n) * S * D);
  embed(next, h.data());
  for (int t = 0; t < n; ++t)
    std::memmove(h.data() + static_cast<std::size_t>(t) * D,
                 h.data() + static_cast<std::size_t>(t) * S * D, sizeof(float) * D);
  rms_norm(h.data(), w.enorm, h.data(), n, D);
  linear(w.e_proj, entering(w.e_proj, h.data(), n, xq_), D, e.data(), D, n, !exact_);
  rms_norm(x, w.hnorm, h.data(), n * S, D);
  linear(w.h_proj, entering(w.h_proj, h.data(), n * S, xq_), D, x, D, n * S, !exact_);
  for (int t = 0; t < n; ++t)
    for (int s = 0; s < S; ++s)
      for (int i = 0; i < D; ++i) {
        float& v = x[(static_cast<std::size_t>(t) * S + s) * D + i];
        v = e[static_cast<std::size_t>(t) * D + i] + v;
      }
  if (!exact_) k_.round_bf16(x, n * S * D);
  layer(w.block, state, position, next, x);
}

void Forward::stream_means(const float* x, int n, float* means, std::int64_t stride) const {
  const int D = c_.hidden_size, S = c_.hc_mult;
  for (int t = 0; t < n; ++t, x += static_cast<std::int64_t>(S) * D, means += stride) {
    for (int i = 0; i < D; ++i) {
      float sum = x[i];
      for (int s = 1; s < S; ++s) sum += x[static_cast<std::size_t>(s) * D + i];
      means[i] = sum / static_cast<float>(S);
    }
    if (!exact_) k_.round_bf16(means, D);
  }
}

void Forward::dspark_context(const DsparkWeights& w, std::span<LayerState> stages,
                             std::int64_t position, int n, const float* hidden) {
  const Trace::Span span(trace_, "draft context", "tokens", n);
  const int D = c_.hidden_size, C = c_.head_dim;
  const std::size_t rows = static_cast<std::size_t>(n);
  float* x = room(normed_, rows * D);
  linear(w.main_proj, entering(w.main_proj, hidden, n, xq_), w.main_proj.n_in, x, D, n, !exact_);
  rms_norm(x, w.main_norm, x, n, D);
  float* kv = room(kv_, rows * C);
  for (std::size_t k = 0; k < stages.size(); ++k) {
    const LayerWeights& stage = w.stages[k];
    const Part part{&stages[k], position, n};
    const Chunk chunk(*this, stage, {&part, 1});
    linear(stage.wkv, entering(stage.wkv, x, n, xq_), D, kv, C, n, !exact_);
    rms_norm(kv, stage.kv_norm, kv, n, C);
    each(n, 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto t = static_cast<int>(begin); t < end; ++t)
        put_window_row(chunk, t, kv + static_cast<std::size_t>(t) * C);
    });
  }
}

void Forward::dspark(const DsparkWeights& w, std::span<LayerState> stages, std::int64_t seen_from,
                     std::int64_t position, Token anchor, int n, Block& out) {
  const Trace::Span span(trace_, "draft block", "tokens", n);
  const int D = c_.hidden_size, rank = c_.dspark_markov_rank, B = c_.dspark_block_size;
  const auto V = static_cast<std::size_t>(c_.vocab_size);
  std::vector<Token> ids(static_cast<std::size_t>(B), c_.dspark_noise_token_id);
  ids[0] = anchor;
  Buffer x(ids.size() * c_.hc_mult * D);
  embed(ids, x.data());
  for (std::size_t k = 0; k < stages.size(); ++k)
    layer(w.stages[k], stages[k], position, ids, x.data(), seen_from);
  out.logits.resize(static_cast<std::size_t>(n) * V);
  head(w.hc_head, w.norm, x.data(), n, out.logits.data());
  // What the head read, before its norm
  const Buffer h(sub_.begin(), sub_.begin() + static_cast<std::ptrdiff_t>(n) * D);
  out.tokens.clear();
  out.confidence.assign(static_cast<std::size_t>(n), 0);
  Buffer seen(static_cast<std::size_t>(D + rank)), more(V);
  for (int i = 0; i < n; ++i) {
    float *logits = out.logits.data() + static_cast<std::size_t>(i) * V, *before = seen.data() + D;
    std::copy_n(h.data() + static_cast<std::size_t>(i) * D, D, seen.data());
    look_up(w.markov_w1, i == 0 ? anchor : out.tokens.back(), before);
    linear(w.confidence, seen.data(), D + rank, &out.confidence[static_cast<std::size_t>(i)], 1, 1,
           false);
    linear(w.markov_w2, before, rank, more.data(), c_.vocab_size, 1, false);
    for (std::size_t v = 0; v < V; ++v) logits[v] += more[v];
    out.tokens.push_back(static_cast<Token>(std::max_element(logits, logits + V) - logits));
  }
}

}  // namespace lares::engine
