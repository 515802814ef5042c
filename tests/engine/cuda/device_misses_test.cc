// Experts that a GPU has no room for, on a GPU that is there: again and again the bits of all of
// them on it, by copies beside the launches and by the CPU. Skips, and says why, where there is
// none.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "engine/cuda/pipeline.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;

constexpr int kTokens = 200, kReruns = 20;
constexpr std::int64_t kContext = 2048;

class MissingExperts : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto device = cuda::open_device(0);
    if (!device) GTEST_SKIP() << device.error().message;
    device_ = std::move(*device);
    weights_ = golden_weights(GetParam());
    tokens_ = Golden(GetParam()).tokens;
    tokens_.resize(kTokens);
  }
  std::size_t V() const {
    return static_cast<std::size_t>(weights_->checkpoint.config().vocab_size);
  }
  std::unique_ptr<cuda::Pipeline> loaded(cuda::StageOptions options) {
    options.n_pages = 16;
    options.forward.chunk = kTokens;
    options.forward.n_context = kContext;
    cuda::Device* const one[] = {device_.get()};
    auto pipeline = pipeline_over(one, *weights_, {}, options, pool_);
    EXPECT_TRUE(pipeline) << pipeline.error().message;
    return std::move(*pipeline);
  }
  // Logits of all tokens: a chunk, a smaller one, then steps of several and of one: run, recorded,
  // replayed.
  std::vector<float> logits(cuda::Pipeline& pipeline) {
    cuda::PipelineState state(pipeline, kContext);
    EXPECT_EQ(state.without_room(), nullptr);
    std::vector<float> out(tokens_.size() * V(), NAN);
    for (std::size_t at = 0; at < tokens_.size();) {
      const std::size_t n = at == 0 ? 100 : at == 100 ? 66 : at < 190 ? 8 : 1;
      const cuda::Pipeline::Sequence one{&state, static_cast<int>(n)};
      const auto done = pipeline.evaluate({&one, 1}, std::span(tokens_).subspan(at, n),
                                          static_cast<int>(n), out.data() + at * V());
      EXPECT_TRUE(done) << done.error().message;
      at += n;
    }
    return out;
  }

  kernels::ThreadPool pool_{2};
  std::unique_ptr<cuda::Device> device_;  // goes last but for the threads
  std::unique_ptr<Weights> weights_;
  std::vector<Token> tokens_;
};

TEST_P(MissingExperts, GiveTheBitsOfThoseThatStay) {
  const auto whole = logits(*loaded({}));
  const Config& c = weights_->checkpoint.config();
  std::vector<char> resident(static_cast<std::size_t>(c.num_hidden_layers) *
                             static_cast<std::size_t>(c.n_routed_experts));
  for (const int few : {0, 2})              // of five none, and two
    for (const int from : {0, 1, 9, 65}) {  // 0: the CPU computes all
      for (std::size_t i = 0; i < resident.size(); ++i)
        resident[i] = static_cast<int>(i * 7 % 5) < few;
      const auto pipeline = loaded({.resident = resident,
                                    .stream = from > 0,
                                    .ring_max = 1,
                                    .forward = {.stream_from = from}});
      ASSERT_EQ(pipeline->stages().front().stream != nullptr, from > 0);
      for (int run = 0; run < kReruns; ++run) {
        const auto got = logits(*pipeline);
        for (std::size_t i = 0; i < whole.size(); ++i)
          ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(whole[i]))
              << few << " of 5 resident, from " << from << ", run " << run << ", token " << i / V();
      }
    }
}

INSTANTIATE_TEST_SUITE_P(, MissingExperts, testing::Values("micro-flash", "micro-pro"),
                         [](const auto& p) { return std::string(p.param).substr(6); });

}  // namespace
}  // namespace lares::engine
