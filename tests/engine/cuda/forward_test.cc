// The forward pass of engine/cuda on devices in host memory, against engine/model's: the same bits
// of logits, pages and frontiers, however the tokens are cut, recorded or not, alone or in company,
// with experts on the device or not, on one device or with the layers over several.
#include "engine/cuda/pipeline.h"

#include <gmock/gmock.h>

#include <map>
#include <optional>
#include <random>

#include "engine/cuda/layout.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::DeviceForward;
using cuda::DeviceWeights;
using cuda::PagePool;
using cuda::Pipeline;
using cuda::PipelineState;
using testing::HasSubstr;

constexpr int kTokens = 150;  // past a window of 128 and a group of 128
constexpr std::int64_t kContext = 2048;

// The CPU's logits of all tokens, and its state after them.
struct Reference {
  std::unique_ptr<Weights> weights;
  std::vector<Token> tokens;
  kernels::ThreadPool pool{2};
  Forward forward;
  std::vector<float> logits;  // [kTokens, V]
  State state;

  explicit Reference(const std::string& name)
      : weights(golden_weights(name)),
        tokens(Golden(name).tokens),
        forward(*weights, false, pool, kernels::best()),
        state(*weights, false, 256) {
    tokens.resize(kTokens);
    logits.resize(tokens.size() * V());
    evaluate(state, tokens, logits.data());
  }
  std::size_t V() const {
    return static_cast<std::size_t>(weights->checkpoint.config().vocab_size);
  }
  void evaluate(State& of, std::span<const Token> more, float* to) {
    const Config& c = weights->checkpoint.config();
    std::vector<float> x(more.size() * static_cast<std::size_t>(c.hc_mult) *
                         static_cast<std::size_t>(c.hidden_size));
    forward.evaluate(of, more, x.data());
    forward.head(x.data(), static_cast<int>(more.size()), to);
  }
};

Reference& reference(const std::string& model) {
  static std::map<std::string, std::unique_ptr<Reference>> known;
  auto& r = known[model];
  if (!r) r = std::make_unique<Reference>(model);
  return *r;
}

struct Case {
  std::string model;
  std::vector<int> cuts;  // layers that devices after the first begin with
};

