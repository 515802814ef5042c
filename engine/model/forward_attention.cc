#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>

#include "engine/model/forward.h"
#include "engine/model/forward_chunk.h"
#include "kernels/cells.h"
#include "kernels/indexer.h"

namespace lares::engine {
namespace {

constexpr int kKeysUnit = 4096;    // index keys a thread scores at a time
constexpr int kUnpacked = 64;      // entries a thread unpacks at a time
constexpr int kTokensInTurn = 64;  // of so many groups of the output are computed in turn

}  // namespace

// The normed KV row of token t, turned and quantised, into the window.
void Forward::put_window_row(const Chunk& chunk, int t, float* row) const {
  const int C = c_.head_dim, R = c_.qk_rope_head_dim;
  k_.rope({.x = row + C - R,
           .stride = C,
           .n_rows = 1,
           .dim = R,
           .cos = chunk.cos_of(t),
           .sin = chunk.sin_of(t),
           .inverse = false,
           .round_bf16 = !exact_});
  if (!exact_) {
    k_.quantise({.x = row, .stride = C, .n_rows = 1, .n = C - R, .block = 64});
    k_.drop_small(row, C);
  }
  put_row(chunk.part(t).state->window.row(chunk.position(t)), row, C);
}

void Forward::attention(const LayerWeights& w, const Chunk& chunk, const float* x, float* y) {
  const int n = chunk.n, D = c_.hidden_size, Q = c_.q_lora_rank, H = c_.num_attention_heads,
            C = c_.head_dim, R = c_.qk_rope_head_dim, Hi = c_.index_n_heads;
  const std::size_t rows = static_cast<std::size_t>(n);
  std::optional<Trace::Span> projections(std::in_place, trace_, "attention: q, kv");
  // What is made of x, then of the low-rank query: no loop waits for more than it reads.
  const auto entering_as = [&](const kernels::Matrix& m, const kernels::Matrix& other,
                               const float* of_other, const float* from, Buffer& buffer) {
    return quantises(m) == quantises(other) ? of_other : entering(m, from, n, buffer);
  };
  const float* xq = entering(w.wq_a, x, n, xq_);
  float *qr = room(qr_, rows * Q), *kv = room(kv_, rows * C);
  Products of_x, of_qr;
  of_x.add({&w.wq_a, xq, D, qr, Q, !exact_});
  of_x.add({&w.wkv, entering_as(w.wkv, w.wq_a, xq, x, zq_), D, kv, C, !exact_});
  const auto add_compressor = [&](const CompressorWeights& c, bool index) {
    const auto size = rows * static_cast<std::size_t>(c.width());
    of_x.add({&c.wkv, x, D, room(values_[index], size), c.width(), false});
    of_x.add({&c.wgate, x, D, room(gates_[index], size), c.width(), false});
  };
  if (w.compressor) add_compressor(*w.compressor, false);
  // While everything visible fits into the top k there is nothing to choose.
  const auto chooses = [&](const Part& p) { return (p.position + p.n) / 4 > c_.index_topk; };
  const bool any_chooses = w.indexer && std::ranges::any_of(chunk.parts, chooses);
  if (w.indexer) add_compressor(w.indexer->compressor, true);
  if (any_chooses) of_x.add({&w.indexer->weights_proj, x, D, room(iw_, rows * Hi), Hi, !exact_});
  multiply(of_x.all(), n);
  rms_norm(qr, w.q_norm, qr, n, Q);
  const float* qrq = entering(w.wq_b, qr, n, qrq_);
  float* q = room(q_, rows * H * C);
  of_qr.add({&w.wq_b, qrq, Q, q, static_cast<std::int64_t>(H) * C, !exact_});
  if (any_chooses) {
    const int width = Hi * c_.index_head_dim;
    of_qr.add({&w.indexer->wq_b, entering_as(w.indexer->wq_b, w.wq_b, qrq, qr, zq_), Q,
               room(iq_, rows * static_cast<std::size_t>(width)), width, !exact_});
  }
  multiply(of_qr.all(), n);
  rms_norm(kv, w.kv_norm, kv, n, C);
  each(n, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto t = static_cast<int>(begin); t < end; ++t) {
      float* heads = q + static_cast<std::size_t>(t) * H * C;
      k_.head_norm(
          {.x = heads, .n_rows = H, .dim = C, .eps = c_.rms_norm_eps, .released = !exact_});
      k_.rope({.x = heads + C - R,
               .stride = C,
               .n_rows = H,
               .dim = R,
               .cos = chunk.cos_of(t),
               .sin = chunk.sin_of(t),
               .inverse = false,
               .round_bf16 = !exact_});
      if (!exact_) k_.drop_small(heads, static_cast<std::int64_t>(H) * C);
      put_window_row(chunk, t, kv + static_cast<std::size_t>(t) * C);
    }
  });
  projections.reset();
  if (w.compressor) compress(*w.compressor, chunk, false);
  if (w.indexer) compress(w.indexer->compressor, chunk, true);
  if (any_chooses) {
    index_queries(chunk);
    chosen_.resize(std::max(chosen_.size(), rows * static_cast<std::size_t>(c_.index_topk)));
    for (std::size_t i = 0; i < chunk.parts.size(); ++i)
      if (chooses(chunk.parts[i])) select(chunk, chunk.parts[i], chunk.begin[i]);
  }
  attend(w, chunk);
  const Trace::Span out(trace_, "attention: output");
  const int G = c_.o_groups, A = c_.o_lora_rank, per_group = H * C / G;
  // Few tokens' groups in one loop, so that no thread waits for the others between two of them;
  // many tokens' in turn, because all of what enters them takes room.
  const int together = n < kTokensInTurn ? G : 1;
  float* z = room(z_, rows * G * A);
  for (int g = 0; g < G; g += together) {
    const Product some{&w.wo_a,
                       o_.data() + static_cast<std::size_t>(g) * per_group,
                       static_cast<std::int64_t>(H) * C,
                       z,
                       static_cast<std::int64_t>(G) * A,
                       !exact_,
                       g * A,
                       A,
                       together};
    multiply({&some, 1}, n);
  }
  linear(w.wo_b, entering(w.wo_b, z, n, zq_), static_cast<std::int64_t>(G) * A, y, D, n, !exact_);
}

