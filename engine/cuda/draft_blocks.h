// A checkpoint's draft blocks on the GPU that has the head: what all sequences share, and a
// sequence's guesses. engine/model's drafters say which rows to evaluate; here is how.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/cuda/forward.h"
#include "engine/model/draft/block_drafter.h"

namespace lares::engine::cuda {

// Weights, and the forward pass over them. One thread at a time, as the GPU's.
class DraftBlocks {
 public:
  // Why a GPU with the layers from `layer_begin` on, and the head, cannot have them; empty: it can.
  static std::string refusal(const Weights& weights, int layer_begin);
  // Beside `main`, the head and the last layers, which outlive it. unsupported: the blocks' shapes,
  // or they read of layers that are on another GPU. no_memory.
  static Result<std::unique_ptr<DraftBlocks>> make(Device& device, const Weights& weights,
                                                   const DeviceWeights& main,
                                                   kernels::ThreadPool& pool,
                                                   const kernels::Kernels& kernels);

  Device& device() const { return device_; }
  const Weights& weights() const { return weights_; }
  const DeviceWeights& on_device() const { return *on_device_; }
  DeviceForward& forward() { return *forward_; }
  PagePool& no_pages() { return no_pages_; }

 private:
  DraftBlocks(Device& device, const Weights& weights)
      : device_(device),
        weights_(weights),
        no_pages_(device, page_layout(weights.checkpoint.config(), false), 0, 0, 0) {}

  Device& device_;
  const Weights& weights_;
  std::unique_ptr<DeviceWeights> on_device_;
  PagePool no_pages_;
  std::unique_ptr<DeviceForward> forward_;
};

// What the model's layers left of the newest tokens, on the GPU.
class KeptRows {
 public:
  KeptRows(Device& device, RecentPositions& positions, std::size_t width)  // width: values of a row
      : positions_(positions),
        width_(width),
        memory_(device, static_cast<std::size_t>(positions.window()) * width * sizeof(bf16)) {}
  bool made() const { return static_cast<bool>(memory_); }

  // Rows for tokens position..position + n - 1, which are evaluated next; null for those that the
  // newest push out at once. Where that fails, their positions are to be dropped.
  void make_rows(std::int64_t position, int n, std::vector<bf16*>& out);
  // Of positions from..last - 1, which are kept.
  std::vector<bf16*> rows(std::int64_t from, std::int64_t last) const;

 private:
  bf16* at(std::int64_t position) const {
    return reinterpret_cast<bf16*>(memory_.data()) + positions_.slot(position) * width_;
  }

  RecentPositions& positions_;
  const std::size_t width_;
  Memory memory_;
};

// A sequence's guesses. `rows` belongs to the drafter.
struct DeviceDrafter {
  std::unique_ptr<BlockDrafter> drafter;  // null: the GPU has no room for its windows and rows
  KeptRows* rows = nullptr;
};
DeviceDrafter device_drafter(DraftBlocks& blocks);

}  // namespace lares::engine::cuda