class CudaForward : public testing::TestWithParam<Case> {
 protected:
  Reference& reference() { return engine::reference(GetParam().model); }
  int n_layers() { return reference().weights->checkpoint.config().num_hidden_layers; }
  cuda::StageOptions options(int chunk, bool record, std::span<const char> resident) {
    return {.layer_end = n_layers(),
            .resident = resident,
            .n_pages = 16,
            .forward = {.chunk = chunk, .n_context = kContext, .record = record}};
  }
  void load(int chunk, bool record = true, std::span<const char> resident = {}) {
    load_cut(GetParam().cuts, options(chunk, record, resident));
  }
  void load_cut(std::span<const int> cuts, const cuda::StageOptions& options) {
    pipeline_.reset();
    devices_.clear();
    std::vector<cuda::Device*> devices;
    for (std::size_t k = 0; k <= cuts.size(); ++k)
      devices.push_back(devices_
                            .emplace_back(std::make_unique<HostDevice>(
                                std::size_t{4} << 30, "device " + std::to_string(k)))
                            .get());
    auto pipeline = pipeline_over(devices, *reference().weights, cuts, options, reference().pool);
    ASSERT_TRUE(pipeline) << pipeline.error().message;
    pipeline_ = std::move(*pipeline);
  }
  std::unique_ptr<PipelineState> state() {
    auto out = std::make_unique<PipelineState>(*pipeline_, kContext);
    EXPECT_EQ(out->without_room(), nullptr);
    return out;
  }
  // Appends tokens [begin, end) in chunks, and holds their logits against the reference's.
  void append(PipelineState& s, int begin, int end, int chunk) {
    Reference& r = reference();
    for (int at = begin; at < end; at += chunk) {
      const int n = std::min(chunk, end - at);
      std::vector<float> logits(static_cast<std::size_t>(n) * r.V(), NAN);
      const Pipeline::Sequence one{&s, n};
      const auto done = pipeline_->evaluate(
          {&one, 1},
          std::span(r.tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)), n,
          logits.data());
      ASSERT_TRUE(done) << done.error().message;
      same_logits(logits, at, n);
    }
    EXPECT_EQ(s.size(), end);
  }
  void same_logits(const std::vector<float>& logits, int at, int n) {
    Reference& r = reference();
    for (int t = 0; t < n; ++t)
      ASSERT_EQ(std::memcmp(logits.data() + static_cast<std::size_t>(t) * r.V(),
                            r.logits.data() + static_cast<std::size_t>(at + t) * r.V(),
                            sizeof(float) * r.V()),
                0)
          << "token " << at + t << " of a chunk of " << n;
  }
  std::vector<Page> host_pages(const PipelineState& s, std::int64_t n) {
    std::vector<Page> out;
    for (std::int64_t i = 0; i < n; ++i) out.push_back(*s.download(i, 1).front());
    return out;
  }
  // Of all stages together.
  template <class Count>
  std::int64_t sum(Count count) const {
    std::int64_t n = 0;
    for (const cuda::Stage& stage : pipeline_->stages())
      n += static_cast<std::int64_t>(count(stage));
    return n;
  }
  std::int64_t n_recordings() const {
    return sum([](const cuda::Stage& s) { return s.forward->n_recordings(); });
  }
  std::int64_t n_stages() const { return static_cast<std::int64_t>(pipeline_->stages().size()); }
  // Stages with layers that have cells, and so pages.
  std::int64_t n_paged() const {
    return sum([](const cuda::Stage& s) { return s.pages->bytes() > 0; });
  }
  std::int64_t n_free() const {
    return sum([](const cuda::Stage& s) { return s.pages->n_free(); });
  }

  std::vector<std::unique_ptr<HostDevice>> devices_;  // go last
  std::unique_ptr<Pipeline> pipeline_;
};

TEST_P(CudaForward, GivesTheCpusBitsInAnyChunks) {
  for (const int chunk : {7, 64, 100, 150}) {
    SCOPED_TRACE(chunk);
    load(chunk);
    const auto s = state();
    append(*s, 0, kTokens, chunk);
  }
}

TEST_P(CudaForward, AStepIsRecordedOnce) {
  load(128);
  const auto s = state();
  append(*s, 0, 120, 120);
  EXPECT_EQ(n_recordings(), 0);
  append(*s, 120, 121, 1);
  EXPECT_EQ(n_recordings(), 0);  // the first of its shape only runs
  append(*s, 121, 140, 1);
  EXPECT_EQ(n_recordings(), n_stages());
  append(*s, 140, kTokens, 5);
  EXPECT_EQ(n_recordings(), 2 * n_stages());
}

// The step runs as it is, and is recorded as soon as there is memory: others' recordings make way.
TEST_P(CudaForward, WithoutMemoryForARecording) {
  load(128);
  const auto s = state();
  append(*s, 0, 120, 120);
  for (const auto& device : devices_) device->graphs_max = 0;
  append(*s, 120, 125, 1);
  EXPECT_EQ(n_recordings(), 0);
  for (const auto& device : devices_) device->graphs_max = 1;
  append(*s, 125, 128, 1);
  EXPECT_EQ(n_recordings(), n_stages());
  append(*s, 128, 140, 3);  // run, in want of memory, recorded, replayed
  EXPECT_EQ(n_recordings(), n_stages());
  append(*s, 140, kTokens, 1);
}

// Of a chunk and of steps of several lengths, whose recordings must not be taken for one another's.
TEST_P(CudaForward, OnlyTheLastRowsAreAskedFor) {
  load(100);
  const auto s = state();
  Reference& r = reference();
  int at = 0;
  for (const auto& [n, n_rows] : {std::pair{100, 2}, {5, 1}, {3, 1}, {5, 1}, {7, 0}, {3, 2}}) {
    std::vector<float> logits(static_cast<std::size_t>(n_rows) * r.V());
    const Pipeline::Sequence one{s.get(), n};
    ASSERT_TRUE(pipeline_->evaluate(
        {&one, 1},
        std::span(r.tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)),
        n_rows, logits.data()));
    at += n;
    same_logits(logits, at - n_rows, n_rows);
  }
}

