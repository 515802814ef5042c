// The checkpoint's draft blocks on a GPU: the tokens and bits are those without guesses, and the
// guesses those of the CPU's blocks.
#include <gmock/gmock.h>

#include <numeric>
#include <random>

#include "engine/cuda/timeline.h"
#include "engine/model/timeline.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/draft/draft_session.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::DeviceTimeline;

const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";

constexpr std::size_t kMemory = std::size_t{4} << 30;

struct Model {
  static constexpr std::int64_t kContext = 700;
  explicit Model(const std::string& directory, std::vector<int> cuts = {}, int chunk = 128,
                 std::int64_t n_pages = 16, std::size_t bytes_max = kMemory)
      : weights(std::move(*load_weights(directory, {}))) {
    std::vector<cuda::Device*> all;
    for (std::size_t k = 0; k <= cuts.size(); ++k)
      all.push_back(devices.emplace_back(std::make_unique<HostDevice>(bytes_max)).get());
    auto made = pipeline_over(
        all, *weights, cuts,
        {.n_pages = n_pages, .draft = true, .forward = {.chunk = chunk, .n_context = kContext}},
        pool);
    EXPECT_TRUE(made) << made.error().message;
    pipeline = std::move(*made);
  }
  std::unique_ptr<DeviceTimeline> timeline(const DraftOptions& drafts) {
    return std::make_unique<DeviceTimeline>(
        DeviceTimeline::Shared{*weights, *pipeline, kContext, nullptr, drafts}, nullptr);
  }
  int vocab() const { return weights->checkpoint.config().vocab_size; }

  std::unique_ptr<Weights> weights;
  kernels::ThreadPool pool{2};
  std::vector<std::unique_ptr<HostDevice>> devices;
  std::unique_ptr<cuda::Pipeline> pipeline;
};

const DraftOptions kOff{}, kBlocks{.mode = Drafting::always, .copy = false},
    kBoth{.mode = Drafting::always};

struct Case {
  std::string name, directory;
  std::vector<int> cuts;
  int chunk = 128;
  bool follows = false;  // it is asked so often that it misses nothing, and goes back by little
};
class CudaDraftBlocks : public testing::TestWithParam<Case> {};

// The same tokens and bits, of as many guesses, of which as many are right: from rows that were
// kept, taken back, and computed again.
TEST_P(CudaDraftBlocks, GuessAsTheCpusDo) {
  Model m(GetParam().directory, GetParam().cuts, GetParam().chunk);
  ASSERT_TRUE(m.pipeline->draft()) << m.pipeline->stages().back().undrafted;
  kernels::ThreadPool pool{2};
  Forward forward(*m.weights, false, pool, kernels::best());
  const Sampling s{.temperature = 0.7f, .seed = 2};
  const auto t = m.timeline(kBlocks);
  ModelTimeline cpu(*m.weights, forward, Model::kContext, GetParam().chunk, kBlocks);
  const auto on_cpu = session(cpu, m.vocab(), s, 40);
  EXPECT_EQ(session(*t, m.vocab(), s, 40), on_cpu);
  const DraftStats a = t->drafts(), b = cpu.drafts();
  std::printf("  %ld of %ld right, by the CPU %ld of %ld, in %ld evaluations and %ld\n",
              a.block.accepted, a.block.drafted, b.block.accepted, b.block.drafted, a.evaluations,
              b.evaluations);
  EXPECT_GT(a.block.drafted, 200);
  EXPECT_EQ(a.block.drafted, b.block.drafted);
  EXPECT_EQ(a.block.accepted, b.block.accepted);
  EXPECT_EQ(a.evaluations, b.evaluations);
}

INSTANTIATE_TEST_SUITE_P(, CudaDraftBlocks,
                         testing::Values(Case{"flash", golden_directory("micro-flash"), {}},
                                         Case{"pro_on_2", golden_directory("micro-pro"), {2}, 256},
                                         Case{"dspark", golden_directory("tiny-dspark"), {}, 256},
                                         Case{"nano", kNano, {}}),
                         [](const auto& p) { return p.param.name; });

