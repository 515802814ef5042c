#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "engine/model/forward.h"
#include "engine/model/forward_chunk.h"
#include "kernels/indexer.h"

namespace lares::engine {
namespace {

constexpr std::size_t kEntriesGrowth = 1 << 16;  // bytes
constexpr int kKeysUnit = 4096;       // index keys a thread scores at a time
constexpr int kScoresHeld = 1 << 20;  // scores of all tokens that are chosen for together, where there are several

}  // namespace

// The normed KV row of token t, turned and quantised, into the window.
void Forward::put_window_row(LayerState& state, const Chunk& chunk, int t, float* row) const {
  const int C = c_.head_dim, R = c_.qk_rope_head_dim;
  k_.rope({.x = row + C - R, .stride = C, .n_rows = 1, .dim = R, .cos = chunk.cos_of(t), .sin = chunk.sin_of(t), .inverse = false,
           .round_bf16 = !exact_});
  if (!exact_) {
    k_.quantise({.x = row, .stride = C, .n_rows = 1, .n = C - R, .block = 64});
    k_.drop_small(row, C);
  }
  put_cells(state.window.row(chunk.position + t), row, C);
}

void Forward::attention(const LayerWeights& w, LayerState& state, const Chunk& chunk, const float* x, float* y) {
  const int n = chunk.n, D = c_.hidden_size, Q = c_.q_lora_rank, H = c_.num_attention_heads, C = c_.head_dim, R = c_.qk_rope_head_dim;
  const std::size_t rows = static_cast<std::size_t>(n);
  std::optional<Trace::Span> projections(std::in_place, trace_, "attention: q, kv");
  const float* xq = entering(w.wq_a, x, n, xq_);
  float* qr = room(qr_, rows * Q);
  linear(w.wq_a, xq, D, qr, Q, n, !exact_);
  rms_norm(qr, w.q_norm, qr, n, Q);
  const float* qrq = entering(w.wq_b, qr, n, qrq_);
  float* q = room(q_, rows * H * C);
  linear(w.wq_b, qrq, Q, q, static_cast<std::int64_t>(H) * C, n, !exact_);
  float* kv = room(kv_, rows * C);
  linear(w.wkv, quantises(w.wkv) == quantises(w.wq_a) ? xq : entering(w.wkv, x, n, zq_), D, kv, C, n, !exact_);
  rms_norm(kv, w.kv_norm, kv, n, C);
  each(n, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto t = static_cast<int>(begin); t < end; ++t) {
      float* heads = q + static_cast<std::size_t>(t) * H * C;
      k_.head_norm({.x = heads, .n_rows = H, .dim = C, .eps = c_.rms_norm_eps, .released = !exact_});
      k_.rope({.x = heads + C - R, .stride = C, .n_rows = H, .dim = R, .cos = chunk.cos_of(t), .sin = chunk.sin_of(t), .inverse = false,
               .round_bf16 = !exact_});
      if (!exact_) k_.drop_small(heads, static_cast<std::int64_t>(H) * C);
      put_window_row(state, chunk, t, kv + static_cast<std::size_t>(t) * C);
    }
  });
  projections.reset();
  if (w.compressor) compress(*w.compressor, state.raw, state.entries, chunk, x, false);
  if (w.indexer) {
    compress(w.indexer->compressor, state.raw_index, state.index_keys, chunk, x, true);
    // While everything visible fits into the top k there is nothing to choose.
    if ((chunk.position + n) / 4 > c_.index_topk) {
      index_queries(*w.indexer, chunk, x, quantises(w.indexer->wq_b) == quantises(w.wq_b) ? qrq : entering(w.indexer->wq_b, qr, n, zq_));
      select(state, chunk);
    }
  }
  attend(w, state, chunk);
  const Trace::Span out(trace_, "attention: output");
  const int G = c_.o_groups, A = c_.o_lora_rank, per_group = H * C / G;
  float* z = room(z_, rows * G * A);
  for (int g = 0; g < G; ++g)
    linear_rows(w.wo_a, g * A, (g + 1) * A, o_.data() + static_cast<std::size_t>(g) * per_group, static_cast<std::int64_t>(H) * C,
                z + static_cast<std::size_t>(g) * A, static_cast<std::int64_t>(G) * A, n, !exact_);
  linear(w.wo_b, entering(w.wo_b, z, n, zq_), static_cast<std::int64_t>(G) * A, y, D, n, !exact_);
}