TEST_P(CudaForward, UnrecordedIsTheSame) {
  load(32, /*record=*/false);
  const auto s = state();
  append(*s, 0, 96, 32);
  append(*s, 96, 104, 1);
  EXPECT_EQ(n_recordings(), 0);
}

TEST_P(CudaForward, InCompanyAsAlone) {
  load(64);
  const auto a = state(), b = state();
  append(*a, 0, 130, 64);
  append(*b, 0, 40, 40);
  Reference& r = reference();
  std::vector<Token> tokens(r.tokens.begin() + 130, r.tokens.begin() + 133);
  tokens.insert(tokens.end(), r.tokens.begin() + 40, r.tokens.begin() + 45);
  std::vector<float> logits(tokens.size() * r.V());
  const Pipeline::Sequence both[] = {{a.get(), 3}, {b.get(), 5}};
  ASSERT_TRUE(pipeline_->evaluate(both, tokens, 8, logits.data()));
  same_logits({logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(3 * r.V())}, 130, 3);
  same_logits({logits.begin() + static_cast<std::ptrdiff_t>(3 * r.V()), logits.end()}, 40, 5);
}

TEST_P(CudaForward, ExpertsInHostMemoryGiveTheSameBits) {
  const Config& c = reference().weights->checkpoint.config();
  std::vector<char> resident(
      static_cast<std::size_t>(c.num_hidden_layers) * static_cast<std::size_t>(c.n_routed_experts),
      1);
  std::mt19937 random(5);
  for (std::size_t i = static_cast<std::size_t>(c.n_routed_experts); i < resident.size(); ++i)
    resident[i] = random() % 2;  // all of the first layer's are there
  load(70, true, resident);
  const auto s = state();
  append(*s, 0, 140, 70);
  append(*s, 140, kTokens, 1);
  for (const cuda::Stage& stage : pipeline_->stages()) {
    if (stage.weights->begin() == 0 && stage.weights->end() == 1) continue;
    EXPECT_GT(stage.forward->uses()->missed(), 0);
    EXPECT_GT(stage.forward->uses()->found(), 0);
  }
}

// What the device leaves the CPU goes on with, and the other way round.
TEST_P(CudaForward, PagesAndFrontiersAreTheCpus) {
  load(70);
  Reference& r = reference();
  const auto s = state();
  append(*s, 0, kTokens, 70);
  const Frontier theirs = r.state.frontier(kTokens);
  EXPECT_EQ(s->frontier(kTokens), theirs.bytes);
  const auto pages = host_pages(*s, r.state.pages().n_pages());
  for (std::size_t i = 0; i < pages.size(); ++i)
    EXPECT_TRUE(pages[i] == *r.state.pages().page(static_cast<std::int64_t>(i))) << "page " << i;

  const auto back = state();
  ASSERT_TRUE(back->adopt(r.state.pages().share(kTokens), kTokens));
  back->restore(kTokens, theirs.bytes);
  std::vector<float> want(3 * r.V()), got(want.size());
  State on_host(*r.weights, false, 256);
  on_host.pages().adopt(r.state.pages().share(kTokens));
  on_host.restore(theirs);
  const std::vector<Token> more{3, 1, 4};
  r.evaluate(on_host, more, want.data());
  const Pipeline::Sequence one{back.get(), 3};
  ASSERT_TRUE(pipeline_->evaluate({&one, 1}, more, 3, got.data()));
  EXPECT_EQ(std::memcmp(got.data(), want.data(), sizeof(float) * got.size()), 0);
}

