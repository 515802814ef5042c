// What one evaluation on a GPU is made of; for the files of the forward pass alone.
#pragma once

#include <bit>
#include <cstring>

#include "engine/cuda/forward.h"

namespace lares::engine::cuda {

inline bool quantises(const kc::Weight& w) {
  return w.format == kernels::Format::fp8 || w.format == kernels::Format::fp4;
}
// Row i of a table in bf16, to the nearest, ties to even, as released numerics round.
inline void copy_row(const kernels::Matrix& table, Token i, bf16* to) {
  const auto n = static_cast<std::size_t>(table.n_in), from = static_cast<std::size_t>(i) * n;
  if (table.format == kernels::Format::bf16) {
    std::memcpy(to, static_cast<const bf16*>(table.data) + from, sizeof(bf16) * n);
    return;
  }
  for (std::size_t k = 0; k < n; ++k) {
    const auto v = std::bit_cast<std::uint32_t>(static_cast<const float*>(table.data)[from + k]);
    to[k] = static_cast<bf16>((v + 0x7FFF + ((v >> 16) & 1)) >> 16);
  }
}
inline int blocks(int n) { return (n + kc::kScaleBlock - 1) / kc::kScaleBlock; }

// One evaluation: its shape, and where its inputs are on the GPU.
struct DeviceForward::Step {
  int n = 0, n_parts = 0, n_rows = 0;
  std::int64_t reach = 0;  // no token's position is as great; what launches are sized by
  // Of a chunk too long for its own ring: it works in the work space's
  const DeviceState* alone = nullptr;
  float* logits = nullptr;
  // Missing experts come to the GPU, without waiting for who is asked for
  bool streams = false, streams_all = false;
  HandOver x{};             // the streams, and what leaves a sub-layer and how it mixes with them
  std::uint64_t bytes = 0;  // of the inputs
  Piece piece;
  const std::int64_t* position = nullptr;
  const std::int32_t *tokens = nullptr, *iota = nullptr, *part = nullptr;
  const kc::Part* parts = nullptr;  // [layers, n_parts]
  bf16* const* rows = nullptr;      // [n] as Sequence's; null: nothing is kept
  // [n] how far each token of a DSpark block sees: to the block's end
  const std::int64_t* seen = nullptr;

  int entries(int ratio) const { return ratio == 0 ? 0 : static_cast<int>(reach / ratio); }
  bool chooses(const Config& c, int ratio) const { return ratio == 4 && entries(4) > c.index_topk; }
};

}  // namespace lares::engine::cuda
