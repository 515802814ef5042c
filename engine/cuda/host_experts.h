// Experts that are on no GPU: their tokens come to the host, the CPU kernels compute them from the weights where they lie, and the results
// go to the slots that the GPU left alone.
#pragma once

#include <vector>

#include "engine/cuda/device.h"
#include "engine/cuda/work_space.h"
#include "engine/model/buffer.h"
#include "engine/model/weights.h"
#include "kernels/dispatch.h"
#include "kernels/thread_pool.h"

namespace lares::engine::cuda {

class HostExperts {
 public:
  // Pinned memory for a chunk is taken here; ready(): there was enough.
  HostExperts(Device& device, const Config& c, int chunk, kernels::ThreadPool& pool, const kernels::Kernels& kernels);
  bool ready() const { return static_cast<bool>(memory_); }
  static std::uint64_t bytes(const Config& c, int chunk);

  // After group() and before combine() of n tokens: fills w.out's rows of every slot whose expert is not resident. Waits for the stream.
  void compute(const LayerWeights& layer, std::span<const char> resident, const WorkSpace& w, int n);

  std::int64_t found() const { return found_; }    // uses of a layer that found their expert on the GPU, that did not
  std::int64_t missed() const { return missed_; }

 private:
  void multiply(const kernels::Matrix& m, const float* x, float* y, int n);

  Device& device_;
  const Config& c_;
  kernels::ThreadPool& pool_;
  const kernels::Kernels& k_;
  Pinned memory_;
  bf16 *normed_ = nullptr, *out_ = nullptr;           // [n, D], [n k, D]
  std::int32_t *token_of_ = nullptr, *begin_ = nullptr;  // [n k], [E + 1]
  float* factor_ = nullptr;                           // [n k]
  Buffer x_, gate_, up_, y_, packed_;
  std::int64_t found_ = 0, missed_ = 0;
};

}  // namespace lares::engine::cuda
