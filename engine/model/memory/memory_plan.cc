#include "engine/model/memory/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/model/checkpoint/repack.h"
#include "engine/model/draft/copy_index.h"
#include "engine/model/memory/size_text.h"
#include "engine/model/sampler.h"
#include "engine/model/state.h"
#include "engine/model/timeline.h"
#include "engine/model/work_space.h"

namespace lares::engine {
namespace {

std::uint64_t bytes_of(const Checkpoint& checkpoint, bool routed, std::string_view prefix = {}) {
  std::uint64_t bytes = 0;
  for (const auto& [name, entry] : checkpoint.entries())
    if (name.starts_with(prefix) && (name.find(".ffn.experts.") != std::string::npos) == routed)
      bytes += entry.tensor->n_bytes;
  return bytes;
}

}  // namespace

MemoryNeeds memory_needs(const Weights& weights, bool exact, std::int64_t n_context, int chunk,
                         int n_threads) {
  const Checkpoint& checkpoint = weights.checkpoint;
  const Config& c = checkpoint.config();
  MemoryNeeds needs;
  needs.dense = bytes_of(checkpoint, false);
  needs.experts = bytes_of(checkpoint, true);
  for (int i = 0; i < c.num_hidden_layers; ++i)
    needs.experts_min = std::max(needs.experts_min,
                                 bytes_of(checkpoint, true, fmt::format("layers.{}.", i)));
  needs.tiles = repacked_bytes(weights);
  needs.sequence = State::bytes(weights, exact, n_context, chunk) + kSnapshotBytesMax;
  // A chunk, its snapshot, the logits of a draw with guesses, and what draft blocks keep
  // (Drafter::missing_bytes).
  const std::uint64_t streams = sizeof(float) * static_cast<std::uint64_t>(c.hc_mult) *
                                static_cast<std::uint64_t>(c.hidden_size);
  needs.sequence_min =
      State::bytes(weights, exact, chunk, chunk) + State::bytes(weights, exact, 0, 0) +
      sizeof(float) * static_cast<std::uint64_t>(kDraftMax + 1) *
          static_cast<std::uint64_t>(c.vocab_size) +
      3 * streams * static_cast<std::uint64_t>(c.sliding_window) +
      Sampler::bytes_for(static_cast<std::size_t>(c.vocab_size)) +
      static_cast<std::uint64_t>(chunk) * sizeof(Token) + CopyIndex::bytes_for(chunk);
  needs.work = work_bytes(
      weights, {.exact = exact, .n_context = n_context, .chunk = chunk, .n_threads = n_threads});
  return needs;
}

Result<MemoryPlan> plan_memory(const MemoryNeeds& needs, std::uint64_t limit,
                               std::uint64_t tiles_max, const std::string& directory) {
  // A session rarely fills the context, and pages of weights make way for one that does.
  const std::uint64_t always = needs.dense + needs.work,
                      sequence = std::min(needs.sequence, limit / 4);
  const std::uint64_t least = always + needs.experts_min + needs.sequence_min;
  if (least > limit)
    return tl::unexpected(Error{
        Errc::no_memory,
        fmt::format("load {}: it takes {} of memory at least ({} that every token needs, {} for "
                    "one layer's "
                    "experts, {} for a short sequence), and {} are there; free some, raise the "
                    "limit where one was given, or take a machine with more",
                    directory, size_text(least), size_text(always), size_text(needs.experts_min),
                    size_text(needs.sequence_min), size_text(limit))});
  MemoryPlan plan;
  const std::uint64_t left = limit - always;
  if (needs.experts + sequence <= left) {
    plan.tiles = needs.tiles <= tiles_max && needs.experts + sequence + needs.tiles <= left;
    plan.sequences_max = left - needs.experts - (plan.tiles ? needs.tiles : 0);
    return plan;
  }
  plan.experts_max = std::max(needs.experts_min, left - std::min(left, sequence));
  plan.sequences_max = left - needs.experts_min;
  return plan;
}

}  // namespace lares::engine
