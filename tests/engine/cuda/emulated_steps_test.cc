// A prompt's chunk and steps of one and of two tokens through the CUDA kernels' own code, emulated,
// each launch beside its neighbours. For a race detector (`make racecheck`), which sees at once
// what emulated_test.cc would have to be lucky to see: so it asks for numbers alone, and is short.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/engine/cuda/emulated_device.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::Pipeline;

constexpr std::int64_t kContext = 1024;
constexpr int kChunk = 9, kChunks[] = {1, 1, kChunk, 2};

class CudaEmulatedSteps : public testing::TestWithParam<const char*> {};

TEST_P(CudaEmulatedSteps, GiveNumbers) {
  const auto weights = golden_weights(GetParam());
  auto tokens = Golden(GetParam()).tokens;
  kernels::ThreadPool pool{1};
  for (const bool wgmma : {true, false}) {
    EmulatedDevice device;
    device.wgmma = wgmma;
    cuda::Device* const devices[] = {&device};
    cuda::StageOptions of;
    of.n_pages = 4;
    of.forward.chunk = kChunk;
    of.forward.n_context = kContext;
    const auto pipeline = pipeline_over(devices, *weights, {}, of, pool);
    ASSERT_TRUE(pipeline) << pipeline.error().message;
    cuda::PipelineState state(**pipeline, kContext);
    const auto V = static_cast<std::size_t>(weights->checkpoint.config().vocab_size);
    std::size_t at = 0;
    for (const int n : kChunks) {
      std::vector<float> out(static_cast<std::size_t>(n) * V, NAN);
      const Pipeline::Sequence one{&state, n};
      const auto done = (*pipeline)->evaluate(
          {&one, 1}, std::span(tokens).subspan(at, static_cast<std::size_t>(n)), n, out.data());
      ASSERT_TRUE(done) << done.error().message;
      EXPECT_TRUE(std::ranges::all_of(out, [](float v) { return std::isfinite(v); })) << at;
      at += static_cast<std::size_t>(n);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, CudaEmulatedSteps, testing::Values("micro-flash", "micro-pro"),
                         [](const auto& p) { return std::string(p.param).substr(6); });

}  // namespace
}  // namespace lares::engine
