// The forward pass of engine/cuda on a device in host memory, against engine/model's: the same bits of logits, pages and frontiers, however
// the tokens are cut, recorded or not, alone or in company, with experts on the device or not.
#include "engine/cuda/forward.h"

#include <gmock/gmock.h>

#include <map>
#include <optional>
#include <random>

#include "engine/cuda/layout.h"
#include "engine/cuda/page_cache.h"
#include "tests/engine/host_device.h"
#include "tests/engine/model_golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::DeviceForward;
using cuda::DeviceState;
using cuda::DeviceWeights;
using cuda::PagePool;
using testing::HasSubstr;

constexpr int kTokens = 150;      // past a window of 128 and a group of 128
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
      : weights(golden_weights(name)), tokens(Golden(name).tokens), forward(*weights, false, pool, kernels::best()), state(*weights, false, 256) {
    tokens.resize(kTokens);
    logits.resize(tokens.size() * V());
    evaluate(state, tokens, logits.data());
  }
  std::size_t V() const { return static_cast<std::size_t>(weights->checkpoint.config().vocab_size); }
  void evaluate(State& of, std::span<const Token> more, float* to) {
    const Config& c = weights->checkpoint.config();
    std::vector<float> x(more.size() * static_cast<std::size_t>(c.hc_mult) * static_cast<std::size_t>(c.hidden_size));
    forward.evaluate(of, more, x.data());
    forward.head(x.data(), static_cast<int>(more.size()), to);
  }
};

class CudaForward : public testing::TestWithParam<const char*> {
 protected:
  Reference& reference() {
    static std::map<std::string, std::unique_ptr<Reference>> known;
    auto& r = known[GetParam()];
    if (!r) r = std::make_unique<Reference>(GetParam());
    return *r;
  }
  void load(int chunk, bool record = true, std::span<const char> resident = {}) {
    Reference& r = reference();
    const Config& c = r.weights->checkpoint.config();
    auto weights = DeviceWeights::upload(device_, *r.weights, 0, c.num_hidden_layers, true, resident, {});
    ASSERT_TRUE(weights) << weights.error().message;
    weights_ = std::move(*weights);
    pages_ = std::make_unique<PagePool>(device_, page_layout(c, false), 0, c.num_hidden_layers, 16);
    ASSERT_TRUE(pages_->made());
    auto forward = DeviceForward::make(device_, *r.weights, *weights_, {.chunk = chunk, .n_context = kContext, .record = record}, r.pool, kernels::best());
    ASSERT_TRUE(forward) << forward.error().message;
    forward_ = std::move(*forward);
  }
  std::unique_ptr<DeviceState> state() {
    const Config& c = reference().weights->checkpoint.config();
    auto out = std::make_unique<DeviceState>(device_, *reference().weights, *pages_, 0, c.num_hidden_layers, kContext);
    EXPECT_TRUE(out->made());
    return out;
  }
  // Appends tokens [begin, end) in chunks, and holds their logits against the reference's.
  void append(DeviceState& s, int begin, int end, int chunk) {
    Reference& r = reference();
    for (int at = begin; at < end; at += chunk) {
      const int n = std::min(chunk, end - at);
      std::vector<float> logits(static_cast<std::size_t>(n) * r.V(), NAN);
      const DeviceForward::Sequence one{&s, n};
      const auto done = forward_->evaluate({&one, 1}, std::span(r.tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)), n, logits.data());
      ASSERT_TRUE(done) << done.error().message;
      same_logits(logits, at, n);
    }
    EXPECT_EQ(s.size(), end);
  }
  void same_logits(const std::vector<float>& logits, int at, int n) {
    Reference& r = reference();
    for (int t = 0; t < n; ++t)
      ASSERT_EQ(std::memcmp(logits.data() + static_cast<std::size_t>(t) * r.V(), r.logits.data() + static_cast<std::size_t>(at + t) * r.V(), sizeof(float) * r.V()), 0)
          << "token " << at + t << " of a chunk of " << n;
  }
  std::vector<Page> host_pages(const DeviceState& s) {
    std::vector<Page> out;
    for (std::int64_t i = 0; i < s.n_pages(); ++i) {
      out.emplace_back(pages_->layout().bytes);
      std::fill(out.back().begin(), out.back().end(), 0);
      s.download(i, out.back().data());
    }
    return out;
  }

  HostDevice device_;  // goes last
  std::unique_ptr<DeviceWeights> weights_;
  std::unique_ptr<PagePool> pages_;
  std::unique_ptr<DeviceForward> forward_;
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
  EXPECT_EQ(forward_->n_recordings(), 0u);
  append(*s, 120, 121, 1);
  EXPECT_EQ(forward_->n_recordings(), 0u);  // the first of its shape only runs
  append(*s, 121, 140, 1);
  EXPECT_EQ(forward_->n_recordings(), 1u);
  append(*s, 140, kTokens, 5);
  EXPECT_EQ(forward_->n_recordings(), 2u);
}