// kernels/compress.h: every entry whose group this chunk completes, from its own rows and those
// before them, which they then join.
void Forward::compress(const CompressorWeights& w, const Chunk& chunk, bool index) {
  const Trace::Span span(trace_, index ? "indexer: compress" : "attention: compress");
  const int n = chunk.n, width = w.width(), d = w.dim, R = c_.qk_rope_head_dim, r = w.ratio;
  const float* const values = values_[index].data();
  float* const gates = gates_[index].data();
  each(n, std::max(1, 16384 / width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* bias = w.ape + (chunk.position(static_cast<int>(t)) % r) * width;
      for (int i = 0; i < width; ++i) gates[t * width + i] += bias[i];
    }
  });
  struct Group {
    int part;
    std::int64_t number;
  };
  std::vector<Group> complete;
  for (std::size_t i = 0; i < chunk.parts.size(); ++i)
    for (std::int64_t j = chunk.parts[i].position / r;
         j < (chunk.parts[i].position + chunk.parts[i].n) / r; ++j)
      complete.push_back({static_cast<int>(i), j});
  const auto raw_of = [&](const Part& p) -> RawRows& {
    return index ? p.state->raw_index : p.state->raw;
  };
  each(static_cast<std::int64_t>(complete.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> e(d);
    std::vector<double> angles(R);
    std::vector<const float*> v, g;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto [at, j] = complete[static_cast<std::size_t>(i)];
      const Part& part = chunk.parts[static_cast<std::size_t>(at)];
      const RawRows& raw = raw_of(part);
      const std::size_t from = static_cast<std::size_t>(chunk.begin[static_cast<std::size_t>(at)]);
      v.clear();
      g.clear();
      const auto add = [&](std::int64_t t, int half) {
        const std::int64_t own = t - part.position;
        v.push_back(
            (own < 0 ? raw.values(t) : values + (from + static_cast<std::size_t>(own)) * width) +
            half * d);
        g.push_back(
            (own < 0 ? raw.gates(t) : gates + (from + static_cast<std::size_t>(own)) * width) +
            half * d);
      };
      if (r == 4 && j > 0)
        for (std::int64_t t = 4 * (j - 1); t < 4 * j; ++t) add(t, 0);
      for (std::int64_t t = r * j; t < r * (j + 1); ++t) add(t, r == 4 ? 1 : 0);
      k_.pool({.values = v.data(),
               .gates = g.data(),
               .out = e.data(),
               .n_rows = static_cast<int>(v.size()),
               .dim = d,
               .round_bf16 = !exact_});
      k_.rms_norm({.x = e.data(),
                   .w = w.norm,
                   .y = e.data(),
                   .x_stride = d,
                   .y_stride = d,
                   .n_rows = 1,
                   .dim = d,
                   .eps = c_.rms_norm_eps,
                   .round_bf16 = !exact_});
      kernels::rope_angles(chunk.frequencies.data(), R, j * r, angles.data(),
                           angles.data() + R / 2);
      k_.rope({.x = e.data() + d - R,
               .stride = d,
               .n_rows = 1,
               .dim = R,
               .cos = angles.data(),
               .sin = angles.data() + R / 2,
               .inverse = false,
               .round_bf16 = !exact_});
      if (index) k_.hadamard({.x = e.data(), .n_rows = 1, .dim = d, .round_bf16 = !exact_});
      if (!exact_ && index)
        k_.quantise({.x = e.data(), .stride = d, .n_rows = 1, .n = d, .block = 32, .fp4 = true});
      if (!exact_ && !index) {
        k_.quantise({.x = e.data(), .stride = d, .n_rows = 1, .n = d - R, .block = 64});
        k_.drop_small(e.data(), d);
      }
      PagedRows& out = index ? part.state->index_keys : part.state->entries;
      if (exact_)
        std::memcpy(out.row(j), e.data(), out.row_bytes());
      else if (index)
        kernels::pack_index_key(e.data(), d, out.row(j));
      else
        kernels::pack_cell(e.data(), d, R, out.row(j));
    }
  });
  for (std::size_t i = 0; i < chunk.parts.size(); ++i) {
    const std::size_t from = static_cast<std::size_t>(chunk.begin[i]) * width;
    raw_of(chunk.parts[i])
        .put(chunk.parts[i].position, chunk.parts[i].n, values + from, gates + from);
  }
}

