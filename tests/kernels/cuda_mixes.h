// What a boundary left of some tokens, and what it is to become.
#pragma once

#include "kernels/cuda/hyper/hyper_mixes.h"
#include "tests/kernels/cuda_emulation.h"

namespace lares::kernels::cuda::test {

class LeftMixes {
 public:
  explicit LeftMixes(int n_tokens)
      : n_(n_tokens),
        mixes_(normals(static_cast<std::size_t>(n_tokens) * kStride, 45)),
        post_(static_cast<std::size_t>(n_tokens) * kHyperStreams),
        comb_(static_cast<std::size_t>(n_tokens) * kHyperStreams * kHyperStreams) {}

  HyperMixes args() const {
    return {.mixes = mixes_.data(),
            .stride = kStride,
            .post = post_.data(),
            .comb = comb_.data(),
            .n_tokens = n_,
            .iters = 20,
            .eps = 1e-6f};
  }
  void poison() const { post_.poison(), comb_.poison(); }
  std::pair<std::vector<float>, std::vector<float>> made() const {
    return {post_.values(), comb_.values()};
  }
  // By a warp a token. Columns, normalised last, add up to nearly 1.
  std::pair<std::vector<float>, std::vector<float>> wanted() const {
    poison();
    simt::Machine::get().run({n_}, 32, 0, simt::Order::ascending,
                             [&] { put_left(args(), block_x()); });
    const auto out = made();
    for (std::size_t t = 0; t < static_cast<std::size_t>(n_); ++t)
      for (std::size_t c = 0; c < kHyperStreams; ++c) {
        double sum = 0;
        for (std::size_t j = 0; j < kHyperStreams; ++j)
          sum += out.second[(t * kHyperStreams + j) * kHyperStreams + c];
        EXPECT_NEAR(sum, 1, 4e-6);
        const double mix = mixes_[t * kStride + kHyperStreams + c];
        EXPECT_NEAR(out.first[t * kHyperStreams + c], 2 / (1 + std::exp(-mix)), 1e-6);
      }
    return out;
  }

 private:
  static constexpr int kStride = 30;
  int n_;
  std::vector<float> mixes_;
  mutable Guarded<float> post_, comb_;
};

}  // namespace lares::kernels::cuda::test
