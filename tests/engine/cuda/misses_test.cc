// Experts that have no room on a GPU, computed by the CPU or brought through a ring, on devices in
// host memory whose copies come as late as the forward pass allows, or as early: the bits of a
// model that is there as a whole, however many tokens, devices and waves.
#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <optional>
#include <random>

#include "engine/cuda/layout.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::Pipeline;
using cuda::PipelineState;
using testing::HasSubstr;

constexpr int kTokens = 150;
constexpr std::int64_t kContext = 1024;

struct Case {
  std::string model;
  std::vector<int> cuts;
  HostDevice::Ahead ahead;
};

// Where missing experts are multiplied, from how many tokens on.
struct Way {
  bool stream = false;
  int from = 0;
  std::uint64_t ring_max = cuda::kRingBytesMax;
  int pinned_refused = -1;  // as HostDevice's
};
constexpr Way kComputed{}, kStreamed{.stream = true, .from = 1};

struct Model {
  std::unique_ptr<Weights> weights;
  std::vector<Token> tokens;
  explicit Model(const std::string& name)
      : weights(golden_weights(name)), tokens(Golden(name).tokens) {
    tokens.resize(kTokens);
    while (tokens.size() < 700)
      tokens.push_back(
          static_cast<Token>(tokens.size() * 7919 %
                             static_cast<std::size_t>(weights->checkpoint.config().vocab_size)));
  }
  const Config& config() const { return weights->checkpoint.config(); }
  std::size_t V() const { return static_cast<std::size_t>(config().vocab_size); }
};
Model& model(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Model>> known;
  auto& m = known[name];
  if (!m) m = std::make_unique<Model>(name);
  return *m;
}
kernels::ThreadPool& pool() {
  static kernels::ThreadPool threads(2);
  return threads;
}

// A pipeline, and the devices below it.
struct Loaded {
  std::vector<std::unique_ptr<HostDevice>> devices;  // go last
  std::unique_ptr<Pipeline> pipeline;

  Loaded(const Case& of, std::span<const char> resident, const Way& way, int chunk,
         ExpertHeat* heat = nullptr) {
    std::vector<cuda::Device*> all;
    for (std::size_t k = 0; k <= of.cuts.size(); ++k) {
      devices.push_back(
          std::make_unique<HostDevice>(std::size_t{4} << 30, "device " + std::to_string(k)));
      devices.back()->ahead = of.ahead;
      devices.back()->pinned_refused = way.pinned_refused;
      all.push_back(devices.back().get());
    }
    auto made = pipeline_over(
        all, *model(of.model).weights, of.cuts,
        {.resident = resident,
         .n_pages = 16,
         .stream = way.stream,
         .ring_max = way.ring_max,
         .forward = {.chunk = chunk, .n_context = kContext, .stream_from = way.from, .heat = heat}},
        pool());
    EXPECT_TRUE(made) << made.error().message;
    if (made) pipeline = std::move(*made);
  }
  // Logits of tokens, evaluated in chunks of these lengths; of long ones the last two alone.
  std::vector<float> logits(const Case& of, std::span<const int> chunks) {
    const Model& m = model(of.model);
    PipelineState state(*pipeline, kContext);
    std::vector<float> out;
    std::size_t at = 0;
    for (const int n : chunks) {
      const int rows = n > kTokens ? 2 : n;
      std::vector<float> some(static_cast<std::size_t>(rows) * m.V(), NAN);
      const Pipeline::Sequence one{&state, n};
      const auto done = pipeline->evaluate(
          {&one, 1}, std::span(m.tokens).subspan(at, static_cast<std::size_t>(n)), rows,
          some.data());
      EXPECT_TRUE(done) << done.error().message;
      out.insert(out.end(), some.begin(), some.end());
      at += static_cast<std::size_t>(n);
    }
    return out;
  }
  std::uint64_t copied() const {
    std::uint64_t bytes = 0;
    for (const cuda::Stage& s : pipeline->stages())
      if (s.stream) bytes += s.stream->copied_bytes();
    return bytes;
  }
  std::uint64_t packed() const {
    std::uint64_t bytes = 0;
    for (const cuda::Stage& s : pipeline->stages())
      if (s.stream) bytes += s.stream->packed_bytes();
    return bytes;
  }
};

