// A chunk that goes through several GPUs in pieces, each a piece behind the one before: the bits,
// pages and frontiers are those of the whole.
#include <gmock/gmock.h>

#include <random>
#include <thread>

#include "engine/cuda/timeline.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::DeviceTimeline;
using cuda::Pipeline;
using cuda::PipelineState;

constexpr std::int64_t kContext = 1024;
constexpr int kChunk = 512, kWhole = 1 << 20;  // as the shortest piece: none

const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";

struct Case {
  std::string name, directory;
  std::vector<int> cuts;
};

struct Gpus {
  Gpus(const Weights& weights, std::span<const int> cuts, int piece_min,
       cuda::StageOptions options = {}) {
    std::vector<cuda::Device*> all;
    for (std::size_t k = 0; k <= cuts.size(); ++k)
      all.push_back(devices.emplace_back(std::make_unique<HostDevice>()).get());
    options.n_pages = 16;
    options.forward.chunk = kChunk;
    options.forward.n_context = kContext;
    auto made = pipeline_over(all, weights, cuts, options, pool, piece_min);
    EXPECT_TRUE(made) << made.error().message;
    pipeline = std::move(*made);
  }
  kernels::ThreadPool pool{2};
  std::vector<std::unique_ptr<HostDevice>> devices;
  std::unique_ptr<Pipeline> pipeline;
};

class CudaPieces : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    weights_ = std::move(*load_weights(GetParam().directory, {}));
    std::mt19937 random(4);
    for (int i = 0; i < 600; ++i)
      tokens_.push_back(static_cast<Token>(random() % static_cast<unsigned>(vocab())));
  }
  int vocab() const { return weights_->checkpoint.config().vocab_size; }
  // The logits after each of `chunks`, and what the state is then.
  struct Outcome {
    std::vector<float> logits;
    std::vector<Page> pages;
    std::vector<std::uint8_t> frontier;
    bool operator==(const Outcome&) const = default;
  };
  Outcome outcome(Pipeline& pipeline, PipelineState& state, std::initializer_list<int> chunks,
                  const std::function<bool(int)>& go_on = {}) {
    Outcome out;
    for (const int n : chunks) {
      std::vector<float> logits(2 * static_cast<std::size_t>(vocab()));
      const Pipeline::Sequence one{&state, n};
      const auto done = pipeline.evaluate(
          {&one, 1},
          std::span(tokens_).subspan(static_cast<std::size_t>(state.size()),
                                     static_cast<std::size_t>(n)),
          std::min(n, 2), logits.data(), go_on);
      EXPECT_TRUE(done) << done.error().message;
      out.logits.insert(out.logits.end(), logits.begin(), logits.end());
    }
    for (std::int64_t i = 0; i * pipeline.layout().tokens < state.size(); ++i)
      out.pages.push_back(*state.download(i, 1).front());
    out.frontier = state.frontier(state.size());
    return out;
  }

  std::unique_ptr<Weights> weights_;
  std::vector<Token> tokens_;
};

TEST_P(CudaPieces, GiveTheBitsOfTheWhole) {
  const Gpus whole(*weights_, GetParam().cuts, kWhole), in_pieces(*weights_, GetParam().cuts, 65);
  EXPECT_EQ(whole.pipeline->pieces_of(400, 2).count, 1);
  EXPECT_GT(in_pieces.pipeline->pieces_of(400, 2).count, 2);
  EXPECT_EQ(in_pieces.pipeline->pieces_of(129, 1).count, 1);
  PipelineState a(*whole.pipeline, kContext), b(*in_pieces.pipeline, kContext);
  const Outcome want = outcome(*whole.pipeline, a, {10, 400, 1, 1, 1, 137, 3});
  EXPECT_EQ(outcome(*in_pieces.pipeline, b, {10, 400, 1, 1, 1, 137, 3}), want);
}

// What is asked for last must be in the last piece.
TEST_P(CudaPieces, ManyRowsOfLogitsKeepAChunkWhole) {
  const Gpus in_pieces(*weights_, GetParam().cuts, 65);
  EXPECT_EQ(in_pieces.pipeline->pieces_of(400, 400).count, 1);
  const auto [count, tokens] = in_pieces.pipeline->pieces_of(400, 1);
  const int last = 400 - (count - 1) * tokens;
  ASSERT_GT(last, 0);
  EXPECT_EQ(in_pieces.pipeline->pieces_of(400, last).count, count);
  EXPECT_EQ(in_pieces.pipeline->pieces_of(400, last + 1).count, 1);
}