// SPEC section 3.6: every entry whose group this chunk completes, from its own rows and those before them, which it then joins.
void Forward::compress(const CompressorWeights& w, RawRows& raw, std::vector<std::uint8_t>& out, const Chunk& chunk, const float* x, bool index) {
  const Trace::Span span(trace_, index ? "indexer: compress" : "attention: compress");
  const int n = chunk.n, width = w.width(), d = w.dim, R = c_.qk_rope_head_dim, r = w.ratio;
  float* values = room(values_, static_cast<std::size_t>(n) * width);
  float* gates = room(gates_, static_cast<std::size_t>(n) * width);
  linear(w.wkv, x, c_.hidden_size, values, width, n, false);
  linear(w.wgate, x, c_.hidden_size, gates, width, n, false);
  each(n, std::max(1, 16384 / width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* bias = w.ape + ((chunk.position + t) % r) * width;
      for (int i = 0; i < width; ++i) gates[t * width + i] += bias[i];
    }
  });
  const std::int64_t first = chunk.position / r, last = (chunk.position + n) / r;
  const std::size_t cells = index ? index_key_bytes(c_, exact_) : (exact_ ? 4 : 2) * static_cast<std::size_t>(d);
  const auto bytes = static_cast<std::size_t>(last) * cells;
  if (bytes > out.capacity()) out.reserve(bytes + std::max(bytes / 8, kEntriesGrowth));  // not twice as much: this may be gigabytes
  out.resize(bytes);
  each(last - first, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> e(d);
    std::vector<double> angles(R);
    std::vector<const float*> v, g;
    for (std::int64_t j = first + begin; j < first + end; ++j) {
      v.clear();
      g.clear();
      const auto add = [&](std::int64_t t, int half) {
        const std::int64_t own = t - chunk.position;
        v.push_back((own < 0 ? raw.values(t) : values + own * width) + half * d);
        g.push_back((own < 0 ? raw.gates(t) : gates + own * width) + half * d);
      };
      if (r == 4 && j > 0)
        for (std::int64_t t = 4 * (j - 1); t < 4 * j; ++t) add(t, 0);
      for (std::int64_t t = r * j; t < r * (j + 1); ++t) add(t, r == 4 ? 1 : 0);
      k_.pool({.values = v.data(), .gates = g.data(), .out = e.data(), .n_rows = static_cast<int>(v.size()), .dim = d, .round_bf16 = !exact_});
      k_.rms_norm({.x = e.data(), .w = w.norm, .y = e.data(), .x_stride = d, .y_stride = d, .n_rows = 1, .dim = d, .eps = c_.rms_norm_eps,
                   .round_bf16 = !exact_});
      kernels::rope_angles(chunk.frequencies.data(), R, j * r, angles.data(), angles.data() + R / 2);
      k_.rope({.x = e.data() + d - R, .stride = d, .n_rows = 1, .dim = R, .cos = angles.data(), .sin = angles.data() + R / 2,
               .inverse = false, .round_bf16 = !exact_});
      if (index) k_.hadamard({.x = e.data(), .n_rows = 1, .dim = d, .round_bf16 = !exact_});
      if (!exact_ && index) k_.quantise({.x = e.data(), .stride = d, .n_rows = 1, .n = d, .block = 32, .fp4 = true});
      if (!exact_ && !index) {
        k_.quantise({.x = e.data(), .stride = d, .n_rows = 1, .n = d - R, .block = 64});
        k_.drop_small(e.data(), d);
      }
      std::uint8_t* to = out.data() + static_cast<std::size_t>(j) * cells;
      if (index && !exact_) kernels::pack_index_key(e.data(), d, to);
      else put_cells(to, e.data(), d);
    }
  });
  raw.put(chunk.position, n, values, gates);
}