// Guess by guess: after runs of any length, with the logits of one token or of all, after wrong
// turns that were taken back, by little or by more than a ring remembers. DSpark's rows are
// numbered from the first that is there and not from the text's beginning, so angles are rounded
// otherwise where it has not followed from there; most of its guesses are the same then, where
// wrong rows leave half.
class CudaDrafters : public testing::TestWithParam<Case> {};

TEST_P(CudaDrafters, SayWhatTheCpusSay) {
  Model m(GetParam().directory, GetParam().cuts, GetParam().chunk);
  kernels::ThreadPool pool{2};
  Forward forward(*m.weights, false, pool, kernels::best());
  State on_cpu(*m.weights, false, GetParam().chunk);
  cuda::PipelineState on_gpu(*m.pipeline, Model::kContext);
  const auto cpu = BlockDrafter::of(*m.weights, forward);
  const cuda::DeviceDrafter gpu = cuda::device_drafter(*m.pipeline->draft());
  const Config& c = m.weights->checkpoint.config();
  std::vector<Token> tokens;
  std::mt19937 random(3);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<unsigned>(n));
  };
  std::int64_t high = 0;
  const auto evaluate = [&](std::span<const Token> more, bool watched) {
    const std::int64_t at = on_gpu.size();
    const int n = static_cast<int>(more.size());
    std::vector<float> x(more.size() * static_cast<std::size_t>(c.hc_mult) *
                         static_cast<std::size_t>(c.hidden_size));
    forward.evaluate(on_cpu, more, x.data(), [&](int layer, const float* y) {
      if (watched) cpu->saw(layer, at, n, y);
      return true;
    });
    std::vector<cuda::bf16*> rows;
    if (watched) gpu.rows->make_rows(at, n, rows);
    const cuda::Pipeline::Sequence one{&on_gpu, n, rows};
    EXPECT_TRUE(m.pipeline->evaluate({&one, 1}, more,
                                     below(3) == 0              ? 0
                                     : n <= 64 && below(2) == 0 ? n
                                                                : 1,
                                     nullptr));
    high = std::max(high, on_gpu.size());
  };
  const auto drop = [&](std::int64_t size) {
    tokens.resize(static_cast<std::size_t>(size));
    for (BlockDrafter* const of : {cpu.get(), gpu.drafter.get()}) of->drop_to(size);
    const bool far = high - size > kRollback;
    on_cpu.drop_to(far ? 0 : size);
    on_gpu.drop_to(far ? 0 : size);
    if (!far) return;
    high = 0;
    for (std::int64_t at = 0; at < size; at += GetParam().chunk)
      evaluate(std::span(tokens).subspan(
                   static_cast<std::size_t>(at),
                   static_cast<std::size_t>(std::min<std::int64_t>(GetParam().chunk, size - at))),
               false);
  };
  int n_guesses = 0, n_same = 0, n_chances = 0;
  double apart = 0;
  std::vector<Token> a, b;
  for (int step = 0; step < 80; ++step) {
    const int runs[] = {1, 1, 2, 3, 6, 8, 9, 40, 64, 70, 150};
    const int n = std::min(runs[below(std::size(runs))],
                           GetParam().follows ? 40 : GetParam().chunk);
    if (GetParam().follows && std::ssize(tokens) + n + 8 > Model::kContext) break;
    if (std::ssize(tokens) + n + 8 > Model::kContext) drop(150);  // so far that no ring has it
    for (int i = 0; i < n; ++i) tokens.push_back(static_cast<Token>(below(m.vocab())));
    evaluate(std::span(tokens).last(static_cast<std::size_t>(n)), true);
    if (const std::int64_t back = 1 + below(below(4) == 0 && !GetParam().follows ? 100 : 8);
        below(3) == 0 && back < std::ssize(tokens) &&
        high - std::ssize(tokens) + back < kRollback - 8)
      drop(std::ssize(tokens) - back);
    if (below(4) == 0 && !GetParam().follows) continue;
    for (int turn = 0; turn < 2; ++turn) {  // asked again at the same place
      std::vector<Token> with = tokens;
      with.push_back(static_cast<Token>(below(m.vocab())));
      const int wanted = static_cast<int>(1 + below(5));
      cpu->draft(with, wanted, a);
      gpu.drafter->draft(with, wanted, b);
      ASSERT_EQ(b.size(), a.size()) << "after " << tokens.size();
      EXPECT_EQ(gpu.drafter->missing(std::ssize(with)), cpu->missing(std::ssize(with)));
      ASSERT_EQ(gpu.drafter->chances().size(), cpu->chances().size());
      for (std::size_t i = 0; i < cpu->chances().size(); ++i, ++n_chances)
        apart += std::abs(gpu.drafter->chances()[i] - cpu->chances()[i]);
      n_guesses += static_cast<int>(a.size());
      n_same += static_cast<int>(
          std::inner_product(a.begin(), a.end(), b.begin(), 0, std::plus<>(), std::equal_to<>()));
    }
  }
  std::printf("  %d of %d guesses are the same, %d chances apart by %.1e\n", n_same, n_guesses,
              n_chances, apart / std::max(1, n_chances));
  EXPECT_GT(n_guesses, 100);
  EXPECT_GE(n_same, m.weights->dspark && !GetParam().follows ? 17 * n_guesses / 20 : n_guesses);
  EXPECT_EQ(n_chances > 0, m.weights->dspark.has_value());
  EXPECT_LE(apart, 0.02 * n_chances);
}

