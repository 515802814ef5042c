// A model on one GPU or several, behind the interface of engine/engine.h: routed experts that have
// no room there are computed by the CPU.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cuda/device.h"
#include "engine/model/checkpoint/weights.h"

namespace lares::engine::cuda {

// `device` "cuda" -> 0; "cuda:1" -> 1; "cuda:0,1" -> 0, 1: the GPUs that the layers go over, in
// that order. bad_argument: nothing of these, or a GPU twice.
Result<std::vector<int>> device_numbers(std::string_view device);

struct EngineGpu {
  std::unique_ptr<Device> device;
  std::uint64_t memory = 0;  // bytes it has
};
struct EngineParts {
  std::vector<EngineGpu> gpus;  // one at least; the layers go over them in this order
  std::unique_ptr<Weights> weights;
  std::unique_ptr<Tokenizer> tokenizer;  // null: ids alone
  std::uint64_t budget = 0;              // bytes of each GPU that may be taken; 0: all
};
// Plans (engine/placement.h) with what is free of each GPU, uploads and takes what a context needs;
// no_memory, with the numbers, where that cannot be.
Result<std::unique_ptr<Engine>> make_engine(EngineParts parts, const LoadOptions& options,
                                            const Progress& progress);

}  // namespace lares::engine::cuda
