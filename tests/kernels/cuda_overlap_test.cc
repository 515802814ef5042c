// Launches that overlap, emulated: what a kernel does before it waits for its inputs happens before
// the launch ahead of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/kernels/cuda_racing.h"

namespace lares::kernels::cuda {
namespace {

constexpr int kBlocks = 9, kThreads = 64, kCluster = 3;

struct Args {
  const int* in;
  int* out;
};
int at() {
  const auto& m = simt::Machine::get();
  return m.block().x * kThreads + m.thread();
}
// out = in + 1, by others of the block.
void add_one(Args a) {
  wait_for_inputs();
  int* const shared = static_cast<int*>(simt::Machine::get().shared());
  const int t = simt::Machine::get().thread();
  shared[t] = a.in[at()];
  sync_block();
  a.out[at() - t + kThreads - 1 - t] = shared[kThreads - 1 - t] + 1;
}
void add_one_read_early(Args a) {
  const int read = a.in[at()];
  wait_for_inputs();
  a.out[at()] = read + 1;
}
void write_early(Args a) {
  a.out[at()] = -1;
  wait_for_inputs();
}
void wait_for_nothing(Args) {}

class CudaOverlap : public testing::Test {
 protected:
  template <class Kernel>
  void go(Kernel kernel, const std::vector<int>& in, std::vector<int>& out, int cluster = 1) {
    const simt::Overlap::Here here(overlap_);
    ASSERT_TRUE(launch("test", kernel, {.x = kBlocks, .cluster = cluster}, kThreads,
                       kThreads * sizeof(int), nullptr, Args{in.data(), out.data()})
                    .ok());
  }
  int count(const std::vector<int>& of, int value) const {
    return static_cast<int>(std::ranges::count(of, value));
  }
  std::vector<int> a_ = std::vector<int>(kBlocks * kThreads), b_ = a_, c_ = a_;
  simt::Overlap overlap_;
};

TEST_F(CudaOverlap, WhoWaitsHasWhatWasMade) {
  for (const int cluster : {1, kCluster}) {
    go(add_one, a_, b_, cluster);
    go(add_one, b_, c_, cluster);
    go(add_one, c_, a_, cluster);
    EXPECT_EQ(a_[0], cluster == 1 ? 0 : 3);  // the last has not run
    overlap_.settle();
    EXPECT_EQ(count(a_, cluster == 1 ? 3 : 6), kBlocks * kThreads);
  }
}

TEST_F(CudaOverlap, WhoReadsEarlyHasWhatWasThere) {
  const test::Racing racing;
  go(add_one, a_, b_);
  go(add_one_read_early, b_, c_);
  overlap_.settle();
  EXPECT_EQ(count(b_, 1), kBlocks * kThreads);
  EXPECT_EQ(count(c_, 1), 3 * kThreads);  // of the first, the last and one between
  EXPECT_EQ(count(c_, 2), (kBlocks - 3) * kThreads);
  EXPECT_EQ(c_.front(), 1);
  EXPECT_EQ(c_.back(), 1);
}

TEST_F(CudaOverlap, WhoWritesEarlySpoilsWhatIsStillRead) {
  const test::Racing racing;
  go(add_one, a_, b_);
  go(write_early, b_, a_);
  overlap_.settle();
  EXPECT_EQ(count(b_, 0), 3 * kThreads);
  EXPECT_EQ(count(b_, 1), (kBlocks - 3) * kThreads);
}

TEST_F(CudaOverlap, WhoWaitsForNothingIsStopped) {
  EXPECT_DEATH(go(wait_for_nothing, a_, b_), "waits for no inputs");
}

}  // namespace
}  // namespace lares::kernels::cuda
