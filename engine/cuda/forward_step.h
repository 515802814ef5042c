// What one evaluation on a GPU is made of; for the files of the forward pass alone.
#pragma once

#include "engine/cuda/forward.h"

namespace lares::engine::cuda {

inline bool quantises(const kc::Weight& w) { return w.format == kernels::Format::fp8 || w.format == kernels::Format::fp4; }
inline int blocks(int n) { return (n + kc::kScaleBlock - 1) / kc::kScaleBlock; }

// One evaluation: its shape, and where its inputs are on the GPU.
struct DeviceForward::Step {
  int n = 0, n_parts = 0, n_rows = 0;
  std::int64_t reach = 0;  // no token's position is as great; what launches are sized by
  const DeviceState* alone = nullptr;  // of a chunk too long for its own ring: it works in the work space's
  float* logits = nullptr;
  bool streams = false, streams_all = false;  // missing experts come to the GPU, without waiting for who is asked for
  HandOver x{};             // the streams, and what leaves a sub-layer and how it mixes with them
  std::uint64_t bytes = 0;  // of the inputs
  const std::int64_t* position = nullptr;
  const std::int32_t *tokens = nullptr, *iota = nullptr, *part = nullptr;
  const kc::Part* parts = nullptr;  // [layers, n_parts]

  int entries(int ratio) const { return ratio == 0 ? 0 : static_cast<int>(reach / ratio); }
  bool chooses(const Config& c, int ratio) const { return ratio == 4 && entries(4) > c.index_topk; }
};

}  // namespace lares::engine::cuda
