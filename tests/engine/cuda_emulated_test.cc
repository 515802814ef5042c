// The forward pass through the CUDA kernels' own code, emulated on the CPU: near the CPU's results, and the same bits however it is cut.
#include <gmock/gmock.h>

#include "engine/cuda/forward.h"
#include "tests/engine/emulated_device.h"
#include "tests/engine/model_golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::DeviceForward;
using cuda::DeviceState;

constexpr int kTokens = 20;          // emulated threads are slow
constexpr std::int64_t kContext = 1024;

class CudaEmulated : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    weights_ = golden_weights(GetParam());
    tokens_ = Golden(GetParam()).tokens;
    tokens_.resize(kTokens);
    const Config& c = weights_->checkpoint.config();
    auto on_device = cuda::DeviceWeights::upload(device_, *weights_, 0, c.num_hidden_layers, true, {}, {});
    ASSERT_TRUE(on_device) << on_device.error().message;
    on_device_ = std::move(*on_device);
    pages_ = std::make_unique<cuda::PagePool>(device_, page_layout(c, false), 0, c.num_hidden_layers, 4);
    auto forward = DeviceForward::make(device_, *weights_, *on_device_, {.chunk = kTokens, .n_context = kContext}, pool_, kernels::best());
    ASSERT_TRUE(forward) << forward.error().message;
    forward_ = std::move(*forward);
  }
  std::vector<float> logits(std::initializer_list<int> chunks) {
    const Config& c = weights_->checkpoint.config();
    const auto V = static_cast<std::size_t>(c.vocab_size);
    DeviceState state(device_, *weights_, *pages_, 0, c.num_hidden_layers, kContext);
    std::vector<float> out(tokens_.size() * V, NAN);
    std::size_t at = 0;
    for (const int n : chunks) {
      const DeviceForward::Sequence one{&state, n};
      const auto done = forward_->evaluate({&one, 1}, std::span(tokens_).subspan(at, static_cast<std::size_t>(n)), n, out.data() + at * V);
      EXPECT_TRUE(done) << done.error().message;
      at += static_cast<std::size_t>(n);
    }
    out.resize(at * V);
    return out;
  }
  std::vector<float> on_cpu(bool exact) {
    const Config& c = weights_->checkpoint.config();
    Forward forward(*weights_, exact, pool_, kernels::best());
    State state(*weights_, exact, kTokens);
    std::vector<float> x(tokens_.size() * static_cast<std::size_t>(c.hc_mult) * static_cast<std::size_t>(c.hidden_size)), out(tokens_.size() * static_cast<std::size_t>(c.vocab_size));
    forward.evaluate(state, tokens_, x.data());
    forward.head(x.data(), kTokens, out.data());
    return out;
  }

  kernels::ThreadPool pool_{2};
  EmulatedDevice device_;
  std::unique_ptr<Weights> weights_;
  std::vector<Token> tokens_;
  std::unique_ptr<cuda::DeviceWeights> on_device_;
  std::unique_ptr<cuda::PagePool> pages_;
  std::unique_ptr<DeviceForward> forward_;
};

// Both round at the same places and add in another order, and where that tips an fp8 step a row moves by up to 3e-2 a layer. So the measure is
// what rounding does at all: the device is no farther from float32 numerics than the CPU's released ones are, and nearer to those.
// Then the same tokens cut otherwise, to the bit.
TEST_P(CudaEmulated, NearTheCpuAndTheSameInAnyCut) {
  const auto whole = logits({kTokens});
  const auto V = static_cast<std::size_t>(weights_->checkpoint.config().vocab_size);
  const auto got = whole, released = on_cpu(false), exact = on_cpu(true);
  const double rounding = median(relative_errors(released, exact, V)), ours = median(relative_errors(got, exact, V)), apart = median(relative_errors(got, released, V));
  std::printf("  %s: from float32 %.1e, the CPU %.1e; from the CPU %.1e\n", GetParam(), ours, rounding, apart);
  EXPECT_LT(ours, 1.25 * rounding);
  EXPECT_LT(apart, rounding);
  const auto cut = logits({1, 1, 9, 1, 8});
  ASSERT_EQ(cut.size(), whole.size());
  for (std::size_t i = 0; i < whole.size(); ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(cut[i]), std::bit_cast<std::uint32_t>(whole[i])) << "token " << i / static_cast<std::size_t>(weights_->checkpoint.config().vocab_size);
}

INSTANTIATE_TEST_SUITE_P(, CudaEmulated, testing::Values("micro-flash", "micro-pro"), [](const auto& p) { return std::string(p.param).substr(6); });

}  // namespace
}  // namespace lares::engine
