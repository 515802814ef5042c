// The forward pass on a GPU that is there: near the CPU's results, the same bits however it is cut,
// again and again. Skips, and says why, where there is none; tests/gpu_check.sh takes a skip for a
// failure on a machine that has one.
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "engine/cuda/engine.h"
#include "engine/cuda/layout.h"
#include "engine/cuda/pipeline.h"
#include "engine/gpus.h"
#include "engine/tokenizer.h"
#include "tests/engine/cuda/drafted.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::DeviceForward;
using cuda::DeviceState;

constexpr int kTokens = 200;
constexpr std::int64_t kContext = 2048;
constexpr int kReruns = 100;

class SmallShapes : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto device = cuda::open_device(0);
    if (!device) GTEST_SKIP() << device.error().message;
    device_ = std::move(*device);
    weights_ = golden_weights(GetParam());
    tokens_ = Golden(GetParam()).tokens;
    tokens_.resize(kTokens);
    const Config& c = weights_->checkpoint.config();
    auto on_device = cuda::DeviceWeights::upload(*device_, *weights_, 0, c.num_hidden_layers, true,
                                                 {}, pool_, {});
    ASSERT_TRUE(on_device) << on_device.error().message;
    on_device_ = std::move(*on_device);
    pages_ = std::make_unique<cuda::PagePool>(*device_, page_layout(c, false), 0,
                                              c.num_hidden_layers, 16);
    ASSERT_TRUE(pages_->made());
    auto forward = DeviceForward::make(*device_, *weights_, *on_device_,
                                       {.chunk = kTokens, .n_context = kContext}, pool_,
                                       kernels::best());
    ASSERT_TRUE(forward) << forward.error().message;
    forward_ = std::move(*forward);
  }
  // Logits of all tokens, evaluated `chunk` at a time.
  std::vector<float> logits(int chunk) {
    const Config& c = weights_->checkpoint.config();
    const auto V = static_cast<std::size_t>(c.vocab_size);
    DeviceState state(*device_, *on_device_, *pages_, kContext);
    EXPECT_TRUE(state.made());
    std::vector<float> out(tokens_.size() * V, NAN);
    for (std::size_t at = 0; at < tokens_.size(); at += static_cast<std::size_t>(chunk)) {
      const int n =
          static_cast<int>(std::min(static_cast<std::size_t>(chunk), tokens_.size() - at));
      const DeviceForward::Sequence one{&state, n};
      const auto done = forward_->evaluate(
          {&one, 1}, std::span(tokens_).subspan(at, static_cast<std::size_t>(n)), n,
          out.data() + at * V);
      EXPECT_TRUE(done) << done.error().message;
    }
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
  std::unique_ptr<cuda::Device> device_;  // goes last but for the threads
  std::unique_ptr<Weights> weights_;
  std::vector<Token> tokens_;
  std::unique_ptr<cuda::DeviceWeights> on_device_;
  std::unique_ptr<cuda::PagePool> pages_;
  std::unique_ptr<DeviceForward> forward_;
};

// Both round at the same places and add in another order, and where that tips an fp8 step a row
// moves by up to 3e-2 a layer. So the measure is what rounding does at all: the device is no
// farther from float32 numerics than the CPU's released ones are, and nearer to those.
TEST_P(SmallShapes, NearTheCpu) {
  const auto V = static_cast<std::size_t>(weights_->checkpoint.config().vocab_size);
  const auto got = logits(kTokens), released = on_cpu(false), exact = on_cpu(true);
  const double rounding = median(relative_errors(released, exact, V)),
               ours = median(relative_errors(got, exact, V)),
               apart = median(relative_errors(got, released, V));
  std::printf("  %s: from float32 %.1e, the CPU %.1e; from the CPU %.1e\n", GetParam(), ours,
              rounding, apart);
  EXPECT_LT(ours, 1.25 * rounding);
  EXPECT_LT(apart, rounding);
}

TEST_P(SmallShapes, DecodeVerificationAndPrefillAgreeToTheBit) {
  const auto whole = logits(kTokens);
  for (const int chunk : {1, 5, 64, 100}) {
    const auto cut = logits(chunk);
    for (std::size_t i = 0; i < whole.size(); ++i)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(cut[i]), std::bit_cast<std::uint32_t>(whole[i]))
          << "chunks of " << chunk << ", token "
          << i / static_cast<std::size_t>(weights_->checkpoint.config().vocab_size);
  }
}

// Chunks and steps, run, recorded and replayed: what compute-sanitizer looks at.
TEST_P(SmallShapes, ChunksAndSteps) {
  const auto whole = logits(kTokens);
  const auto V = static_cast<std::size_t>(weights_->checkpoint.config().vocab_size);
  DeviceState state(*device_, *on_device_, *pages_, kContext);
  ASSERT_TRUE(state.made());
  std::size_t at = 0;
  for (const std::size_t n : {100, 1, 1, 1, 8, 8, 8, 64, 9}) {
    const DeviceForward::Sequence one{&state, static_cast<int>(n)};
    std::vector<float> out(n * V, NAN);
    const auto done = forward_->evaluate({&one, 1}, std::span(tokens_).subspan(at, n),
                                         static_cast<int>(n), out.data());
    ASSERT_TRUE(done) << done.error().message;
    ASSERT_EQ(std::memcmp(out.data(), whole.data() + at * V, sizeof(float) * out.size()), 0)
        << n << " tokens at " << at;
    at += n;
  }
  EXPECT_EQ(at, static_cast<std::size_t>(kTokens));
}