void Forward::index_queries(const Chunk& chunk) {
  const Trace::Span span(trace_, "indexer: queries");
  const int n = chunk.n, Hi = c_.index_n_heads, Ci = c_.index_head_dim, R = c_.qk_rope_head_dim;
  float *q = iq_.data(), *weight = iw_.data();
  const auto scale = static_cast<float>(std::pow(Ci, -0.5) * std::pow(Hi, -0.5));
  each(n, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto t = static_cast<int>(begin); t < end; ++t) {
      float* heads = q + static_cast<std::size_t>(t) * Hi * Ci;
      k_.rope({.x = heads + Ci - R,
               .stride = Ci,
               .n_rows = Hi,
               .dim = R,
               .cos = chunk.cos_of(t),
               .sin = chunk.sin_of(t),
               .inverse = false,
               .round_bf16 = !exact_});
      k_.hadamard({.x = heads, .n_rows = Hi, .dim = Ci, .round_bf16 = !exact_});
      if (!exact_)
        k_.quantise({.x = heads, .stride = Ci, .n_rows = Hi, .n = Ci, .block = 32, .fp4 = true});
      float* row = weight + static_cast<std::size_t>(t) * Hi;
      for (int h = 0; h < Hi; ++h) row[h] *= scale;
      if (!exact_) k_.round_bf16(row, Hi);
    }
  });
}