TEST_P(CudaPieces, TellWhoAskedAndStopForThem) {
  const Gpus in_pieces(*weights_, GetParam().cuts, 65);
  const int layers = weights_->checkpoint.config().num_hidden_layers;
  Outcome want;
  {
    PipelineState state(*in_pieces.pipeline, kContext);
    std::vector<int> told;
    const auto asked_by = std::this_thread::get_id();
    want = outcome(*in_pieces.pipeline, state, {20, 400}, [&](int layer) {
      EXPECT_EQ(std::this_thread::get_id(), asked_by);
      told.push_back(layer);
      return true;
    });
    EXPECT_FALSE(told.empty());
    EXPECT_LT(told.back(), layers);
  }
  for (const int at : {0, layers / 2}) {
    PipelineState state(*in_pieces.pipeline, kContext);
    outcome(*in_pieces.pipeline, state, {20});
    const auto before = state.frontier(20);
    const Pipeline::Sequence one{&state, 400};
    std::vector<float> logits(static_cast<std::size_t>(vocab()));
    const auto stopped = in_pieces.pipeline->evaluate(
        {&one, 1}, std::span(tokens_).subspan(20, 400), 1, logits.data(),
        [&](int layer) { return layer < at; });
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code, Errc::cancelled);
    state.restore(20, before);
    const Outcome again = outcome(*in_pieces.pipeline, state, {400});
    EXPECT_EQ(again.pages, want.pages) << at;
    EXPECT_EQ(again.frontier, want.frontier) << at;
    EXPECT_TRUE(std::equal(again.logits.begin(), again.logits.end(),
                           want.logits.begin() + std::ssize(want.logits) / 2))
        << at;
  }
}

// Rows for the draft blocks come from the last pieces: the window lies over two of them.
TEST_P(CudaPieces, DraftBlocksSeeTheSame) {
  std::vector<Token> drawn[2];
  DraftStats stats[2];
  for (int i = 0; i < 2; ++i) {
    const Gpus gpus(*weights_, GetParam().cuts, i ? 65 : kWhole, {.draft = true});
    ASSERT_TRUE(gpus.pipeline->draft()) << gpus.pipeline->stages().back().undrafted;
    DeviceTimeline t(
        {*weights_, *gpus.pipeline, kContext, nullptr, {.mode = Drafting::always, .copy = false}},
        nullptr);
    ASSERT_TRUE(t.sync(std::span(tokens_).first(390), {}, {}));
    for (int k = 0; k < 40; ++k)
      drawn[i].push_back(t.next({.temperature = 0}, nullptr).value_or(-1));
    stats[i] = t.drafts();
  }
  EXPECT_EQ(drawn[1], drawn[0]);
  EXPECT_GT(stats[0].block.drafted, 0);
  if (GetParam().directory == kNano) {
    EXPECT_GT(stats[0].block.accepted, 0);
  }
  EXPECT_EQ(stats[1].block.drafted, stats[0].block.drafted);
  EXPECT_EQ(stats[1].block.accepted, stats[0].block.accepted);
  EXPECT_EQ(stats[1].evaluations, stats[0].evaluations);
}

// What the CPU's threads and PCIe do for GPUs that lack experts they do for one after the other.
TEST_P(CudaPieces, GpusThatLackExpertsTakeChunksWhole) {
  const Config& c = weights_->checkpoint.config();
  std::vector<char> resident(
      static_cast<std::size_t>(c.num_hidden_layers) * static_cast<std::size_t>(c.n_routed_experts),
      1);
  resident.back() = 0;
  const Gpus lacking(*weights_, GetParam().cuts, 65, {.resident = resident});
  EXPECT_EQ(lacking.pipeline->pieces_of(400, 1).count, 1);
}

const Case kCases[] = {{"flash_on_2", golden_directory("micro-flash"), {2}},
                       {"nano_on_4", kNano, {2, 3, 6}},
                       {"pro_on_3", golden_directory("micro-pro"), {1, 3}},
                       {"dspark_on_2", golden_directory("tiny-dspark"), {1}}};
// Watching threads takes ten times as long, and two models show what four do.
INSTANTIATE_TEST_SUITE_P(, CudaPieces,
                         testing::ValuesIn(std::begin(kCases),
                                           kWatched ? kCases + 2 : std::end(kCases)),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace lares::engine