TEST_P(CudaForward, TheNewestTokensAreDroppedForNothing) {
  load(64);
  const auto s = state();
  append(*s, 0, 100, 50);
  Reference& r = reference();
  std::vector<float> logits(20 * r.V());
  const std::vector<Token> wrong(20, 7);
  const Pipeline::Sequence one{s.get(), 20};
  ASSERT_TRUE(pipeline_->evaluate({&one, 1}, wrong, 20, logits.data()));
  EXPECT_FALSE(s->can_drop_to(120 - kRollback - 1));
  ASSERT_TRUE(s->can_drop_to(90));
  s->drop_to(90);
  append(*s, 90, kTokens, 30);
}

// A chunk longer than a step works in a ring that all sequences share: what it leaves in the
// sequence's own is its own cells, however many of those before it are asked for again.
TEST_P(CudaForward, TheNewestTokensAreDroppedBehindAShortChunk) {
  load(128);
  const auto s = state(), other = state();
  Reference& r = reference();
  std::vector<float> logits(r.V());
  const std::vector<Token> wrong(128, 7);
  const auto evaluate = [&](PipelineState& of, int n) {
    const Pipeline::Sequence one{&of, n};
    ASSERT_TRUE(pipeline_->evaluate({&one, 1}, std::span(wrong).first(static_cast<std::size_t>(n)),
                                    1, logits.data()));
  };
  for (int i = 0; i < 2; ++i) evaluate(*other, 128);
  append(*s, 0, 140, 35);
  evaluate(*s, 70);
  ASSERT_TRUE(s->can_drop_to(210 - kRollback));
  s->drop_to(210 - kRollback);
  append(*s, 210 - kRollback, kTokens, 30);
}

TEST_P(CudaForward, AForkSharesPagesUntilOneWrites) {
  load(64);
  const auto s = state();
  append(*s, 0, 60, 60);
  const std::int64_t free_before = n_free();
  const auto fork = state();
  for (std::size_t k = 0; k < pipeline_->stages().size(); ++k) fork->on(k).adopt(s->on(k).pages());
  fork->restore(60, s->frontier(60));
  EXPECT_EQ(n_free(), free_before);
  Reference& r = reference();
  std::vector<float> logits(8 * r.V());
  const std::vector<Token> other(8, 9);
  const Pipeline::Sequence one{fork.get(), 8};
  ASSERT_TRUE(pipeline_->evaluate({&one, 1}, other, 8, logits.data()));
  EXPECT_EQ(n_free(), free_before - n_paged());
  append(*s, 60, kTokens, 45);  // none the wiser
}

// Of each device in turn, the others with room: none goes ahead of the one that has none.
TEST_P(CudaForward, AFullPoolIsSaidAndLosesNothing) {
  load(64);
  const auto s = state(), other = state();
  append(*s, 0, 30, 30);
  for (const cuda::Stage& stage : pipeline_->stages()) {
    if (stage.pages->bytes() == 0) continue;
    std::vector<PagePool::Page> taken;
    while (auto page = stage.pages->take()) taken.push_back(std::move(page));
    std::vector<float> logits(reference().V());
    const Pipeline::Sequence both[] = {{s.get(), 1}, {other.get(), 1}};
    const auto refused = pipeline_->evaluate(both, std::vector<Token>{reference().tokens[30], 1}, 1,
                                             logits.data());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::no_memory);
    EXPECT_THAT(refused.error().message, HasSubstr("on " + stage.device->name() + " are taken"));
    for (std::size_t k = 0; k < pipeline_->stages().size(); ++k) {
      EXPECT_EQ(s->on(k).size(), 30);
      EXPECT_EQ(other->on(k).size(), 0);
    }
  }
  append(*s, 30, 60, 30);
  append(*other, 0, 40, 40);
}

