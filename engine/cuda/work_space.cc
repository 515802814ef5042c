#include "engine/cuda/work_space.h"

#include <algorithm>

#include "engine/cuda/layout.h"
#include "kernels/cells.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/products/experts.h"
#include "kernels/cuda/hyper/hyper.h"
#include "kernels/cuda/products/linear.h"

namespace lares::engine::cuda {
namespace {

namespace kc = kernels::cuda;

// Hands out one buffer after the other, each from a multiple of kAlign on.
class Layer {
 public:
  explicit Layer(std::uint8_t* base) : base_(base) {}
  template <class T>
  void take(T*& out, std::uint64_t n) {
    out = reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(base_) + at_);
    at_ = (at_ + n * sizeof(T) + kAlign - 1) / kAlign * kAlign;
    most_ = std::max(most_, at_);
  }
  std::uint64_t here() const { return at_; }
  void back_to(std::uint64_t at) { at_ = at; }
  std::uint64_t size() const { return most_; }

 private:
  std::uint8_t* base_;
  std::uint64_t at_ = 0, most_ = 0;
};

std::uint64_t u64(auto n) { return static_cast<std::uint64_t>(n); }
// Values that take so many bytes.
std::uint64_t halves_of(std::uint64_t bytes) { return (bytes + sizeof(bf16) - 1) / sizeof(bf16); }
std::uint64_t blocks(int n) { return u64((n + kc::kScaleBlock - 1) / kc::kScaleBlock); }

// The most entries that a layer of this ratio lets a token attend.
std::int64_t attended(const Config& c, int ratio, std::int64_t n_context) {
  return ratio == 0   ? 0
         : ratio == 4 ? std::min<std::int64_t>(c.index_topk, n_context / 4)
                      : n_context / ratio;
}
std::uint64_t partials_of(const Config& c, std::int64_t n_entries) {
  return u64(kc::attention_workspace(
      1, c.num_attention_heads, c.head_dim,
      kc::attention_blocks(c.sliding_window + c.dspark_block_size, static_cast<int>(n_entries))));
}

}  // namespace

int tokens_scored(std::int64_t n_keys) {
  return static_cast<int>(std::clamp<std::uint64_t>(
      kScoresBytes / (sizeof(float) * u64(std::max<std::int64_t>(1, n_keys))), 1, kScoredMax));
}
int tokens_attending(const Config& c, std::int64_t n_entries) {
  return static_cast<int>(
      std::max<std::uint64_t>(1, kPartialsBytes / (sizeof(float) * partials_of(c, n_entries))));
}

HandOver hand_over(const Config& c, int n, std::uint8_t* base) {
  const std::uint64_t tokens = u64(n), D = u64(c.hidden_size), S = u64(c.hc_mult);
  HandOver out;
  Layer l(base);
  l.take(out.streams, tokens * S * D);
  l.take(out.y, tokens * D);
  l.take(out.post, tokens * S);
  l.take(out.comb, tokens * S * S);
  out.bytes = l.size();
  return out;
}

std::uint64_t entry_bytes(const Config& c, int n, bool first) {
  return first ? sizeof(bf16) * u64(n) * u64(c.hidden_size) : hand_over(c, n, nullptr).bytes;
}

std::int64_t front_width(const Config& c) {
  return static_cast<std::int64_t>(c.hidden_size) *
         (c.dspark_block_size > 0 ? static_cast<std::int64_t>(c.dspark_target_layer_ids.size())
                                  : c.hc_mult);
}