INSTANTIATE_TEST_SUITE_P(
    , CudaDrafters,
    testing::Values(Case{"flash", golden_directory("micro-flash"), {}},
                    Case{"pro_on_2", golden_directory("micro-pro"), {2}, 256},
                    Case{"dspark", golden_directory("tiny-dspark"), {}, 256},
                    Case{"dspark_that_follows", golden_directory("tiny-dspark"), {}, 128, true},
                    Case{"nano", kNano, {}}),
    [](const auto& p) { return p.param.name; });

// Beside others, whose guesses the same blocks make.
TEST(CudaDraftBlocksTogether, CompanyChangesNothing) {
  Model m(kNano);
  constexpr std::size_t kTimelines = 3, kDraws = 25;
  const auto begin = [&](const DraftOptions& o, std::size_t i) {
    auto t = m.timeline(o);
    EXPECT_TRUE(
        t->sync(text(60 + 50 * static_cast<int>(i), m.vocab(), static_cast<unsigned>(i)), {}, {}));
    return t;
  };
  const auto one = [&](Timeline& t, std::size_t i) {
    return t.next({.temperature = 0.5f, .seed = i}, nullptr).value_or(-1);
  };
  std::vector<std::vector<Token>> alone(kTimelines), together(kTimelines);
  std::vector<std::unique_ptr<DeviceTimeline>> all;
  for (std::size_t i = 0; i < kTimelines; ++i) {
    const auto t = begin(kOff, i);
    for (std::size_t k = 0; k < kDraws; ++k) alone[i].push_back(one(*t, i));
    all.push_back(begin(i == 1 ? kBoth : kBlocks, i));
  }
  const std::vector<DeviceTimeline*> those{all[0].get(), all[1].get(), all[2].get()};
  for (std::size_t k = 0; k < kDraws; ++k) {
    DeviceTimeline::evaluate_together(those);
    for (std::size_t i = 0; i < kTimelines; ++i) together[i].push_back(one(*all[i], i));
  }
  EXPECT_EQ(together, alone);
  EXPECT_GT(all[1]->drafts().copy.accepted, 0);
  for (const int i : {0, 2})
    EXPECT_GT(all[static_cast<std::size_t>(i)]->drafts().block.accepted, 0);
}