// Of a chunk and of steps of several lengths, whose recordings must not be taken for one another's.
TEST_P(CudaForward, OnlyTheLastRowsAreAskedFor) {
  load(100);
  const auto s = state();
  Reference& r = reference();
  int at = 0;
  for (const auto& [n, n_rows] : {std::pair{100, 2}, {5, 1}, {3, 1}, {5, 1}, {7, 0}, {3, 2}}) {
    std::vector<float> logits(static_cast<std::size_t>(n_rows) * r.V());
    const DeviceForward::Sequence one{s.get(), n};
    ASSERT_TRUE(forward_->evaluate({&one, 1}, std::span(r.tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)), n_rows, logits.data()));
    at += n;
    same_logits(logits, at - n_rows, n_rows);
  }
}

TEST_P(CudaForward, UnrecordedIsTheSame) {
  load(32, /*record=*/false);
  const auto s = state();
  append(*s, 0, 96, 32);
  append(*s, 96, 104, 1);
  EXPECT_EQ(forward_->n_recordings(), 0u);
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
  const DeviceForward::Sequence both[] = {{a.get(), 3}, {b.get(), 5}};
  ASSERT_TRUE(forward_->evaluate(both, tokens, 8, logits.data()));
  same_logits({logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(3 * r.V())}, 130, 3);
  same_logits({logits.begin() + static_cast<std::ptrdiff_t>(3 * r.V()), logits.end()}, 40, 5);
}

TEST_P(CudaForward, ExpertsInHostMemoryGiveTheSameBits) {
  const Config& c = reference().weights->checkpoint.config();
  std::vector<char> resident(static_cast<std::size_t>(c.num_hidden_layers) * static_cast<std::size_t>(c.n_routed_experts), 1);
  std::mt19937 random(5);
  for (std::size_t i = static_cast<std::size_t>(c.n_routed_experts); i < resident.size(); ++i) resident[i] = random() % 2;  // all of the first layer's are there
  load(70, true, resident);
  const auto s = state();
  append(*s, 0, 140, 70);
  append(*s, 140, kTokens, 1);
  EXPECT_GT(forward_->host_experts().missed(), 0);
  EXPECT_GT(forward_->host_experts().found(), 0);
}

// What the device leaves the CPU goes on with, and the other way round.
TEST_P(CudaForward, PagesAndFrontiersAreTheCpus) {
  load(70);
  Reference& r = reference();
  const auto s = state();
  append(*s, 0, kTokens, 70);
  const Frontier theirs = r.state.frontier(kTokens);
  EXPECT_EQ(s->frontier(kTokens), theirs.bytes);
  const auto pages = host_pages(*s);
  ASSERT_EQ(pages.size(), static_cast<std::size_t>(r.state.pages().n_pages()));
  for (std::size_t i = 0; i < pages.size(); ++i) EXPECT_TRUE(pages[i] == *r.state.pages().page(static_cast<std::int64_t>(i))) << "page " << i;

  const auto back = state();
  cuda::PageCache cache(device_, *pages_);
  auto brought = cache.bring(r.state.pages().share(kTokens));
  ASSERT_TRUE(brought) << brought.error().message;
  back->adopt(std::move(*brought));
  back->restore(kTokens, theirs.bytes);
  std::vector<float> want(3 * r.V()), got(want.size());
  State on_host(*r.weights, false, 256);
  on_host.pages().adopt(r.state.pages().share(kTokens));
  on_host.restore(theirs);
  const std::vector<Token> more{3, 1, 4};
  r.evaluate(on_host, more, want.data());
  const DeviceForward::Sequence one{back.get(), 3};
  ASSERT_TRUE(forward_->evaluate({&one, 1}, more, 3, got.data()));
  EXPECT_EQ(std::memcmp(got.data(), want.data(), sizeof(float) * got.size()), 0);
}

TEST_P(CudaForward, TheNewestTokensAreDroppedForNothing) {
  load(64);
  const auto s = state();
  append(*s, 0, 100, 50);
  Reference& r = reference();
  std::vector<float> logits(20 * r.V());
  const std::vector<Token> wrong(20, 7);
  const DeviceForward::Sequence one{s.get(), 20};
  ASSERT_TRUE(forward_->evaluate({&one, 1}, wrong, 20, logits.data()));
  EXPECT_FALSE(s->can_drop_to(120 - kRollback - 1));
  ASSERT_TRUE(s->can_drop_to(90));
  s->drop_to(90);
  append(*s, 90, kTokens, 30);
}

