// Guesses ahead through the CUDA kernels' own code, emulated on the CPU: the tokens and the bits of
// the logits are those without.
#include <gmock/gmock.h>

#include "engine/cuda/timeline.h"
#include "tests/engine/cuda/drafted.h"
#include "tests/engine/cuda/emulated_device.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::DeviceTimeline;

class CudaEmulatedDraft : public testing::TestWithParam<const char*> {};

// Right guesses and wrong ones, which are taken back, over the ends of groups of four.
TEST_P(CudaEmulatedDraft, TheSameTokensAndLogits) {
  const auto weights = golden_weights(GetParam());
  kernels::ThreadPool pool{2};
  EmulatedDevice memory;
  cuda::Device* const device = &memory;
  constexpr std::int64_t kContext = 1024;
  const auto pipeline = pipeline_over(
      {&device, 1}, *weights, {}, {.n_pages = 8, .forward = {.chunk = 16, .n_context = kContext}},
      pool);
  ASSERT_TRUE(pipeline) << pipeline.error().message;
  TokenMask narrow(static_cast<std::size_t>(weights->checkpoint.config().vocab_size + 63) / 64);
  narrow[1] = 3;  // two tokens, so it repeats itself
  const auto run = [&](Drafting mode, DraftStats& stats) {
    DeviceTimeline t({*weights, **pipeline, kContext, nullptr, {.mode = mode, .block = false}},
                     nullptr);
    EXPECT_TRUE(t.sync(std::vector<Token>{64, 65, 65, 64, 64, 65, 65, 64}, {}, {}));
    std::vector<std::pair<Token, float>> out;
    for (int i = 0; i < 20; ++i) {
      const Token token = t.next({.temperature = 2, .seed = 3}, &narrow).value_or(-1);
      out.emplace_back(token, t.logprobs(1).drawn);
    }
    stats = t.drafts();
    return out;
  };
  DraftStats plain, drafted;
  const auto want = run(Drafting::off, plain);
  EXPECT_EQ(run(Drafting::always, drafted), want);
  EXPECT_EQ(plain.evaluations, 19);
  EXPECT_LT(drafted.evaluations, plain.evaluations);
  EXPECT_GT(drafted.copy.accepted, 0);
  EXPECT_LT(drafted.copy.accepted, drafted.copy.drafted);
}

class CudaEmulatedBlocks : public testing::TestWithParam<const char*> {};

TEST_P(CudaEmulatedBlocks, SayWhatTheCpusKernelsSay) {
  const auto weights = golden_weights(GetParam());
  HostDevice host;
  EmulatedDevice emulated;
  const Drafted want = drafted_on(host, *weights), got = drafted_on(emulated, *weights);
  expect_near(got, want, GetParam());
}

INSTANTIATE_TEST_SUITE_P(, CudaEmulatedBlocks,
                         testing::Values("micro-flash", "micro-pro", "tiny-dspark"),
                         [](const auto& p) {
                           return std::string(p.param).substr(std::string(p.param).find('-') + 1);
                         });
INSTANTIATE_TEST_SUITE_P(, CudaEmulatedDraft, testing::Values("micro-flash", "micro-pro"),
                         [](const auto& p) { return std::string(p.param).substr(6); });

}  // namespace
}  // namespace lares::engine