TEST_P(SmallShapes, HundredReruns) {
  const auto first = logits(64);
  for (int i = 1; i < kReruns; ++i) {
    const auto again = logits(64);
    ASSERT_EQ(std::memcmp(again.data(), first.data(), sizeof(float) * first.size()), 0)
        << "run " << i;
  }
}

// Layers over two devices: the second is GPU 1 where there is one, else GPU 0 a second time, with a
// stream and memory of its own.
TEST_P(SmallShapes, OverTwoDevicesTheBitsAreOnes) {
  const auto whole = logits(kTokens);
  auto other = cuda::open_device(1);
  if (!other) other = cuda::open_device(0);
  ASSERT_TRUE(other) << other.error().message;
  cuda::Device* const devices[] = {device_.get(), other->get()};
  const int cut = 2;
  const auto pipeline = pipeline_over(
      devices, *weights_, {&cut, 1},
      {.n_pages = 16, .forward = {.chunk = kTokens, .n_context = kContext}}, pool_);
  ASSERT_TRUE(pipeline) << pipeline.error().message;
  const auto V = static_cast<std::size_t>(weights_->checkpoint.config().vocab_size);
  cuda::PipelineState state(**pipeline, kContext);
  ASSERT_EQ(state.without_room(), nullptr);
  std::vector<float> out(tokens_.size() * V, NAN);
  for (std::size_t at = 0; at < tokens_.size();) {
    const std::size_t n = at == 0 ? 150 : 1;  // a chunk, then steps: run, recorded, replayed
    const cuda::Pipeline::Sequence one{&state, static_cast<int>(n)};
    const auto done = (*pipeline)->evaluate({&one, 1}, std::span(tokens_).subspan(at, n),
                                            static_cast<int>(n), out.data() + at * V);
    ASSERT_TRUE(done) << done.error().message;
    at += n;
  }
  EXPECT_EQ(std::memcmp(out.data(), whole.data(), sizeof(float) * whole.size()), 0);
  // A chunk in pieces, both devices at work.
  const auto in_pieces = pipeline_over(
      devices, *weights_, {&cut, 1},
      {.n_pages = 16, .forward = {.chunk = kTokens, .n_context = kContext}}, pool_, 65);
  ASSERT_TRUE(in_pieces) << in_pieces.error().message;
  ASSERT_GT((*in_pieces)->pieces_of(kTokens, 10).count, 1);
  for (int i = 0; i < 10; ++i) {
    cuda::PipelineState again(**in_pieces, kContext);
    std::vector<float> last(10 * V, NAN);
    const cuda::Pipeline::Sequence one{&again, kTokens};
    const auto done = (*in_pieces)->evaluate({&one, 1}, tokens_, 10, last.data());
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(std::memcmp(last.data(), whole.data() + whole.size() - last.size(),
                          sizeof(float) * last.size()),
              0)
        << i;
  }
}

INSTANTIATE_TEST_SUITE_P(, SmallShapes, testing::Values("micro-flash", "micro-pro"),
                         [](const auto& p) { return std::string(p.param).substr(6); });

const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";

Result<std::unique_ptr<Engine>> nano_on(std::unique_ptr<cuda::Device> device, Drafting drafting) {
  auto weights = load_weights(kNano, {});
  if (!weights) return tl::unexpected(weights.error());
  cuda::EngineParts parts{.gpus = {}, .weights = std::move(*weights), .tokenizer = nullptr};
  parts.gpus.push_back({std::move(device), std::uint64_t{8} << 30});
  return cuda::make_engine(
      std::move(parts),
      {.directory = kNano, .n_threads = 2, .n_context = 4096, .text = false, .drafting = drafting},
      {});
}

