// Experts that are on no GPU, computed by the CPU: their tokens come to the host, its kernels read the weights where they lie, and the results
// go to the slots that the GPU left alone. For few tokens: for more, expert_stream.h brings the experts to the GPU. Of fp4 the bits are the GPU's;
// of other formats it adds in another order, so these are computed here only where they cannot come.
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
  // Pinned memory for n_max tokens is taken here; ready(): there was enough.
  HostExperts(Device& device, const Config& c, int n_max, kernels::ThreadPool& pool, const kernels::Kernels& kernels);
  bool ready() const { return static_cast<bool>(memory_); }
  static std::uint64_t bytes(const Config& c, int n_max);

  // After group() and before combine() of n tokens: fills w.out's rows of every slot whose expert is not resident. Waits for the device, and
  // so for `begin`, as ExpertUses asked for it.
  void compute(const LayerWeights& layer, std::span<const char> resident, const std::int32_t* begin, const WorkSpace& w, int n);

 private:
  void multiply(const kernels::Matrix& m, const float* x, float* y, int n);

  Device& device_;
  const Config& c_;
  kernels::ThreadPool& pool_;
  const kernels::Kernels& k_;
  Pinned memory_;
  bf16 *normed_ = nullptr, *out_ = nullptr;           // [n, D], [n k, D]
  std::int32_t* token_of_ = nullptr;                  // [n k]
  float* factor_ = nullptr;                           // [n k]
  Buffer x_, gate_, up_, y_, packed_;
};

}  // namespace lares::engine::cuda