std::vector<char> some_of(const Model& m, double share, unsigned seed) {
  std::vector<char> out(static_cast<std::size_t>(m.config().num_hidden_layers) *
                        static_cast<std::size_t>(m.config().n_routed_experts));
  std::mt19937 random(seed);
  for (char& r : out) r = std::uniform_real_distribution<double>()(random) < share;
  return out;
}

void same(const std::vector<float>& got, const std::vector<float>& want, std::size_t V) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want[i]))
        << "row " << i / V << ", " << i % V;
}

class CudaMisses : public testing::TestWithParam<Case> {
 protected:
  Model& m() { return model(GetParam().model); }
  // All experts resident.
  const std::vector<float>& whole(const std::vector<int>& chunks) {
    static std::map<std::pair<std::string, std::vector<int>>, std::vector<float>> known;
    auto& out = known[{GetParam().model, chunks}];
    if (out.empty())
      out = Loaded({GetParam().model, {}, HostDevice::Ahead::work}, {}, kComputed, 700)
                .logits(GetParam(), chunks);
    return out;
  }
  std::vector<float> logits(std::span<const char> resident, const Way& way,
                            const std::vector<int>& chunks) {
    return Loaded(GetParam(), resident, way, 700).logits(GetParam(), chunks);
  }
};

const std::vector<int> kSteps{1, 1, 1, 7, 7, 64, 65};  // each of a kind run, recorded, replayed

TEST_P(CudaMisses, AnyResidentsGiveTheBitsOfAll) {
  for (const double share : {0.0, 0.3, 0.8})
    for (const Way& way :
         {kComputed, kStreamed, Way{.stream = true, .from = 20}, Way{.stream = true, .from = 65}}) {
      if (share > 0.5 && way.stream && way.from < 65) continue;
      SCOPED_TRACE(testing::Message()
                   << share << " resident, streamed from " << (way.stream ? way.from : -1));
      same(logits(some_of(m(), share, 3), way, kSteps), whole(kSteps), m().V());
    }
}

// Many more waves than the ring has stages, in chunks that wait for routes and in those that do
// not.
TEST_P(CudaMisses, ARingSmallerThanALayersExpertsDoes) {
  const auto none = some_of(m(), 0, 1);
  Loaded loaded(GetParam(), none, {.stream = true, .from = 1, .ring_max = 1}, 700);
  for (const cuda::Stage& s : loaded.pipeline->stages()) {
    ASSERT_TRUE(s.stream);
    EXPECT_LT(s.stream->ring_size(),
              s.stream->packed_bytes() /
                  static_cast<std::uint64_t>(s.weights->end() - s.weights->begin()));
  }
  same(loaded.logits(GetParam(), kSteps), whole(kSteps), m().V());
  same(loaded.logits(GetParam(), std::vector<int>{150}), whole({150}), m().V());
}

TEST_P(CudaMisses, AnyChunksGiveTheSameBits) {
  const auto half = some_of(m(), 0.5, 7);
  const std::vector<int> chunks = GetParam().cuts.empty() ? std::vector<int>{700}
                                                          : std::vector<int>{65, 64, 1, 570};
  const auto got = logits(half, {.stream = true, .from = 65}, chunks);
  same({got.end() - static_cast<std::ptrdiff_t>(m().V()), got.end()},
       {whole({700}).end() - static_cast<std::ptrdiff_t>(m().V()), whole({700}).end()}, m().V());
}

// A long chunk brings every byte once; one token those of its experts and no other's.
TEST_P(CudaMisses, NoMoreIsCopiedThanIsAskedFor) {
  const auto none = some_of(m(), 0, 1);
  Loaded all(GetParam(), none, kStreamed, 700);
  all.logits(GetParam(), std::vector<int>{150});
  EXPECT_EQ(all.copied(), all.packed());
  Loaded one(GetParam(), none, kStreamed, 700);
  one.logits(GetParam(), std::vector<int>{1});
  const double share = static_cast<double>(m().config().num_experts_per_tok) /
                       m().config().n_routed_experts;
  EXPECT_NEAR(static_cast<double>(one.copied()) / static_cast<double>(one.packed()), share,
              0.05);  // and the tables
  Loaded computed(GetParam(), none, {.stream = true, .from = 65}, 700);
  computed.logits(GetParam(), std::vector<int>{64});
  EXPECT_EQ(computed.copied(), 0u);
}