// What could not be evaluated left no rows, whatever was reserved for it: when there is a page, the
// guesses are those of a sequence that never lacked one.
TEST(CudaDraftBlocksTogether, AFailedStepLeavesNoRows) {
  std::vector<Token> want;
  std::int64_t evaluations = 0;
  for (const std::int64_t n_pages : {3, 2}) {
    Model m(kNano, {}, 128, n_pages);
    auto other = m.timeline(kOff);
    ASSERT_TRUE(other->sync(text(100, m.vocab(), 7), {}, {}));
    const auto t = m.timeline(kBlocks);
    ASSERT_TRUE(t->sync(text(240, m.vocab(), 1), {}, {}));
    std::vector<Token> out;
    while (out.size() < 60) {
      const auto token = t->next({.temperature = 0}, nullptr);
      if (token)
        out.push_back(*token);
      else if (other)
        other.reset();  // its page is free now
      else
        FAIL() << token.error().message;
    }
    EXPECT_EQ(other == nullptr, n_pages == 2);
    if (want.empty()) want = out, evaluations = t->drafts().evaluations;
    EXPECT_EQ(out, want);
    EXPECT_EQ(t->drafts().evaluations, evaluations);
    EXPECT_GT(t->drafts().block.accepted, 10);
  }
}

TEST(CudaDraftBlocksTogether, WithoutRoomForRowsNothingIsGuessed) {
  const auto tokens = text(60, 100, 1);
  std::size_t taken = 0;
  std::vector<Token> want;
  for (const DraftOptions& o : {kOff, kBlocks}) {
    Model m(golden_directory("micro-flash"), {}, 128, 16, taken == 0 ? kMemory : taken + 256);
    const auto t = m.timeline(o);
    ASSERT_TRUE(t->sync(tokens, {}, {}));
    std::vector<Token> out;
    for (int i = 0; i < 10; ++i) out.push_back(t->next({.temperature = 0}, nullptr).value_or(-1));
    taken = m.devices.front()->n_bytes();
    if (want.empty()) want = out;
    EXPECT_EQ(out, want);
    EXPECT_EQ(t->drafts().block.drafted, 0);
  }
}

// DSpark reads what three layers leave. One of them on the GPU before is too far, the last layer of
// that GPU is not.
TEST(CudaDraftBlocksTogether, LayersOfAnotherGpuAreTooFar) {
  Model whole(golden_directory("tiny-dspark"));
  const Config& c = whole.weights->checkpoint.config();
  const int first = c.dspark_target_layer_ids.front(), last = c.num_hidden_layers;
  ASSERT_GT(last, first + 2);
  Model apart(golden_directory("tiny-dspark"), {first + 2});
  EXPECT_FALSE(apart.pipeline->draft());
  EXPECT_THAT(apart.pipeline->stages().back().undrafted,
              testing::HasSubstr("which is on another GPU"));
  Model near(golden_directory("tiny-dspark"), {first + 1});
  ASSERT_TRUE(near.pipeline->draft());
  std::vector<Token> tokens[2];
  DraftStats stats[2];
  for (int i = 0; i < 2; ++i) {
    const auto t = (i ? near : whole).timeline(kBlocks);
    ASSERT_TRUE(t->sync(text(200, whole.vocab(), 3), {}, {}));
    for (int k = 0; k < 20; ++k)
      tokens[i].push_back(t->next({.temperature = 1, .seed = 5}, nullptr).value_or(-1));
    stats[i] = t->drafts();
  }
  EXPECT_EQ(tokens[1], tokens[0]);
  EXPECT_GT(stats[0].block.drafted, 0);
  EXPECT_EQ(stats[1].block.accepted, stats[0].block.accepted);
}

}  // namespace
}  // namespace lares::engine
