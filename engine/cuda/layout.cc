#include "engine/cuda/layout.h"

#include <algorithm>

#include "engine/cuda/expert_uses.h"
#include "engine/cuda/host_experts.h"
#include "engine/cuda/work_space.h"
#include "engine/model/draft/block_drafter.h"
#include "engine/model/state.h"
#include "kernels/cells.h"
#include "kernels/cuda/products/linear.h"

namespace lares::engine::cuda {
namespace {

// [rows, 2, width] f32: values, then gates with their bias.
std::uint64_t raw_bytes(int ratio, int dim) {
  const int width = ratio == 4 ? 2 * dim : dim, rows = ratio == 4 ? 2 * ratio : ratio;
  return aligned(static_cast<std::uint64_t>(rows + kRollback) * 2 *
                 static_cast<std::uint64_t>(width) * sizeof(float));
}

}  // namespace

std::uint64_t layer_page_bytes(const PageLayout& pages, int layer) {
  const auto begin = [&](std::size_t i) {
    for (; i < pages.layers.size(); ++i)
      if (pages.layers[i].entries.n > 0)
        return static_cast<std::uint64_t>(pages.layers[i].entries.offset);
    return static_cast<std::uint64_t>(pages.bytes);
  };
  const auto i = static_cast<std::size_t>(layer);
  return pages.layers[i].entries.n == 0 ? 0 : begin(i + 1) - begin(i);
}

std::uint64_t page_offset(const PageLayout& pages, int layer) {
  std::uint64_t offset = 0;
  for (int i = 0; i < layer; ++i) offset += layer_page_bytes(pages, i);
  return offset;
}

std::uint64_t layer_state_bytes(const Config& c, int layer) {
  const int ratio = c.ratio(layer);
  std::uint64_t bytes = aligned(static_cast<std::uint64_t>(c.sliding_window + kRollback) *
                                kernels::cell_bytes(c.head_dim, c.qk_rope_head_dim));
  if (ratio != 0) bytes += raw_bytes(ratio, c.head_dim);
  if (ratio == 4) bytes += raw_bytes(4, c.index_head_dim);
  return bytes;
}

std::uint64_t work_bytes(const Config& c, int chunk, std::int64_t n_context) {
  WorkSpace nowhere;
  return lay(nowhere, c, chunk, n_context, nullptr);
}

std::uint64_t host_work_bytes(const Config& c, int chunk, const HostWork& of) {
  WorkSpace nowhere;
  lay(nowhere, c, chunk, 0, nullptr);
  const std::uint64_t logits = sizeof(float) * kRowsMax * static_cast<std::uint64_t>(c.vocab_size);
  return nowhere.inputs_bytes + entry_bytes(c, chunk, of.first) + (of.last ? logits : 0) +
         (of.misses ? ExpertUses::bytes(c, c.num_hidden_layers) : 0) +
         (of.computes ? HostExperts::bytes(c, chunk) : 0);
}

int draft_chunk(const Config& c) {
  return std::max({c.sliding_window, c.dspark_block_size, kernels::cuda::kTokensFew});
}

std::uint64_t draft_work_bytes(const Config& c) {
  WorkSpace nowhere;
  return lay(nowhere, c, draft_chunk(c), kReachLeast, nullptr, true);
}

std::uint64_t draft_state_bytes(const Config& c) {
  const bool dspark = c.dspark_block_size > 0;  // a window each stage; MTP asks its first block
  const auto windows = static_cast<std::uint64_t>(
      dspark ? std::max<std::ptrdiff_t>(1, std::ssize(c.compress_ratios) - c.num_hidden_layers)
             : 1);
  const std::uint64_t window = aligned(static_cast<std::uint64_t>(c.sliding_window + kRollback) *
                                       kernels::cell_bytes(c.head_dim, c.qk_rope_head_dim));
  return windows * window + aligned(static_cast<std::uint64_t>(rows_kept(c)) *
                                    static_cast<std::uint64_t>(front_width(c)) * sizeof(bf16));
}

std::uint64_t ring_table_bytes(int n_matrices, int n_experts) {
  return aligned(2 * sizeof(void*) * static_cast<std::uint64_t>(n_matrices) *
                 static_cast<std::uint64_t>(n_experts));
}

std::uint64_t ring_bytes(std::uint64_t expert, int n_experts, std::uint64_t ring_max) {
  const std::uint64_t least = aligned(expert) + ring_table_bytes(2, n_experts),
                      share = static_cast<std::uint64_t>(n_experts) * expert / 4;
  return kRingStages * std::max(least, aligned(std::min(share, ring_max) / kRingStages));
}

}  // namespace lares::engine::cuda
