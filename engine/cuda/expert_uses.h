// What the layers that lack experts asked for: their numbers of slots come to the host with every
// evaluation, to be computed by and counted.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "engine/cuda/device.h"
#include "engine/cuda/weights.h"
#include "engine/cuda/work_space.h"
#include "engine/model/memory/expert_heat.h"

namespace lares::engine::cuda {

class ExpertUses {
 public:
  // heat: where they are counted, of the whole model; null: nowhere.
  ExpertUses(Device& device, const Config& c, const DeviceWeights& weights, ExpertHeat* heat);
  bool ready() const { return static_cast<bool>(memory_); }  // there was enough pinned memory
  static std::uint64_t bytes(const Config& c, int n_layers);

  // [n_experts + 1] each expert's first slot, as group() gave them, once the device has come so
  // far.
  const std::int32_t* ask(int layer, const WorkSpace& w);
  // Behind an evaluation of n tokens that was not cancelled, and has ended: what was asked since
  // the last.
  void count(int n);
  // Whether it counts from now on; it does at first. What is evaluated for the engine's own sake
  // says nothing of what people ask for.
  void set_counts(bool counts) { counts_ = counts; }

  // Uses of a layer that found their expert on the GPU, that did not. From any thread.
  std::int64_t found() const { return found_; }
  std::int64_t missed() const { return missed_; }

 private:
  Device& device_;
  const DeviceWeights& weights_;
  const std::size_t n_experts_;
  const int n_layers_;  // of the model
  ExpertHeat* const heat_;
  Pinned memory_;  // [layers, n_experts + 1]
  std::vector<int> asked_;
  bool counts_ = true;
  std::atomic<std::int64_t> found_ = 0, missed_ = 0;
};

}  // namespace lares::engine::cuda
