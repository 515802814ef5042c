// Experts that are on no GPU, computed by the CPU: their tokens come to the host, its kernels read
// the weights where they lie, and the results go to the slots that the GPU left alone. For few
// tokens: for more, expert_stream.h brings the experts to the GPU. Of fp4 the bits are the GPU's;
// of other formats it adds in another order, so these are computed here only where they cannot
// come.
#pragma once

#include <span>
#include <vector>

#include "engine/cuda/device.h"
#include "engine/cuda/work_space.h"
#include "engine/model/checkpoint/weights.h"
#include "engine/model/memory/buffer.h"
#include "kernels/dispatch.h"
#include "kernels/thread_pool.h"

namespace lares::engine::cuda {

class HostExperts {
 public:
  // Pinned memory for n_max tokens is taken here; ready(): there was enough.
  HostExperts(Device& device, const Config& c, int n_max, kernels::ThreadPool& pool,
              const kernels::Kernels& kernels);
  bool ready() const { return static_cast<bool>(memory_); }
  static std::uint64_t bytes(const Config& c, int n_max);

  // After group() and before combine() of n tokens: fills w.out's rows of every slot whose expert
  // is not resident. Waits for the device, and so for `begin`, as ExpertUses asked for it.
  void compute(const LayerWeights& layer, std::span<const char> resident, const std::int32_t* begin,
               const WorkSpace& w, int n);

 private:
  // An expert's slots, and where its rows are among those that are computed together.
  struct Use {
    const ExpertWeights* expert;
    int first, n, at;
  };
  struct Product {
    kernels::Matrix ExpertWeights::*which;
    float* y;  // [rows, n_out]
  };
  template <class Row>
  void each_row(int rows, Row f) {
    pool_.run(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) f(static_cast<int>(r));
    });
  }
  void compute_together(std::span<const Use> uses, int rows, const WorkSpace& w);
  void multiply(std::span<const Use> uses, std::span<const Product> products, const float* x,
                int rows);

  Device& device_;
  const Config& c_;
  kernels::ThreadPool& pool_;
  const kernels::Kernels& k_;
  Pinned memory_;
  bf16 *normed_ = nullptr, *out_ = nullptr;  // [n, D], [n k, D]
  std::int32_t* token_of_ = nullptr;         // [n k]
  float* factor_ = nullptr;                  // [n k]
  Buffer x_, gate_, up_, y_, packed_;
  std::vector<Use> uses_;
  std::vector<int> slots_;  // of the rows that are computed together
};

}  // namespace lares::engine::cuda