std::uint64_t lay(WorkSpace& w, const Config& c, int chunk, std::int64_t n_context,
                  std::uint8_t* base, bool draft) {
  const std::uint64_t n = u64(chunk), D = u64(c.hidden_size), Q = u64(c.q_lora_rank),
                      H = u64(c.num_attention_heads), C = u64(c.head_dim),
                      R = u64(c.qk_rope_head_dim), GA = u64(c.o_groups) * u64(c.o_lora_rank),
                      Hi = u64(c.index_n_heads), Ci = u64(c.index_head_dim),
                      E = u64(c.n_routed_experts), k = u64(c.num_experts_per_tok),
                      I = u64(c.moe_intermediate_size), slots = n * (k + 1);
  const std::int64_t longest = std::max(n_context, kReachLeast);
  const bool csa = std::ranges::find(c.compress_ratios, 4) != c.compress_ratios.end();
  const bool compresses = std::ranges::any_of(c.compress_ratios, [](int r) { return r != 0; });
  Layer l(base);
  // Tokens, positions, parts of tokens, places of rows, and of what is kept of them; every layer's
  // parts.
  w.inputs_bytes = n * (2 * sizeof(std::int32_t) + sizeof(std::int64_t) + sizeof(std::int32_t) +
                        sizeof(void*) + sizeof(std::int64_t)) +
                   u64(c.num_hidden_layers) * kPartsMax * sizeof(kc::Part) + 6 * kAlign;
  l.take(w.inputs, w.inputs_bytes);
  l.take(w.rows, n * D);
  l.take(w.hand_over, hand_over(c, chunk, nullptr).bytes);
  l.take(w.normed, n * D);
  l.take(w.partial, kc::hyper_partials(chunk, c.hidden_size));
  l.take(w.arrived, 1);
  l.take(w.codes, n * D);
  l.take(w.code_scale, n * blocks(c.hidden_size));
  for (double*& table : w.rope) l.take(table, n * R);
  l.take(w.logits, u64(kRowsMax) * u64(c.vocab_size));
  if (draft) {
    const std::uint64_t width = u64(front_width(c)), per_stream = width / D * blocks(c.hidden_size);
    l.take(w.front, n * width);
    l.take(w.front_codes, n * width);
    l.take(w.front_room, std::max(kc::linear_room(n * width / D, D), kc::linear_room(n, width)));
    l.take(w.front_scale, n * std::max(per_stream, blocks(static_cast<int>(width))));
    l.take(w.entered, u64(kRowsMax) * D);
  }

  const std::uint64_t here = l.here();
  const std::uint64_t width = !compresses ? 0 : csa ? 2 * C : C, index_width = csa ? 2 * Ci : 0;
  l.take(w.qr, n * Q);
  l.take(w.q, std::max(n * H * C, halves_of(kc::linear_room(n, GA))));
  l.take(w.kv, n * C);
  l.take(w.o,
         std::max(n * H * C, halves_of(std::max(kc::linear_room(n, D), kc::linear_room(n, Q)))));
  l.take(w.z, n * GA);
  l.take(w.qr_codes, n * Q);
  l.take(w.z_codes, n * GA);
  l.take(w.qr_scale, n * blocks(c.q_lora_rank));
  l.take(w.z_scale, n * blocks(static_cast<int>(GA)));
  l.take(w.values, n * width);
  l.take(w.gates, n * width);
  l.take(w.index_values, n * index_width);
  l.take(w.index_gates, n * index_width);
  if (csa) {
    l.take(w.iq, n * Hi * Ci);
    l.take(w.iw, n * Hi);
    l.take(w.index_codes, n * Hi * Ci);
    l.take(w.index_scale, n * Hi * 4);
    l.take(w.index_weight, n * Hi);
    l.take(w.chosen, n * u64(c.index_topk));
    const std::uint64_t keys = u64(longest / 4);
    l.take(w.scores,
           std::max(std::min(std::min(n, u64(kScoredMax)) * keys, kScoresBytes / sizeof(float)),
                    keys));
  }
  std::uint64_t partials = 0;
  // More tokens leave nothing
  const std::uint64_t apart = std::min(n, u64(kc::kAttentionApart) / H);
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    const std::uint64_t one = partials_of(c, attended(c, c.ratio(i), longest));
    partials = std::max({partials, one, std::min(apart * one, kPartialsBytes / sizeof(float))});
  }
  l.take(w.partials, partials);
  if (chunk > kStepTokens)
    l.take(w.window,
           (n + u64(c.sliding_window)) * kernels::cell_bytes(c.head_dim, c.qk_rope_head_dim));

  l.back_to(here);
  l.take(w.u, n * E);
  l.take(w.expert, n * k);
  l.take(w.weight, n * k);
  l.take(w.slot_of, n * k);
  l.take(w.token_of, slots);
  l.take(w.factor, slots);
  l.take(w.begin, E + 1);
  l.take(w.jobs, 3 * u64(kc::expert_jobs(chunk, c.n_routed_experts, c.num_experts_per_tok)));
  l.take(w.gate, slots * I);
  l.take(w.up, slots * I);
  // As codes, where they are not laid out for wgmma, what enters w2 takes less.
  l.take(w.h_codes,
         std::max<std::uint64_t>(kc::linear_room(n, D),
                                 kc::experts_room(chunk, c.n_routed_experts, c.num_experts_per_tok,
                                                  c.moe_intermediate_size)));
  l.take(w.h_scale, slots * blocks(c.moe_intermediate_size));
  l.take(w.out, slots * D);
  return l.size();
}

}  // namespace lares::engine::cuda