// No GPU's ring waits for the GPUs before: behind the first layer all are full, and no more was
// brought, nor is at the end.
TEST_P(CudaMisses, EachRingFillsWhenAChunkBegins) {
  const auto none = some_of(m(), 0, 1);
  Loaded loaded(GetParam(), none, {.stream = true, .from = 1, .ring_max = 1}, 700);
  PipelineState state(*loaded.pipeline, kContext);
  const Pipeline::Sequence one{&state, 150};
  std::vector<float> logits(150 * m().V(), NAN);
  const auto done = loaded.pipeline->evaluate(
      {&one, 1}, std::span(m().tokens).first(150), 150, logits.data(), [&](int layer) {
        if (layer > 0) return true;
        for (const cuda::Stage& s : loaded.pipeline->stages()) {
          EXPECT_GT(s.stream->copied_bytes(), s.stream->ring_size() / 2);
          if (s.weights->begin() > 0) {
            EXPECT_LE(s.stream->copied_bytes(), s.stream->ring_size());
          }
        }
        return true;
      });
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(loaded.copied(), loaded.packed());
  same(logits, whole({150}), m().V());
  // Tokens that wait for their routes have brought what they asked for alone.
  const Pipeline::Sequence next{&state, 1};
  ASSERT_TRUE(loaded.pipeline->evaluate({&next, 1}, std::span(m().tokens).subspan(150, 1), 1,
                                        logits.data()));
  EXPECT_LT(loaded.copied(), 2 * loaded.packed());
}

TEST_P(CudaMisses, AStoppedChunkLeavesNothingBehind) {
  const auto some = some_of(m(), 0.2, 9);
  Loaded loaded(GetParam(), some, {.stream = true, .from = 1, .ring_max = 1}, 700);
  const int n_layers = m().config().num_hidden_layers;
  for (int at = 1; at <= n_layers; ++at) {
    SCOPED_TRACE(at);
    PipelineState state(*loaded.pipeline, kContext);
    const Pipeline::Sequence one{&state, 100};
    int asked = 0;
    const auto stopped = loaded.pipeline->evaluate({&one, 1}, std::span(m().tokens).first(100), 0,
                                                   nullptr, [&](int) { return ++asked < at; });
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code, Errc::cancelled);
    same(loaded.logits(GetParam(), std::vector<int>{65, 1}), whole({65, 1}), m().V());
  }
}

TEST_P(CudaMisses, WithoutPinnedMemoryTheCpuComputesThem) {
  const auto half = some_of(m(), 0.5, 7);
  for (const int refused : {0, 1}) {  // the first layer's block, or the second's
    if (refused > 0 && !GetParam().cuts.empty()) continue;
    Loaded loaded(GetParam(), half, {.stream = true, .from = 1, .pinned_refused = refused}, 150);
    for (const cuda::Stage& s : loaded.pipeline->stages()) {
      EXPECT_EQ(s.stream, nullptr);
      EXPECT_THAT(s.unstreamed, HasSubstr("bring experts to " + s.device->name() +
                                          ": pinned host memory has no room for"));
    }
    same(loaded.logits(GetParam(), std::vector<int>{150}), whole({150}), m().V());
  }
  const Loaded roomy(GetParam(), half, kStreamed, 150);
  for (const cuda::Stage& s : roomy.pipeline->stages()) {
    EXPECT_NE(s.stream, nullptr);
    EXPECT_EQ(s.unstreamed, "");
  }
}

