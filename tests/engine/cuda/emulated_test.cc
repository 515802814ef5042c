// The forward pass through the CUDA kernels' own code, emulated on the CPU: near the CPU's results,
// and the same bits however it is cut, in tokens or in layers.
#include <gmock/gmock.h>

#include <deque>
#include <random>

#include "tests/engine/cuda/emulated_device.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::Pipeline;

constexpr int kTokens = 20;  // emulated threads are slow
constexpr std::int64_t kContext = 1024;

struct Case {
  const char* model;
  std::vector<int> cuts;  // of layers, over several devices; flash's last has the head alone
};

class CudaEmulated : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    weights_ = golden_weights(GetParam().model);
    tokens_ = Golden(GetParam().model).tokens;
    tokens_.resize(kTokens);
  }
  std::vector<float> logits(std::span<const int> cuts, std::initializer_list<int> chunks,
                            bool wgmma = true, const cuda::StageOptions& options = {}) {
    const auto V = static_cast<std::size_t>(weights_->checkpoint.config().vocab_size);
    std::vector<EmulatedDevice> memory(cuts.size() + 1);
    std::vector<cuda::Device*> devices;
    for (EmulatedDevice& device : memory) device.wgmma = wgmma, devices.push_back(&device);
    cuda::StageOptions of = options;
    of.n_pages = 4;
    of.forward.chunk = kTokens;
    of.forward.n_context = kContext;
    const auto pipeline = pipeline_over(devices, *weights_, cuts, of, pool_);
    EXPECT_TRUE(pipeline) << pipeline.error().message;
    if (!pipeline) return {};
    cuda::PipelineState state(**pipeline, kContext);
    std::vector<float> out(tokens_.size() * V, NAN);
    std::size_t at = 0;
    for (const int n : chunks) {
      const Pipeline::Sequence one{&state, n};
      const auto done = (*pipeline)->evaluate(
          {&one, 1}, std::span(tokens_).subspan(at, static_cast<std::size_t>(n)), n,
          out.data() + at * V);
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
    std::vector<float> x(tokens_.size() * static_cast<std::size_t>(c.hc_mult) *
                         static_cast<std::size_t>(c.hidden_size)),
        out(tokens_.size() * static_cast<std::size_t>(c.vocab_size));
    forward.evaluate(state, tokens_, x.data());
    forward.head(x.data(), kTokens, out.data());
    return out;
  }

  kernels::ThreadPool pool_{2};
  std::unique_ptr<Weights> weights_;
  std::vector<Token> tokens_;
};

// Both round at the same places and add in another order, and where that tips an fp8 step a row
// moves by up to 3e-2 a layer. So the measure is what rounding does at all: the device is no
// farther from float32 numerics than the CPU's released ones are, and nearer to those. Then the
// same tokens cut otherwise, on one device and over several, and without wgmma, to the bit.
TEST_P(CudaEmulated, NearTheCpuAndTheSameInAnyCut) {
  const auto whole = logits({}, {kTokens});
  const auto V = static_cast<std::size_t>(weights_->checkpoint.config().vocab_size);
  const auto got = whole, released = on_cpu(false), exact = on_cpu(true);
  const double rounding = median(relative_errors(released, exact, V)),
               ours = median(relative_errors(got, exact, V)),
               apart = median(relative_errors(got, released, V));
  std::printf("  %s: from float32 %.1e, the CPU %.1e; from the CPU %.1e\n", GetParam().model, ours,
              rounding, apart);
  EXPECT_LT(ours, 1.25 * rounding);
  EXPECT_LT(apart, rounding);
  EXPECT_EQ(logits({}, {kTokens}, /*wgmma=*/false), whole);
  for (const std::vector<int>& cuts : {std::vector<int>{}, GetParam().cuts}) {
    const auto cut = logits(cuts, {1, 1, 9, 1, 8});
    ASSERT_EQ(cut.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(cut[i]), std::bit_cast<std::uint32_t>(whole[i]))
          << "on " << cuts.size() + 1 << " devices, token " << i / V;
  }
}

// Experts of fp4 that have no room there, computed by the CPU or multiplied as they pass, few
// tokens and many: the bits of experts that stay.
TEST_P(CudaEmulated, MissingExpertsGiveTheSameBits) {
  const auto whole = logits({}, {kTokens});
  const Config& c = weights_->checkpoint.config();
  std::vector<char> resident(static_cast<std::size_t>(c.num_hidden_layers) *
                             static_cast<std::size_t>(c.n_routed_experts));
  for (std::size_t i = 0; i < resident.size(); ++i) resident[i] = i * 7 % 5 < 2;
  const auto same = [&](const std::vector<float>& got, const char* way) {
    ASSERT_EQ(got.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(whole[i]))
          << way << ", token " << i / static_cast<std::size_t>(c.vocab_size);
  };
  cuda::StageOptions of{.resident = resident};
  same(logits({}, {1, 1, 10, 8}, true, of), "computed");
  of.stream = true;
  of.ring_max = 1;
  of.forward.stream_from = 1;
  same(logits({}, {1, 1, 10, 8}, true, of), "passing");
  same(logits({}, {kTokens}, false, of), "passing, without wgmma");
  of.forward.stream_from = 9;
  same(logits(GetParam().cuts, {1, 1, 10, 8}, true, of), "passing or computed, over devices");
}

// Of fp8 too, whose scales lie beside their tiles: they pass for any number of tokens.
TEST_P(CudaEmulated, MissingExpertsOfFp8Pass) {
  std::mt19937 random(11);
  std::deque<std::vector<std::uint8_t>> memory;
  for (LayerWeights& layer : weights_->layers)
    for (ExpertWeights& expert : layer.experts)
      for (kernels::Matrix* const m : {&expert.w1, &expert.w3, &expert.w2}) {
        auto& codes = memory.emplace_back(static_cast<std::size_t>(m->n_out) *
                                          static_cast<std::size_t>(m->n_in));
        auto& scale = memory.emplace_back(
            static_cast<std::size_t>((m->n_out + 127) / 128 * ((m->n_in + 127) / 128)));
        for (auto& code : codes)
          code = static_cast<std::uint8_t>(random() % 0x60 | random() % 2 << 7);
        for (auto& exponent : scale) exponent = static_cast<std::uint8_t>(118 + random() % 4);
        *m = {.format = kernels::Format::fp8,
              .data = codes.data(),
              .scale = scale.data(),
              .n_out = m->n_out,
              .n_in = m->n_in};
      }
  const auto whole = logits({}, {kTokens});
  const Config& c = weights_->checkpoint.config();
  std::vector<char> resident(static_cast<std::size_t>(c.num_hidden_layers) *
                             static_cast<std::size_t>(c.n_routed_experts));
  for (std::size_t i = 0; i < resident.size(); ++i) resident[i] = i * 7 % 5 < 2;
  ASSERT_TRUE(std::ranges::all_of(whole, [](float v) { return std::isfinite(v); }));
  const auto got = logits({}, {1, 19}, true, {.resident = resident, .stream = true, .ring_max = 1});
  ASSERT_EQ(got.size(), whole.size());
  for (std::size_t i = 0; i < whole.size(); ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(whole[i]))
        << "token " << i / static_cast<std::size_t>(c.vocab_size);
}

INSTANTIATE_TEST_SUITE_P(, CudaEmulated,
                         testing::Values(Case{"micro-flash", {2, 5}}, Case{"micro-pro", {3}}),
                         [](const auto& p) { return std::string(p.param.model).substr(6); });

}  // namespace
}  // namespace lares::engine