void Forward::index_queries(const IndexerWeights& w, const Chunk& chunk, const float* x, const float* qr) {
  const Trace::Span span(trace_, "indexer: queries");
  const int n = chunk.n, Hi = c_.index_n_heads, Ci = c_.index_head_dim, R = c_.qk_rope_head_dim;
  float* q = room(iq_, static_cast<std::size_t>(n) * Hi * Ci);
  float* weight = room(iw_, static_cast<std::size_t>(n) * Hi);
  linear(w.wq_b, qr, c_.q_lora_rank, q, static_cast<std::int64_t>(Hi) * Ci, n, !exact_);
  linear(w.weights_proj, x, c_.hidden_size, weight, Hi, n, !exact_);
  const auto scale = static_cast<float>(std::pow(Ci, -0.5) * std::pow(Hi, -0.5));
  each(n, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto t = static_cast<int>(begin); t < end; ++t) {
      float* heads = q + static_cast<std::size_t>(t) * Hi * Ci;
      k_.rope({.x = heads + Ci - R, .stride = Ci, .n_rows = Hi, .dim = R, .cos = chunk.cos_of(t), .sin = chunk.sin_of(t), .inverse = false,
               .round_bf16 = !exact_});
      k_.hadamard({.x = heads, .n_rows = Hi, .dim = Ci, .round_bf16 = !exact_});
      if (!exact_) k_.quantise({.x = heads, .stride = Ci, .n_rows = Hi, .n = Ci, .block = 32, .fp4 = true});
      float* row = weight + static_cast<std::size_t>(t) * Hi;
      for (int h = 0; h < Hi; ++h) row[h] *= scale;
      if (!exact_) k_.round_bf16(row, Hi);
    }
  });
}

// The index_topk entries of each token that sees more of them: scores of all keys, shared out by keys so that a lone token's are
// too, then the best.
void Forward::select(const LayerState& state, const Chunk& chunk) {
  const Trace::Span span(trace_, "indexer: scores, top k");
  const int n = chunk.n, K = c_.index_topk, Hi = c_.index_n_heads, Ci = c_.index_head_dim;
  const auto visible = [&](int t) { return static_cast<int>((chunk.position + t + 1) / 4); };
  chosen_.resize(std::max(chosen_.size(), static_cast<std::size_t>(n) * K));
  int t0 = 0;
  while (t0 < n && visible(t0) <= K) ++t0;
  while (t0 < n) {
    const int together = std::min(n - t0, std::max(pool_.size(), kScoresHeld / visible(n - 1))), most = visible(t0 + together - 1);
    const int blocks = (most + kKeysUnit - 1) / kKeysUnit;
    float* scores = room(scores_, static_cast<std::size_t>(together) * most);
    each(static_cast<std::int64_t>(blocks) * together, 1, [&](std::int64_t begin, std::int64_t end) {
      thread_local std::vector<float> scratch;
      scratch.resize(std::max(scratch.size(), kernels::index_scratch(Hi, Ci)));
      for (std::int64_t i = begin; i < end; ++i) {
        const int first = static_cast<int>(i / together) * kKeysUnit, at = static_cast<int>(i % together), t = t0 + at;
        const int n_keys = std::min(kKeysUnit, visible(t) - first);
        if (n_keys <= 0) continue;
        k_.index_scores({.q = iq_.data() + static_cast<std::size_t>(t) * Hi * Ci, .w = iw_.data() + static_cast<std::size_t>(t) * Hi,
                         .keys = state.index_keys.data() + static_cast<std::size_t>(first) * index_key_bytes(c_, exact_),
                         .cell = exact_ ? kernels::Format::f32 : kernels::Format::fp4, .score = scores + static_cast<std::size_t>(at) * most + first,
                         .scratch = scratch.data(), .n_keys = n_keys, .n_heads = Hi, .dim = Ci});
      }
    });
    each(together, 1, [&](std::int64_t begin, std::int64_t end) {
      thread_local std::vector<std::uint32_t> keys;
      keys.resize(std::max(keys.size(), static_cast<std::size_t>(most)));
      for (auto i = begin; i < end; ++i) {
        const int t = t0 + static_cast<int>(i);
        kernels::top_k(scores + static_cast<std::size_t>(i) * most, visible(t), K, keys.data(), chosen_.data() + static_cast<std::size_t>(t) * K);
      }
    });
    t0 += together;
  }
}