TEST_P(CudaMisses, WhatIsAskedForIsCounted) {
  const auto E = static_cast<std::size_t>(m().config().n_routed_experts),
             n_layers = static_cast<std::size_t>(m().config().num_hidden_layers);
  auto resident = some_of(m(), 0.5, 7);
  std::fill_n(resident.begin(), E, 1);  // the first layer lacks none, so nobody counts there
  std::vector<std::vector<double>> sent;
  for (const Way& way : {kComputed, kStreamed, Way{.stream = true, .from = 65}}) {
    ExpertHeat heat(n_layers * E);
    Loaded loaded(GetParam(), resident, way, 700, &heat);
    loaded.logits(GetParam(), std::vector<int>{1, 65});
    std::int64_t found = 0, missed = 0;
    for (const cuda::Stage& s : loaded.pipeline->stages()) {
      if (!s.forward->uses()) continue;
      found += s.forward->uses()->found();
      missed += s.forward->uses()->missed();
    }
    EXPECT_GT(found, 0);
    EXPECT_GT(missed, 0);
    auto& counts = sent.emplace_back();
    for (const double h : heat.all()) counts.push_back(std::exp2(h));
  }
  EXPECT_EQ(sent[0], sent[1]);
  EXPECT_EQ(sent[0], sent[2]);
  EXPECT_EQ(std::ranges::count(std::span(sent[0]).first(E), 0), static_cast<std::ptrdiff_t>(E));
  for (std::size_t i = 1; i < n_layers; ++i) {
    const auto layer = std::span(sent[0]).subspan(i * E, E);
    const double uses = 66.0 * m().config().num_experts_per_tok;
    EXPECT_NEAR(std::accumulate(layer.begin(), layer.end(), 0.0), uses, 0.03 * uses)
        << "layer " << i;  // the last ones weigh a little more
  }
}

INSTANTIATE_TEST_SUITE_P(, CudaMisses,
                         testing::Values(Case{"micro-flash", {}, HostDevice::Ahead::work},
                                         Case{"micro-flash", {2}, HostDevice::Ahead::copies},
                                         Case{"micro-pro", {}, HostDevice::Ahead::copies},
                                         Case{"micro-pro", {3}, HostDevice::Ahead::work}),
                         [](const auto& p) {
                           return p.param.model.substr(6) + (p.param.cuts.empty() ? "" : "_on_2") +
                                  (p.param.ahead == HostDevice::Ahead::copies ? "_early" : "_late");
                         });

// Where PCIe brings an expert as fast as the CPU computes its share of so many tokens.
TEST(StreamFrom, IsWhereTheCpuTakesLonger) {
  Config c;
  c.hidden_size = 4096;
  c.moe_intermediate_size = 2048;
  c.n_routed_experts = 256;
  c.num_experts_per_tok = 6;
  const auto of = [&](kernels::Format format) {
    const kernels::Matrix up{.format = format, .n_out = 2048, .n_in = 4096},
        down{.format = format, .n_out = 4096, .n_in = 2048};
    return ExpertWeights{.w1 = up, .w2 = down, .w3 = up};
  };
  const int n = cuda::stream_from(c, of(kernels::Format::fp4), 32);
  const double copied = 13'369'344 / cuda::kPcieBytes, flops = 6.0 * 4096 * 2048,
               rows = n * 6.0 / 256;
  EXPECT_GE(rows * flops / (32 * cuda::kThreadFlops), copied);
  EXPECT_LT((n - 1) * 6.0 / 256 * flops / (32 * cuda::kThreadFlops), copied);
  EXPECT_EQ(cuda::stream_from(c, of(kernels::Format::fp4), 1), cuda::kStepTokens + 1);
  EXPECT_EQ(cuda::stream_from(c, of(kernels::Format::fp8), 32), 1);
}

TEST(Ring, IsAFourthOfALayersExpertsAndNeverLessThanItsStages) {
  EXPECT_EQ(cuda::ring_bytes(13'369'344, 256), 256u * 13'369'344 / 4);
  EXPECT_EQ(cuda::ring_bytes(35'094'528, 384), cuda::kRingBytesMax);
  EXPECT_GE(cuda::ring_bytes(52'224, 8), 4u * 52'224);
}

}  // namespace
}  // namespace lares::engine
