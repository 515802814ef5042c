// The checkpoint's draft blocks on a GPU: the tokens and bits are those without guesses, and the guesses those of the CPU's blocks.
#include <gmock/gmock.h>

#include "engine/cuda/timeline.h"
#include "engine/model/timeline.h"
#include "tests/engine/cuda_pipeline.h"
#include "tests/engine/draft_session.h"
#include "tests/engine/model_golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::DeviceTimeline;

const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";

constexpr std::size_t kMemory = std::size_t{4} << 30;

struct Model {
  static constexpr std::int64_t kContext = 700;
  explicit Model(const std::string& directory, std::vector<int> cuts = {}, int chunk = 128, std::int64_t n_pages = 16, std::size_t bytes_max = kMemory) : weights(std::move(*load_weights(directory, {}))) {
    std::vector<cuda::Device*> all;
    for (std::size_t k = 0; k <= cuts.size(); ++k) all.push_back(devices.emplace_back(std::make_unique<HostDevice>(bytes_max)).get());
    auto made = pipeline_over(all, *weights, cuts, {.n_pages = n_pages, .draft = true, .forward = {.chunk = chunk, .n_context = kContext}}, pool);
    EXPECT_TRUE(made) << made.error().message;
    pipeline = std::move(*made);
  }
  std::unique_ptr<DeviceTimeline> timeline(const DraftOptions& drafts) { return std::make_unique<DeviceTimeline>(DeviceTimeline::Shared{*weights, *pipeline, kContext, nullptr, drafts}, nullptr); }
  int vocab() const { return weights->checkpoint.config().vocab_size; }

  std::unique_ptr<Weights> weights;
  kernels::ThreadPool pool{2};
  std::vector<std::unique_ptr<HostDevice>> devices;
  std::unique_ptr<cuda::Pipeline> pipeline;
};

const DraftOptions kOff{}, kBlocks{.mode = Drafting::always, .copy = false}, kBoth{.mode = Drafting::always};

struct Case {
  std::string name, directory;
  std::vector<int> cuts;
  int chunk = 128;
};
class CudaDraftBlocks : public testing::TestWithParam<Case> {};

// The same tokens and bits, of as many guesses, of which as many are right: from rows that were kept, taken back, and computed again.
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
  std::printf("  %ld of %ld right, by the CPU %ld of %ld, in %ld evaluations and %ld\n", a.block.accepted, a.block.drafted, b.block.accepted, b.block.drafted, a.evaluations, b.evaluations);
  EXPECT_GT(a.block.drafted, 200);
  EXPECT_EQ(a.block.drafted, b.block.drafted);
  EXPECT_EQ(a.block.accepted, b.block.accepted);
  EXPECT_EQ(a.evaluations, b.evaluations);
}

INSTANTIATE_TEST_SUITE_P(, CudaDraftBlocks,
                         testing::Values(Case{"flash", golden_directory("micro-flash"), {}}, Case{"pro_on_2", golden_directory("micro-pro"), {2}, 256},
                                         Case{"dspark", golden_directory("tiny-dspark"), {}, 256}, Case{"nano", kNano, {}}),
                         [](const auto& p) { return p.param.name; });

// Beside others, whose guesses the same blocks make.
TEST(CudaDraftBlocksTogether, CompanyChangesNothing) {
  Model m(kNano);
  constexpr std::size_t kTimelines = 3, kDraws = 25;
  const auto begin = [&](const DraftOptions& o, std::size_t i) {
    auto t = m.timeline(o);
    EXPECT_TRUE(t->sync(text(60 + 50 * static_cast<int>(i), m.vocab(), static_cast<unsigned>(i)), {}, {}));
    return t;
  };
  const auto one = [&](Timeline& t, std::size_t i) { return t.next({.temperature = 0.5f, .seed = i}, nullptr).value_or(-1); };
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
  for (const int i : {0, 2}) EXPECT_GT(all[static_cast<std::size_t>(i)]->drafts().block.accepted, 0);
}

// What could not be evaluated left no rows, whatever was reserved for it.
TEST(CudaDraftBlocksTogether, AFailedStepLeavesNoRows) {
  std::vector<Token> want;
  for (const DraftOptions& o : {kOff, kBlocks}) {
    Model m(golden_directory("micro-flash"), {}, 128, 2);
    auto other = m.timeline(kOff);
    ASSERT_TRUE(other->sync(text(100, m.vocab(), 7), {}, {}));
    const auto t = m.timeline(o);
    ASSERT_TRUE(t->sync(text(240, m.vocab(), 1), {}, {}));
    std::vector<Token> out;
    for (;;) {
      const auto token = t->next({.temperature = 0}, nullptr);
      if (token) out.push_back(*token);
      else if (other) other.reset();  // its page is free now
      else FAIL() << token.error().message;
      if (out.size() == 40) break;
    }
    if (want.empty()) want = out;
    EXPECT_EQ(out, want);
    EXPECT_EQ(t->drafts().block.drafted > 0, o.mode != Drafting::off);
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

// DSpark reads what three layers leave. One of them on the GPU before is too far, the last layer of that GPU is not.
TEST(CudaDraftBlocksTogether, LayersOfAnotherGpuAreTooFar) {
  Model whole(golden_directory("tiny-dspark"));
  const Config& c = whole.weights->checkpoint.config();
  const int first = c.dspark_target_layer_ids.front(), last = c.num_hidden_layers;
  ASSERT_GT(last, first + 2);
  Model apart(golden_directory("tiny-dspark"), {first + 2});
  EXPECT_FALSE(apart.pipeline->draft());
  EXPECT_THAT(apart.pipeline->stages().back().undrafted, testing::HasSubstr("which is on another GPU"));
  Model near(golden_directory("tiny-dspark"), {first + 1});
  ASSERT_TRUE(near.pipeline->draft());
  std::vector<Token> tokens[2];
  DraftStats stats[2];
  for (int i = 0; i < 2; ++i) {
    const auto t = (i ? near : whole).timeline(kBlocks);
    ASSERT_TRUE(t->sync(text(200, whole.vocab(), 3), {}, {}));
    for (int k = 0; k < 20; ++k) tokens[i].push_back(t->next({.temperature = 1, .seed = 5}, nullptr).value_or(-1));
    stats[i] = t->drafts();
  }
  EXPECT_EQ(tokens[1], tokens[0]);
  EXPECT_GT(stats[0].block.drafted, 0);
  EXPECT_EQ(stats[1].block.accepted, stats[0].block.accepted);
}

}  // namespace
}  // namespace lares::engine