TEST_P(CudaForward, AForkSharesPagesUntilOneWrites) {
  load(64);
  const auto s = state();
  append(*s, 0, 60, 60);
  const std::int64_t free_before = pages_->n_free();
  const auto fork = state();
  fork->adopt(s->pages());
  fork->restore(60, s->frontier(60));
  EXPECT_EQ(pages_->n_free(), free_before);
  Reference& r = reference();
  std::vector<float> logits(8 * r.V());
  const std::vector<Token> other(8, 9);
  const DeviceForward::Sequence one{fork.get(), 8};
  ASSERT_TRUE(forward_->evaluate({&one, 1}, other, 8, logits.data()));
  EXPECT_EQ(pages_->n_free(), free_before - 1);
  append(*s, 60, kTokens, 45);  // none the wiser
}

TEST_P(CudaForward, AFullPoolIsSaidAndLosesNothing) {
  load(64);
  const auto s = state();
  append(*s, 0, 30, 30);
  std::vector<PagePool::Page> taken;
  while (auto page = pages_->take()) taken.push_back(std::move(page));
  const auto other = state();
  std::vector<float> logits(reference().V());
  const DeviceForward::Sequence one{other.get(), 1};
  const auto refused = forward_->evaluate({&one, 1}, std::vector<Token>{1}, 1, logits.data());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::no_memory);
  EXPECT_THAT(refused.error().message, HasSubstr("are taken"));
  EXPECT_EQ(other->size(), 0);
  append(*s, 30, 60, 30);
  taken.clear();
  append(*other, 0, 40, 40);
}

// Host pages are copied once, shared by those that begin alike, and go when nobody holds them and others need the room.
TEST_P(CudaForward, HostPagesAreBroughtOnce) {
  load(64);
  cuda::PageCache cache(device_, *pages_);
  const PageLayout& layout = pages_->layout();
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
  cuda::PageCache cache(device_, *pages_);
  std::vector<PageRef> host;
  for (int i = 0; i < 17; ++i) host.push_back(std::make_shared<Page>(pages_->layout().bytes));
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
  const DeviceForward::Sequence one{s.get(), 100};
  std::vector<float> logits(reference().V());
  int asked = 0;
  const auto stopped = forward_->evaluate({&one, 1}, std::span(reference().tokens).subspan(50, 100), 1, logits.data(), [&](int) { return ++asked < 3; });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Errc::cancelled);
  EXPECT_EQ(asked, 3);
  s->restore(50, before);
  append(*s, 50, kTokens, 100);
}

// The launches of a decode step are those of the CPU's operations, in their order. Copies in and out apart, no layer has more than 28: the
// bar of a graph that is worth replaying.
TEST_P(CudaForward, ADecodeStepIsTheseLaunches) {
  load(150);
  const auto s = state();
  append(*s, 0, 149, 149);
  device_.launches.clear();
  append(*s, 149, kTokens, 1);
  const Config& c = reference().weights->checkpoint.config();
  std::vector<std::string> want{"to_device", "to_device", "embed", "rope_table", "rope_table"};
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    std::vector<std::string> layer{"hyper", "linear", "rms_norm", "linear", "queries", "put_window"};
    if (c.ratio(i) != 0) layer.insert(layer.end(), {"compress", "put_raw"});
    if (c.ratio(i) == 4) layer.insert(layer.end(), {"compress", "put_raw", "index_queries", "index_scores", "top_k"});
    layer.insert(layer.end(), {"attention", "linear", "linear", "hyper", "linear", "route", "group", "experts_linear", "experts_linear"});
    EXPECT_LE(layer.size(), 28u);
    want.insert(want.end(), layer.begin(), layer.end());
  }
  want.insert(want.end(), {"hyper", "linear", "to_host"});
  EXPECT_EQ(device_.launches, want);
}

TEST_P(CudaForward, TooLittleDeviceMemoryIsRefused) {
  Reference& r = reference();
  const Config& c = r.weights->checkpoint.config();
  HostDevice small(100'000);
  const auto weights = DeviceWeights::upload(small, *r.weights, 0, c.num_hidden_layers, true, {}, {});
  ASSERT_FALSE(weights);
  EXPECT_EQ(weights.error().code, Errc::no_memory);
  HostDevice device;
  const auto fits = DeviceWeights::upload(device, *r.weights, 0, c.num_hidden_layers, true, {}, {});
  ASSERT_TRUE(fits);
  HostDevice without(1'000'000);
  const auto forward = DeviceForward::make(without, *r.weights, **fits, {.chunk = 8192, .n_context = kContext}, r.pool, kernels::best());
  ASSERT_FALSE(forward);
  EXPECT_EQ(forward.error().code, Errc::no_memory);
  const auto half = DeviceWeights::upload(device, *r.weights, 0, 2, false, {}, {});
  ASSERT_TRUE(half);
  EXPECT_EQ(DeviceForward::make(device, *r.weights, **half, {.chunk = 64, .n_context = kContext}, r.pool, kernels::best()).error().code, Errc::unsupported);
}

INSTANTIATE_TEST_SUITE_P(, CudaForward, testing::Values("micro-flash", "micro-pro"), [](const auto& p) { return std::string(p.param).substr(6); });

}  // namespace
}  // namespace lares::engine
