// A model on one GPU, behind the interface of engine/engine.h: routed experts that have no room there are computed by the CPU.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/cuda/device.h"
#include "engine/model/weights.h"

namespace lares::engine::cuda {

// `device` "cuda" or "cuda:N" -> N; nothing else is one.
Result<int> device_number(std::string_view device);

struct EngineParts {
  std::unique_ptr<Device> device;
  std::uint64_t device_memory = 0;  // bytes it has
  std::unique_ptr<Weights> weights;
  std::unique_ptr<Tokenizer> tokenizer;  // null: ids alone
  std::string name;                      // of the device, for people
  std::uint64_t budget = 0;              // bytes of it that may be taken; 0: all
};
// Plans, uploads and takes what a context needs; no_memory, with the numbers, where that cannot be.
Result<std::unique_ptr<Engine>> make_engine(EngineParts parts, const LoadOptions& options, const Progress& progress);

}  // namespace lares::engine::cuda