// The index_topk entries of each token of a part that sees more of them: scores of all keys, shared
// out by keys so that a lone token's are too, then the best. Its tokens begin at `begin_of`.
void Forward::select(const Chunk& chunk, const Part& part, int begin_of) {
  const Trace::Span span(trace_, "indexer: scores, top k");
  const int n = begin_of + part.n, K = c_.index_topk, Hi = c_.index_n_heads, Ci = c_.index_head_dim;
  const PagedRows& index_keys = part.state->index_keys;
  const auto visible = [&](int t) { return static_cast<int>((chunk.position(t) + 1) / 4); };
  int t0 = begin_of;
  while (t0 < n && visible(t0) <= K) ++t0;
  while (t0 < n) {
    const int together = std::min(n - t0, std::max(pool_.size(), kScoresHeld / visible(n - 1))),
              most = visible(t0 + together - 1);
    const int blocks = (most + kKeysUnit - 1) / kKeysUnit;
    float* scores = room(scores_, static_cast<std::size_t>(together) * most);
    each(static_cast<std::int64_t>(blocks) * together, 1,
         [&](std::int64_t begin, std::int64_t end) {
           thread_local std::vector<float> scratch;
           scratch.resize(std::max(scratch.size(), kernels::index_scratch(Hi, Ci)));
           for (std::int64_t i = begin; i < end; ++i) {
             const int first = static_cast<int>(i / together) * kKeysUnit,
                       at = static_cast<int>(i % together), t = t0 + at;
             const int n_keys = std::min(kKeysUnit, visible(t) - first);
             if (n_keys <= 0) continue;
             k_.index_scores({.q = iq_.data() + static_cast<std::size_t>(t) * Hi * Ci,
                              .w = iw_.data() + static_cast<std::size_t>(t) * Hi,
                              .keys = index_keys.bases(),
                              .cell = exact_ ? kernels::Format::f32 : kernels::Format::fp4,
                              .score = scores + static_cast<std::size_t>(at) * most + first,
                              .scratch = scratch.data(),
                              .n_keys = n_keys,
                              .n_heads = Hi,
                              .dim = Ci,
                              .run = index_keys.per_page(),
                              .first = first,
                              .offset = index_keys.offset()});
           }
         });
    each(together, 1, [&](std::int64_t begin, std::int64_t end) {
      thread_local std::vector<std::uint32_t> keys;
      keys.resize(std::max(keys.size(), static_cast<std::size_t>(most)));
      for (auto i = begin; i < end; ++i) {
        const int t = t0 + static_cast<int>(i);
        kernels::top_k(scores + static_cast<std::size_t>(i) * most, visible(t), K, keys.data(),
                       chosen_.data() + static_cast<std::size_t>(t) * K);
      }
    });
    t0 += together;
  }
}

// Entries `numbers`, n of them, as bf16 rows.
void Forward::unpack(const PagedRows& entries, const std::int32_t* numbers, int n,
                     std::uint16_t* rows) const {
  const void* cells[kUnpacked];
  for (int j = 0; j < n; j += kUnpacked) {
    const int some = std::min(kUnpacked, n - j);
    for (int i = 0; i < some; ++i) cells[i] = entries.row(numbers[j + i]);
    k_.unpack_cells({.cells = cells,
                     .rows = rows + static_cast<std::size_t>(j) * c_.head_dim,
                     .n = some,
                     .head_dim = c_.head_dim,
                     .rope_dim = c_.qk_rope_head_dim});
  }
}

// Entries that a part's tokens see without choosing, before its last one.
int Forward::seen_in_common(const LayerWeights& w, const Part& part) const {
  if (w.ratio == 0 || exact_) return 0;
  const std::int64_t most = (part.position + part.n) / w.ratio,
                     first = (part.position + 1) / w.ratio;
  return static_cast<int>(!w.indexer || most <= c_.index_topk ? most
                          : first <= c_.index_topk            ? c_.index_topk
                                                              : 0);
}

