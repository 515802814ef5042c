// One GPU's part in a model: a run of its layers, the head on the last GPU, and what those need
// beside the sequences' own state.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "engine/cuda/draft_blocks.h"
#include "engine/cuda/forward.h"
#include "engine/cuda/page_cache.h"

namespace lares::engine::cuda {

struct StageOptions {
  int layer_begin = 0, layer_end = 0;  // none: the head alone
  bool head = true;
  std::span<const char> resident = {};  // as DeviceWeights::upload() takes it
  std::int64_t n_pages = 0;             // of all sequences together
  // Experts that are not resident come to the GPU for many tokens (expert_stream.h)
  bool stream = false;
  std::uint64_t ring_max = kRingBytesMax;  // as ExpertStream::make() takes it
  bool draft = false;  // with the head: the checkpoint's draft blocks, which it must have
  DeviceForward::Options forward;  // but for `stream` and `keeps`
};

struct Stage {
  // Uploads the weights and takes everything else. no_memory, with what it was for, where the GPU
  // or pinned memory has too little. The device, the weights and the threads must outlive it.
  // progress: of the model's layers.
  static Result<Stage> make(Device& device, const Weights& weights, const StageOptions& options,
                            kernels::ThreadPool& pool, const kernels::Kernels& kernels,
                            const Progress& progress);

  Device* device = nullptr;
  std::unique_ptr<DeviceWeights> weights;
  std::unique_ptr<ExpertStream> stream;  // null: no expert is missing, or the CPU computes them all
  std::string unstreamed;                // why, where they were to come to the GPU and cannot
  std::unique_ptr<PagePool> pages;
  std::unique_ptr<PageCache> cache;
  std::unique_ptr<DeviceForward> forward;
  std::unique_ptr<DraftBlocks> draft;  // null: not asked for, or see undrafted
  std::string undrafted;               // why not, where they were
};

}  // namespace lares::engine::cuda
