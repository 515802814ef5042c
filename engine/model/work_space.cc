#include "engine/model/work_space.h"

#include <algorithm>
#include <vector>

#include "engine/model/draft/block_drafter.h"
#include "engine/model/forward.h"
#include "engine/model/memory/buffer.h"
#include "engine/model/timeline.h"
#include "kernels/attention.h"
#include "kernels/indexer.h"
#include "kernels/tiles.h"

namespace lares::engine {
namespace {

using Bytes = std::uint64_t;

Bytes of(std::int64_t n) { return static_cast<Bytes>(std::max<std::int64_t>(0, n)); }

// Entries of the layer that sees most without choosing, and index keys of one that chooses.
struct Seen {
  std::int64_t in_common = 0, to_choose_from = 0;
};
Seen seen(const Config& c, std::int64_t n_context) {
  Seen out;
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    const int ratio = c.ratio(i);
    if (ratio == 0) continue;
    const std::int64_t entries = n_context / ratio;
    const bool chooses = ratio == 4 && entries > c.index_topk;
    out.in_common = std::max(out.in_common, chooses ? c.index_topk : entries);
    if (chooses) out.to_choose_from = std::max(out.to_choose_from, entries);
  }
  return out;
}

constexpr Bytes kBeginsWithin = 4096;  // of a huge page's first bytes (memory/buffer.h)

// What a buffer of so many bytes takes: large ones are whole huge pages.
Bytes held(Bytes bytes) {
  return bytes < kHugePage ? bytes
                           : (bytes + kBeginsWithin + kHugePage - 1) / kHugePage * kHugePage;
}

// Of every token of a chunk, floats of each buffer.
std::vector<std::int64_t> floats_a_token(const Config& c) {
  const std::int64_t D = c.hidden_size, S = c.hc_mult, Q = c.q_lora_rank, C = c.head_dim,
                     HC = static_cast<std::int64_t>(c.num_attention_heads) * C,
                     GA = static_cast<std::int64_t>(c.o_groups) * c.o_lora_rank,
                     index = static_cast<std::int64_t>(c.index_n_heads) * c.index_head_dim,
                     I = c.moe_intermediate_size, slots = c.num_experts_per_tok + 1;
  const auto packed = [](std::int64_t n) { return kernels::packed_width(static_cast<int>(n)); };
  std::vector<std::int64_t> out{S * D, S * D / 2, D, D, D, D};         // streams; sub to xq
  out.insert(out.end(), {(2 + S) * S, S, S, S * S});                   // hyper-connections
  out.insert(out.end(), {Q, Q, HC, HC, C, GA, std::max({GA, D, Q})});  // queries to outputs
  for (const std::int64_t width : {2 * C, std::int64_t{2} * c.index_head_dim})
    out.insert(out.end(), {width, width});  // values and gates
  out.insert(out.end(), {index, c.index_n_heads, c.index_topk, 2 * c.qk_rope_head_dim, 4});
  // What enters tiles; two formats of matrices read x.
  out.push_back(std::max({2 * packed(D), packed(Q), packed(GA), packed(HC / c.o_groups)}));
  out.push_back(c.n_routed_experts);
  for (const std::int64_t width : {packed(D), I + 48, I + 48, packed(I), D + 48, std::int64_t{4}})
    out.push_back(slots * width);
  return out;
}

}  // namespace

Bytes work_bytes(const Weights& weights, const WorkShape& shape) {
  const Config& c = weights.checkpoint.config();
  const auto [in_common, to_choose_from] = seen(c, shape.n_context);
  const int H = c.num_attention_heads, C = c.head_dim;
  const std::int64_t S = c.hc_mult, D = c.hidden_size;
  const int widest = std::max({c.hidden_size, c.q_lora_rank, c.o_groups * c.o_lora_rank,
                               H * C / c.o_groups, c.moe_intermediate_size});
  const auto rows =
      static_cast<int>(c.sliding_window + std::max<std::int64_t>(in_common, c.index_topk));
  const kernels::Format cell = shape.exact ? kernels::Format::f32 : kernels::Format::bf16;
  const auto floats = [](std::int64_t n) { return held(sizeof(float) * of(n)); };
  const auto unpacked = [&](std::int64_t entries) {
    return shape.exact ? 0 : floats(entries * C / 2);
  };
  const Bytes attended =
      floats(static_cast<std::int64_t>(kernels::attention_scratch(rows, H, C, cell))) +
      2 * sizeof(void*) * of(rows) + unpacked(c.index_topk);
  // A thread's own; the last is what its kernels do with a pass of tokens.
  const Bytes thread = attended +
                       sizeof(float) * kernels::index_scratch(c.index_n_heads, c.index_head_dim) +
                       sizeof(std::uint32_t) * of(to_choose_from) +
                       2 * of(kernels::kTokensPass) * of(kernels::packed_width(widest));
  // Of one, where few tokens are shared out.
  const Bytes shared = attended + unpacked(std::max<std::int64_t>(in_common, kCommonRows)) +
                       (to_choose_from == 0 ? 0
                                            : floats(std::max<std::int64_t>(
                                                  kScoresHeld, shape.n_threads * to_choose_from)));
  Bytes chunk = 0;
  for (const std::int64_t width : floats_a_token(c)) chunk += floats(shape.chunk * width);
  // Draft blocks see a window of streams at once, in four buffers; heads are asked for some rows of
  // several sequences.
  const Bytes drafts = weights.draft_layers().empty()
                           ? 0
                           : 4 * floats((rows_kept(c) + kDraftMax) * S * D),
              logits = floats(std::int64_t{kHeadRows} * c.vocab_size);
  return chunk + drafts + logits + shared + of(shape.n_threads) * thread;
}

}  // namespace lares::engine