void Forward::attend(const LayerWeights& w, LayerState& state, const Chunk& chunk) {
  const Trace::Span span(trace_, "attention: scores, rows");
  const int n = chunk.n, H = c_.num_attention_heads, C = c_.head_dim, R = c_.qk_rope_head_dim, W = c_.sliding_window;
  const std::size_t cells = (exact_ ? 4 : 2) * static_cast<std::size_t>(C);
  float* o = room(o_, static_cast<std::size_t>(n) * H * C);
  // The rows token t sees, the window's first.
  const auto rows_of = [&](int t, std::vector<const void*>& rows) {
    const std::int64_t p = chunk.position + t;
    rows.clear();
    const std::int64_t first = chunk.seen_from.value_or(std::max<std::int64_t>(0, p + 1 - W)), last = chunk.seen_from ? chunk.position + n - 1 : p;
    for (auto k = first; k <= last; ++k) rows.push_back(state.window.row(k));
    if (w.ratio == 0) return;
    const auto visible = static_cast<int>((p + 1) / w.ratio);
    const std::int32_t* chosen = w.indexer && visible > c_.index_topk ? chosen_.data() + static_cast<std::size_t>(t) * c_.index_topk : nullptr;
    for (int j = 0; j < (chosen ? c_.index_topk : visible); ++j) rows.push_back(state.entries.data() + static_cast<std::size_t>(chosen ? chosen[j] : j) * cells);
  };
  const auto args = [&](int t, const std::vector<const void*>& rows, Buffer& scratch) {
    const int n_rows = static_cast<int>(rows.size());
    return kernels::AttentionArgs{.q = q_.data() + static_cast<std::size_t>(t) * H * C, .rows = rows.data(), .cell = exact_ ? kernels::Format::f32 : kernels::Format::bf16,
                                  .sink = w.attn_sink, .out = o + static_cast<std::size_t>(t) * H * C,
                                  .scratch = room(scratch, kernels::attention_scratch(n_rows, H, C)), .n_rows = n_rows, .n_heads = H, .head_dim = C,
                                  .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(C))), .released = !exact_};
  };
  const auto turn_back = [&](int t) {
    k_.rope({.x = o + static_cast<std::size_t>(t) * H * C + C - R, .stride = C, .n_rows = H, .dim = R, .cos = chunk.cos_of(t), .sin = chunk.sin_of(t),
             .inverse = true, .round_bf16 = !exact_});
  };
  if (n >= pool_.size()) {
    each(n, 1, [&](std::int64_t begin, std::int64_t end) {
      thread_local std::vector<const void*> rows;
      thread_local Buffer scratch;
      for (auto t = static_cast<int>(begin); t < end; ++t) {
        rows_of(t, rows);
        kernels::attention(k_, args(t, rows, scratch));
        turn_back(t);
      }
    });
    return;
  }
  // Fewer tokens than threads: each step of each token is shared out.
  const auto shares = [&](int total, int unit, const auto& step) {
    each((total + unit - 1) / unit, 1, [&](std::int64_t begin, std::int64_t end) { step(static_cast<int>(begin) * unit, std::min(total, static_cast<int>(end) * unit)); });
  };
  for (int t = 0; t < n; ++t) {
    rows_of(t, rows_);
    const auto a = args(t, rows_, attention_scratch_);
    const int row_unit = std::max(1, (a.n_rows / pool_.size() + kernels::kAttentionRows - 1) / kernels::kAttentionRows) * kernels::kAttentionRows;
    shares(a.n_rows, row_unit, [&](int begin, int end) { k_.attention_scores(a, begin, end); });
    shares(H, kernels::kAttentionHeads, [&](int begin, int end) { k_.attention_weights(a, begin, end); });
    shares(C, kernels::kAttentionColumns, [&](int begin, int end) { k_.attention_values(a, begin, end); });
    turn_back(t);
  }
}

}  // namespace lares::engine