// Host pages are copied once, shared by those that begin alike, and go when nobody holds them and
// others need the room.
TEST_P(CudaForward, HostPagesAreBroughtOnce) {
  load(64);
  cuda::PageCache& cache = *pipeline_->stages().back().cache;
  const PageLayout& layout = pipeline_->layout();
  std::vector<PageRef> host;
  for (int i = 0; i < 10; ++i) host.push_back(std::make_shared<Page>(layout.bytes));
  const auto first = cache.bring(host), again = cache.bring(std::span(host).first(4));
  ASSERT_TRUE(first && again);
  EXPECT_EQ(cache.brought(), 10);
  EXPECT_EQ((*again)[3], (*first)[3]);
  const auto same = cache.bring(std::vector<PageRef>(7, std::make_shared<Page>(layout.bytes)));
  ASSERT_TRUE(same);  // seven times the same one: it takes one page
  EXPECT_EQ(cache.brought(), 11);
  std::vector<PageRef> others;
  for (int i = 0; i < 8; ++i) others.push_back(std::make_shared<Page>(layout.bytes));
  const auto full = cache.bring(others);  // 16 pages, and 11 of them are held
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Errc::no_memory);
}

TEST_P(CudaForward, WhatNobodyHoldsGoesFirst) {
  load(64);
  cuda::PageCache& cache = *pipeline_->stages().back().cache;
  std::vector<PageRef> host;
  for (int i = 0; i < 17; ++i) host.push_back(std::make_shared<Page>(pipeline_->layout().bytes));
  ASSERT_TRUE(cache.bring(std::span(host).first(16)));
  ASSERT_TRUE(cache.bring(std::span(host).first(1)));  // used again, so not the one that goes
  ASSERT_TRUE(cache.bring(std::span(host).last(1)));
  EXPECT_EQ(cache.brought(), 17);
  ASSERT_TRUE(cache.bring(std::span(host).first(1)));
  EXPECT_EQ(cache.brought(), 17);
  EXPECT_EQ(cache.size(), 16u);
}

TEST_P(CudaForward, ACancelledChunkIsTakenBack) {
  load(150);
  const auto s = state();
  append(*s, 0, 50, 50);
  const auto before = s->frontier(50);
  const Pipeline::Sequence one{s.get(), 100};
  std::vector<float> logits(reference().V());
  int asked = 0;
  const auto stopped = pipeline_->evaluate({&one, 1},
                                           std::span(reference().tokens).subspan(50, 100), 1,
                                           logits.data(), [&](int) { return ++asked < 3; });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Errc::cancelled);
  EXPECT_EQ(asked, 3);
  s->restore(50, before);
  append(*s, 50, kTokens, 100);
}

// The launches of a decode step are those of the CPU's operations, in their order. Copies in and
// out apart, no layer has more than 28: the bar of a graph that is worth replaying. From one device
// to the next there is one copy out and one in, of what few tokens' experts gave summed.
TEST_P(CudaForward, ADecodeStepIsTheseLaunches) {
  load(150);
  const auto s = state();
  append(*s, 0, 149, 149);
  for (const auto& device : devices_) device->launches.clear();
  append(*s, 149, kTokens, 1);
  const Config& c = reference().weights->checkpoint.config();
  for (std::size_t k = 0; k < devices_.size(); ++k) {
    const DeviceWeights& weights = *pipeline_->stages()[k].weights;
    std::vector<std::string> want{"to_device", "to_device"};
    if (k == 0) want.push_back("embed");
    want.insert(want.end(), {"rope_table", "rope_table"});
    for (int i = weights.begin(); i < weights.end(); ++i) {
      std::vector<std::string> layer{"hyper", "linear", "linear", "queries", "put_window"};
      if (c.ratio(i) != 0) layer.insert(layer.end(), {"compress", "put_raw"});
      if (c.ratio(i) == 4)
        layer.insert(layer.end(),
                     {"compress", "put_raw", "index_queries", "index_scores", "top_k"});
      layer.insert(layer.end(), {"attention", "linear", "linear", "hyper", "linear", "route",
                                 "group", "experts_linear", "experts_linear"});
      EXPECT_LE(layer.size(), 28u);
      want.insert(want.end(), layer.begin(), layer.end());
    }
    if (k + 1 < devices_.size())
      want.insert(want.end(), {"combine", "to_host"});
    else
      want.insert(want.end(), {"hyper", "linear", "to_host"});
    EXPECT_EQ(devices_[k]->launches, want) << "device " << k;
  }
}