// Of as many parts at a time as see so many entries in common, or of one.
void Forward::attend(const LayerWeights& w, const Chunk& chunk) {
  room(o_, static_cast<std::size_t>(chunk.n) * c_.num_attention_heads * c_.head_dim);
  for (std::size_t first = 0, last; first < chunk.parts.size(); first = last) {
    const auto rows = [&](std::size_t i) {
      return static_cast<std::size_t>(seen_in_common(w, chunk.parts[i]));
    };
    std::size_t sum = rows(first);
    for (last = first + 1;
         last < chunk.parts.size() && sum + rows(last) <= std::size_t{kCommonRows}; ++last)
      sum += rows(last);
    attend(w, chunk, first, last);
  }
}

void Forward::attend(const LayerWeights& w, const Chunk& chunk, std::size_t first_part,
                     std::size_t last_part) {
  const Trace::Span span(trace_, "attention: scores, rows");
  const int H = c_.num_attention_heads, C = c_.head_dim, R = c_.qk_rope_head_dim,
            W = c_.sliding_window;
  const int first_token = chunk.begin[first_part],
            last_token = chunk.begin[last_part - 1] + chunk.parts[last_part - 1].n,
            n = last_token - first_token;
  float* const o = o_.data();
  const auto visible = [&](int t) {
    return w.ratio == 0 ? 0 : static_cast<int>((chunk.position(t) + 1) / w.ratio);
  };
  const auto chosen = [&](int t) {
    return w.indexer && visible(t) > c_.index_topk
               ? chosen_.data() + static_cast<std::size_t>(t) * c_.index_topk
               : nullptr;
  };
  // Entries that tokens of a part see without choosing are unpacked once for all of them.
  struct Piece {
    int part, first, n;
    std::size_t to;  // row
  };
  std::vector<Piece> pieces;
  std::vector<std::size_t> common_of(chunk.parts.size());  // each part's first row
  std::size_t common = 0;
  for (std::size_t i = first_part; i < last_part; ++i) {
    const int most = seen_in_common(w, chunk.parts[i]);
    common_of[i] = common;
    for (int first = 0; first < most; first += kUnpacked)
      pieces.push_back({static_cast<int>(i), first, std::min(kUnpacked, most - first),
                        common + static_cast<std::size_t>(first)});
    common += static_cast<std::size_t>(most);
  }
  auto* const common_rows = reinterpret_cast<std::uint16_t*>(
      room(common_rows_, common * static_cast<std::size_t>(C) / 2));
  each(static_cast<std::int64_t>(pieces.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Piece& p = pieces[static_cast<std::size_t>(i)];
      std::int32_t numbers[kUnpacked];
      std::iota(numbers, numbers + p.n, p.first);
      unpack(chunk.parts[static_cast<std::size_t>(p.part)].state->entries, numbers, p.n,
             common_rows + p.to * static_cast<std::size_t>(C));
    }
  });
  // The rows token t sees, the window's first; `own` are those it chose, unpacked.
  const auto rows_of = [&](int t, const std::uint16_t* own, std::vector<const void*>& rows) {
    const Part& part = chunk.part(t);
    const std::int64_t p = chunk.position(t);
    rows.clear();
    const std::int64_t first = chunk.seen_from.value_or(std::max<std::int64_t>(0, p + 1 - W)),
                       last = chunk.seen_from ? part.position + part.n - 1 : p;
    for (auto k = first; k <= last; ++k) rows.push_back(part.state->window.row(k));
    const std::int32_t* const numbers = chosen(t);
    const std::uint16_t* const unpacked =
        numbers ? own
                : common_rows + common_of[static_cast<std::size_t>(
                                    chunk.places[static_cast<std::size_t>(t)].part)] *
                                    static_cast<std::size_t>(C);
    for (int j = 0; j < (numbers ? c_.index_topk : visible(t)); ++j) {
      if (exact_)
        rows.push_back(part.state->entries.row(numbers ? numbers[j] : j));
      else
        rows.push_back(unpacked + static_cast<std::size_t>(j) * C);
    }
  };
  const auto own_room = [&](int t, Buffer& buffer) {
    return reinterpret_cast<std::uint16_t*>(
        room(buffer, exact_ || !chosen(t) ? 0 : static_cast<std::size_t>(c_.index_topk) * C / 2));
  };
  const auto args = [&](int t, const std::vector<const void*>& rows, Buffer& scratch) {
    const int n_rows = static_cast<int>(rows.size());
    return kernels::AttentionArgs{
        .q = q_.data() + static_cast<std::size_t>(t) * H * C,
        .rows = rows.data(),
        .cell = exact_ ? kernels::Format::f32 : kernels::Format::bf16,
        .sink = w.attn_sink,
        .out = o + static_cast<std::size_t>(t) * H * C,
        .scratch = room(scratch,
                        kernels::attention_scratch(
                            n_rows, H, C, exact_ ? kernels::Format::f32 : kernels::Format::bf16)),
        .n_rows = n_rows,
        .n_heads = H,
        .head_dim = C,
        .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(C))),
        .released = !exact_};
  };
  const auto turn_back = [&](int t) {
    k_.rope({.x = o + static_cast<std::size_t>(t) * H * C + C - R,
             .stride = C,
             .n_rows = H,
             .dim = R,
             .cos = chunk.cos_of(t),
             .sin = chunk.sin_of(t),
             .inverse = true,
             .round_bf16 = !exact_});
  };
  if (n >= pool_.size()) {
    each(n, 1, [&](std::int64_t begin, std::int64_t end) {
      thread_local std::vector<const void*> rows;
      thread_local Buffer scratch, own;
      for (int t = first_token + static_cast<int>(begin); t < first_token + end; ++t) {
        std::uint16_t* const mine = own_room(t, own);
        if (!exact_ && chosen(t))
          unpack(chunk.part(t).state->entries, chosen(t), c_.index_topk, mine);
        rows_of(t, mine, rows);
        kernels::attention(k_, args(t, rows, scratch));
        turn_back(t);
      }
    });
    return;
  }
  // Fewer tokens than threads: each step of each token is shared out.
  const auto shares = [&](int total, int unit, const auto& step) {
    each((total + unit - 1) / unit, 1, [&](std::int64_t begin, std::int64_t end) {
      step(static_cast<int>(begin) * unit, std::min(total, static_cast<int>(end) * unit));
    });
  };
  for (int t = first_token; t < last_token; ++t) {
    std::uint16_t* const mine = own_room(t, own_rows_);
    rows_of(t, mine, rows_);
    const auto a = args(t, rows_, attention_scratch_);
    const int row_unit = std::max(1, (a.n_rows / pool_.size() + kernels::kAttentionRows - 1) /
                                         kernels::kAttentionRows) *
                         kernels::kAttentionRows;
    // Of the rows that it chose, a thread unpacks those it has the scores of.
    const int n_before = !exact_ && chosen(t) ? a.n_rows - c_.index_topk : a.n_rows;
    shares(a.n_rows, row_unit, [&](int begin, int end) {
      if (const int first = std::max(begin, n_before); first < end)
        unpack(chunk.part(t).state->entries, chosen(t) + (first - n_before), end - first,
               mine + static_cast<std::size_t>(first - n_before) * C);
      k_.attention_scores(a, begin, end);
    });
    shares(H, kernels::kAttentionHeads,
           [&](int begin, int end) { k_.attention_weights(a, begin, end); });
    shares(C, kernels::kAttentionColumns,
           [&](int begin, int end) { k_.attention_values(a, begin, end); });
    turn_back(t);
  }
}

}  // namespace lares::engine