// Guesses ahead change how much is evaluated at a time, and nothing else.
TEST(Nano, SaysTheSameWithAndWithoutGuesses) {
  constexpr int kTokensSaid = 300;
  std::vector<Token> prompt;
  for (int i = 0; i < 200; ++i) prompt.push_back(2 + i % 50 * 7919 % 1200);
  struct Said {
    std::vector<std::pair<Token, float>> tokens;
    DraftStats drafts;
    double seconds = 0;
  };
  const auto said = [&](Drafting drafting, const Sampling& sampling) {
    Said out;
    auto device = cuda::open_device(0);
    if (!device) return out;
    const auto engine = nano_on(std::move(*device), drafting);
    EXPECT_TRUE(engine) << engine.error().message;
    if (!engine) return out;
    const auto t = (*engine)->timeline();
    EXPECT_TRUE(t->sync(prompt, {}, {}));
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < kTokensSaid; ++i) {
      const Token token = t->next(sampling, nullptr).value_or(-1);
      out.tokens.emplace_back(token, t->logprobs(1).drawn);
    }
    out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    out.drafts = t->drafts();
    return out;
  };
  if (const auto device = cuda::open_device(0); !device) GTEST_SKIP() << device.error().message;
  for (const Sampling& sampling :
       {Sampling{.temperature = 0}, Sampling{.temperature = 0.8f, .seed = 5}}) {
    const Said plain = said(Drafting::off, sampling);
    for (const Drafting drafting : {Drafting::automatic, Drafting::always}) {
      const Said with = said(drafting, sampling);
      EXPECT_EQ(with.tokens, plain.tokens) << "temperature " << sampling.temperature;
      std::printf(
          "  temperature %.1f, %s: %ld evaluations, copied %ld of %ld, by the block %ld of %ld, "
          "%.0f tokens/s; %.0f without\n",
          sampling.temperature, drafting == Drafting::always ? "always" : "automatic",
          with.drafts.evaluations, with.drafts.copy.accepted, with.drafts.copy.drafted,
          with.drafts.block.accepted, with.drafts.block.drafted, kTokensSaid / with.seconds,
          kTokensSaid / plain.seconds);
      if (drafting == Drafting::always && sampling.temperature == 0) {
        EXPECT_GT(with.drafts.copy.accepted, 0);
        EXPECT_GT(with.drafts.block.accepted, 0);
      }
    }
  }
}

// Through the engine's own interface: the CPU's greedy text, of the beginnings of repairs
// (nano_prompts.txt, from its generator; a form feed between them), where a trained model knows
// what it says.
TEST(Nano, SaysWhatTheCpuSays) {
  constexpr int kTokensSaid = 64;
  auto device = cuda::open_device(0);
  if (!device) GTEST_SKIP() << device.error().message;
  const auto cpu = load(
      {.directory = kNano, .n_threads = 2, .n_context = 4096, .drafting = Drafting::off}, {});
  ASSERT_TRUE(cpu) << cpu.error().message;
  const auto gpu = nano_on(std::move(*device), Drafting::off);
  ASSERT_TRUE(gpu) << gpu.error().message;
  std::ifstream file(std::string(LARES_SOURCE_DIR) + "/tests/engine/nano_prompts.txt");
  int n_prompts = 0;
  for (std::string text; std::getline(file, text, '\f'); ++n_prompts) {
    const std::vector<Token> prompt = (*cpu)->tokenizer().encode(text, true);
    std::vector<Token> said[2];
    for (const bool on_gpu : {false, true}) {
      const auto t = (on_gpu ? **gpu : **cpu).timeline();
      ASSERT_TRUE(t->sync(prompt, {}, {}));
      for (int i = 0; i < kTokensSaid; ++i) {
        const auto token = t->next({.temperature = 0}, nullptr);
        ASSERT_TRUE(token) << token.error().message;
        said[on_gpu].push_back(*token);
      }
    }
    EXPECT_EQ(said[1], said[0]) << "prompt " << n_prompts << ": the same until token "
                                << std::ranges::mismatch(said[0], said[1]).in1 - said[0].begin();
  }
  EXPECT_EQ(n_prompts, 6);
}

// What plans take from there (layout.h): a context is a part of what is not free, and so much of it
// at least; what is allocated is not free any more.
TEST(Memory, WhatIsFreeIsKnown) {
  constexpr std::uint64_t kTaken = std::uint64_t{1} << 30;
  const auto device = cuda::open_device(0);
  if (!device) GTEST_SKIP() << device.error().message;
  const std::uint64_t all = find_gpus().gpus.at(0).memory_bytes, free = (*device)->memory_free();
  std::printf("  %.3f GB, %.3f GB free beside a context\n", static_cast<double>(all) / 1e9,
              static_cast<double>(free) / 1e9);
  EXPECT_LE(free, all - cuda::kContextLeast);
  const cuda::Memory taken(**device, kTaken);
  ASSERT_TRUE(taken);
  EXPECT_LE((*device)->memory_free(), free - kTaken);
}

// The checkpoint's draft blocks, MTP's and DSpark's.
class DraftBlocksOnTheDevice : public testing::TestWithParam<const char*> {};

TEST_P(DraftBlocksOnTheDevice, SayWhatTheCpusKernelsSay) {
  auto device = cuda::open_device(0);
  if (!device) GTEST_SKIP() << device.error().message;
  const auto weights = golden_weights(GetParam());
  HostDevice host;
  expect_near(drafted_on(**device, *weights), drafted_on(host, *weights), GetParam());
}

INSTANTIATE_TEST_SUITE_P(, DraftBlocksOnTheDevice,
                         testing::Values("micro-flash", "micro-pro", "tiny-dspark"),
                         [](const auto& p) {
                           return std::string(p.param).substr(std::string(p.param).find('-') + 1);
                         });

}  // namespace
}  // namespace lares::engine