TEST_P(CudaForward, TooLittleDeviceMemoryIsRefused) {
  Reference& r = reference();
  const cuda::StageOptions all = options(8192, true, {});
  const auto refused = [&](std::size_t bytes) {
    HostDevice small(bytes, "the small one");
    const auto stage = cuda::Stage::make(small, *r.weights, all, r.pool, kernels::best(), {});
    EXPECT_FALSE(stage);
    EXPECT_EQ(stage.error().code, Errc::no_memory);
    EXPECT_THAT(stage.error().message, HasSubstr("onto the small one"));
    return stage.error().message;
  };
  HostDevice device;
  const auto weights = DeviceWeights::upload(device, *r.weights, 0, n_layers(), true, {}, r.pool,
                                             {});
  ASSERT_TRUE(weights);
  const std::size_t pages = 16 * page_layout(r.weights->checkpoint.config(), false).bytes;
  EXPECT_THAT(refused(100'000),
              HasSubstr("layers 0 to " + std::to_string(n_layers() - 1) + " have no room"));
  EXPECT_THAT(refused((*weights)->bytes() + pages / 2), HasSubstr("the pages of 2048 tokens"));
  EXPECT_THAT(refused((*weights)->bytes() + 2 * pages),
              HasSubstr("the work space for 8192 tokens"));
}

INSTANTIATE_TEST_SUITE_P(, CudaForward,
                         testing::Values(Case{"micro-flash", {}}, Case{"micro-pro", {}},
                                         Case{"micro-flash", {1, 3}}, Case{"micro-pro", {2}}),
                         [](const auto& p) {
                           return p.param.model.substr(6) +
                                  (p.param.cuts.empty()
                                       ? ""
                                       : "_on_" + std::to_string(p.param.cuts.size() + 1));
                         });

// Wherever two devices meet: behind a window layer, a CSA and an HCA one, hash-routed ones and
// others, and before the head alone. Many tokens, several sequences in a step, and recorded steps.
class CudaCuts : public CudaForward {};
TEST_P(CudaCuts, AnywhereGiveTheSameBits) {
  Reference& r = reference();
  for (int cut = 1; cut <= n_layers(); ++cut) {
    SCOPED_TRACE(cut);
    load_cut(std::vector<int>{cut}, options(140, true, {}));
    const auto s = state(), other = state();
    append(*s, 0, 140, 140);
    append(*other, 0, 40, 40);
    for (int step = 0; step < 3; ++step) {  // run, recorded, replayed
      const std::vector<Token> tokens{r.tokens[static_cast<std::size_t>(140 + step)],
                                      r.tokens[static_cast<std::size_t>(40 + step)]};
      std::vector<float> logits(2 * r.V());
      const Pipeline::Sequence both[] = {{s.get(), 1}, {other.get(), 1}};
      ASSERT_TRUE(pipeline_->evaluate(both, tokens, 2, logits.data()));
      same_logits({logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(r.V())}, 140 + step,
                  1);
      same_logits({logits.begin() + static_cast<std::ptrdiff_t>(r.V()), logits.end()}, 40 + step,
                  1);
    }
    EXPECT_EQ(n_recordings(), n_stages());
    append(*s, 143, kTokens, 7);
    EXPECT_EQ(s->frontier(kTokens), r.state.frontier(kTokens).bytes);
    const auto pages = host_pages(*s, r.state.pages().n_pages());
    for (std::size_t i = 0; i < pages.size(); ++i)
      EXPECT_TRUE(pages[i] == *r.state.pages().page(static_cast<std::int64_t>(i))) << "page " << i;
  }
}
INSTANTIATE_TEST_SUITE_P(, CudaCuts,
                         testing::Values(Case{"micro-flash", {}}, Case{"micro-pro", {}}),
                         [](const auto& p) { return p.param.model.substr(6); });

}  // namespace
}  // namespace lares::engine
