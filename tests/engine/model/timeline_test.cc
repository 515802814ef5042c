// Timelines: going back and on again is the same as never having been elsewhere; draws are
// functions of seed and position.
#include <gmock/gmock.h>

#include "engine/model/sampler.h"
#include "engine/model/timeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;

class ModelTimelineTest : public testing::Test {
 protected:
  std::vector<Token> prompt(int n, unsigned seed) const {
    std::vector<Token> out;
    std::uint32_t x = seed * 2654435761u + 1;
    for (int i = 0; i < n; ++i) {
      x = x * 1664525u + 1013904223u;
      out.push_back(static_cast<Token>((x >> 8) % weights_->checkpoint.config().vocab_size));
    }
    return out;
  }
  ModelTimeline timeline(std::int64_t n_context = 4096, int chunk = 128) {
    return {*weights_, forward_, n_context, chunk};
  }
  std::vector<float> fresh(const std::vector<Token>& tokens) {
    auto t = timeline();
    EXPECT_TRUE(t.sync(tokens, {}, {}));
    return {t.logits().begin(), t.logits().end()};
  }
  static std::vector<float> logits(const ModelTimeline& t) {
    return {t.logits().begin(), t.logits().end()};
  }

  std::unique_ptr<Weights> weights_ = golden_weights("micro-flash");
  kernels::ThreadPool pool_{2};
  Forward forward_{*weights_, false, pool_, kernels::best()};
};

TEST_F(ModelTimelineTest, SyncEvaluatesWhatFollowsTheCommonPrefix) {
  auto t = timeline();
  auto tokens = prompt(300, 1);
  EXPECT_EQ(t.sync(tokens, {}, {}).value(), 300);
  EXPECT_EQ(t.sync(tokens, {}, {}).value(), 0);
  tokens.resize(310, 3);
  EXPECT_EQ(t.sync(tokens, {}, {}).value(), 10);
  EXPECT_EQ(logits(t), fresh(tokens));
}

TEST_F(ModelTimelineTest, GoingBackEqualsAFreshRun) {
  auto t = timeline();
  const auto base = prompt(700, 2);
  ASSERT_TRUE(t.sync(base, {}, {}));
  // Within the rings' slack, just behind a snapshot, on one, far behind, to one token, and forward
  // again each time.
  for (const int keep : {699, 640, 600, 513, 512, 511, 300, 256, 131, 128, 127, 3, 1}) {
    auto tokens = base;
    tokens.resize(keep);
    for (const Token extra : prompt(40, static_cast<unsigned>(keep))) tokens.push_back(extra);
    const auto n = t.sync(tokens, {}, {});
    ASSERT_TRUE(n);
    EXPECT_EQ(logits(t), fresh(tokens)) << "kept " << keep << ", evaluated " << *n;
    EXPECT_LE(*n, 40 + 128 + 1) << "kept " << keep;
    ASSERT_TRUE(t.sync(base, {}, {}));
    EXPECT_EQ(logits(t), fresh(base)) << "kept " << keep;
  }
}

// Rewinds that each fit the rings' slack, one after another, until together they do not.
TEST_F(ModelTimelineTest, ManySmallStepsBackEqualAFreshRun) {
  const auto base = prompt(900, 4);
  auto t = timeline(4096, 64);
  ASSERT_TRUE(t.sync(base, {}, {}));
  for (int keep = 800; keep > 0; keep -= 100) {
    std::vector<Token> tokens(base.begin(), base.begin() + keep);
    tokens.back() ^= 1;
    ASSERT_TRUE(t.sync(tokens, {}, {}));
    EXPECT_EQ(logits(t), fresh(tokens)) << "kept " << keep;
  }
}

TEST_F(ModelTimelineTest, AShorterPromptEqualsAFreshRun) {
  auto t = timeline();
  auto tokens = prompt(260, 3);
  ASSERT_TRUE(t.sync(tokens, {}, {}));
  tokens.resize(255);
  ASSERT_TRUE(t.sync(tokens, {}, {}));
  EXPECT_EQ(logits(t), fresh(tokens));
}

TEST_F(ModelTimelineTest, NextEqualsSyncWithTheSameTokens) {
  auto t = timeline();
  ASSERT_TRUE(t.sync(prompt(130, 4), {}, {}));
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(t.next({.temperature = 1, .top_p = 0.9f, .seed = 7}, nullptr));
  EXPECT_EQ(t.tokens().size(), 150u);
  std::vector<Token> tokens(t.tokens().begin(), t.tokens().end());
  EXPECT_EQ(t.sync(tokens, {}, {}).value(), 1);  // the last draw had not been evaluated yet
  EXPECT_EQ(logits(t), fresh(tokens));
}

TEST_F(ModelTimelineTest, DrawsAreAFunctionOfSeedAndPosition) {
  const auto draw = [&](std::uint64_t seed) {
    auto t = timeline();
    EXPECT_TRUE(t.sync(prompt(50, 5), {}, {}));
    std::vector<Token> out;
    for (int i = 0; i < 12; ++i) out.push_back(t.next({.seed = seed}, nullptr).value());
    return out;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST_F(ModelTimelineTest, AStoppedSyncKeepsWhatItEvaluated) {
  auto t = timeline();
  const auto tokens = prompt(600, 6);
  std::stop_source stop;
  const auto stopped = t.sync(tokens, stop.get_token(), [&](std::int64_t done, std::int64_t) {
    if (done >= 256) stop.request_stop();
  });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Errc::cancelled);
  const auto kept = t.tokens().size();
  EXPECT_GE(kept, 256u);
  EXPECT_LT(kept, 600u);
  // From the kept tokens, though their logits were never asked for
  ASSERT_TRUE(t.next({.temperature = 0}, nullptr));
  EXPECT_EQ(t.tokens().size(), kept + 1);
  EXPECT_EQ(logits(t), fresh({tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(kept)}));
  EXPECT_EQ(t.sync(tokens, {}, {}).value(), static_cast<std::int64_t>(600 - kept));
  EXPECT_EQ(logits(t), fresh(tokens));
}

// Wherever a chunk is stopped, between any two of its layers, all is as before it.
TEST_F(ModelTimelineTest, AChunkStoppedHalfWayLeavesNothing) {
  const auto tokens = prompt(700, 6);
  for (const std::int64_t from : {0, 41, 77, 128, 301}) {
    auto t = timeline(4096, 256);
    const std::vector<Token> start(tokens.begin(), tokens.begin() + from);
    if (from > 0) {
      ASSERT_TRUE(t.sync(start, {}, {}));
    }
    for (int calls = 1; calls <= 5; ++calls) {  // as often as a chunk asks
      std::stop_source stop;
      int left = calls;
      std::int64_t last = -1;
      const auto stopped = t.sync(tokens, stop.get_token(),
                                  [&](std::int64_t done, std::int64_t all) {
                                    EXPECT_GE(done, last);
                                    EXPECT_LE(done, all);
                                    last = done;
                                    if (--left == 0) stop.request_stop();
                                  });
      ASSERT_FALSE(stopped);
      EXPECT_EQ(stopped.error().code, Errc::cancelled);
    }
    if (from > 0) {
      ASSERT_TRUE(t.sync(start, {}, {}));
      EXPECT_EQ(logits(t), fresh(start)) << from;
    }
    for (const std::int64_t more : {1, 16, 399}) {  // few entries: all are looked at
      const std::vector<Token> longer(tokens.begin(), tokens.begin() + from + more);
      ASSERT_TRUE(t.sync(longer, {}, {}));
      EXPECT_EQ(logits(t), fresh(longer)) << from << " and " << more;
    }
  }
}

TEST_F(ModelTimelineTest, WhatIsLeftIsSaidBefore) {
  const auto memory = std::make_shared<SequenceMemory>(std::uint64_t{1} << 40,
                                                       std::chrono::seconds(0));
  ModelTimeline t(*weights_, forward_, 4096, 256, {}, nullptr, memory);
  const auto tokens = prompt(700, 6);
  const auto evaluates = [&](std::int64_t size) {
    const auto text = std::span(tokens).first(static_cast<std::size_t>(size));
    const auto left = t.left_of(text);
    EXPECT_EQ(t.sync(text, {}, {}).value(), left) << size;
    return left;
  };
  EXPECT_EQ(t.left_of({}), 0);
  EXPECT_EQ(evaluates(300), 300);
  EXPECT_EQ(evaluates(500), 200);
  EXPECT_EQ(evaluates(450), 1);
  EXPECT_EQ(evaluates(150), 22);  // behind a snapshot
  EXPECT_EQ(evaluates(600), 450);
  EXPECT_FALSE(memory->make_room(memory->bytes_max() + 1, nullptr, "evict"));
  EXPECT_EQ(evaluates(601), 601);  // all of it, though it has the tokens
  ModelTimeline fork(*weights_, forward_, 4096, 256, {},
                     std::static_pointer_cast<const ModelPrefix>(t.prefix(512)), memory);
  EXPECT_EQ(fork.left_of(tokens), 700 - 512);
  EXPECT_EQ(fork.left_of(std::span(tokens).first(512)), 512);  // it cannot go back
}

// Every multiple of kSnapshotEvery can be returned to, however long the chunks are.
TEST_F(ModelTimelineTest, ALongChunkIsReturnedIntoAtEverySnapshot) {
  const auto base = prompt(1000, 8);
  auto t = timeline(4096, 1024);
  ASSERT_TRUE(t.sync(std::span(base).first(126), {}, {}));
  for (const int keep : {999, 897, 896, 895, 700, 513, 385, 257, 129, 128, 127, 3}) {
    ASSERT_TRUE(t.sync(base, {}, {}));
    auto tokens = base;
    tokens.resize(static_cast<std::size_t>(keep));
    for (const Token extra : prompt(40, static_cast<unsigned>(keep))) tokens.push_back(extra);
    const auto n = t.sync(tokens, {}, {});
    ASSERT_TRUE(n);
    EXPECT_EQ(logits(t), fresh(tokens)) << "kept " << keep << ", evaluated " << *n;
    EXPECT_LE(*n, 40 + kSnapshotEvery + 1) << "kept " << keep;
  }
}

TEST_F(ModelTimelineTest, RefusesWhatItCannotHold) {
  auto t = timeline(64);
  EXPECT_EQ(t.sync({}, {}, {}).error().code, Errc::bad_argument);
  EXPECT_EQ(t.next({}, nullptr).error().code, Errc::bad_argument);
  EXPECT_EQ(t.sync(prompt(65, 7), {}, {}).error().code, Errc::too_long);
  EXPECT_EQ(t.sync(std::vector<Token>{5, -1}, {}, {}).error().code, Errc::bad_argument);
  EXPECT_EQ(t.sync(std::vector<Token>{5, 512}, {}, {}).error().code, Errc::bad_argument);
  ASSERT_TRUE(t.sync(prompt(63, 7), {}, {}));
  EXPECT_TRUE(t.next({}, nullptr));
  EXPECT_EQ(t.next({}, nullptr).error().code, Errc::too_long);
}

TEST(Sampler, TemperatureZeroTakesTheLowestOfTheBest) {
  const std::vector<float> logits{1, 3, 2, 3};
  EXPECT_EQ(Sampler().draw(logits, {.temperature = 0}, nullptr, 0).value(), 1);
  const TokenMask mask{0b1101};
  EXPECT_EQ(Sampler().draw(logits, {.temperature = 0}, &mask, 0).value(), 3);
}

TEST(Sampler, FrequenciesFollowTheProbabilities) {
  const std::vector<float> logits{std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  int count[3] = {}, cut[3] = {}, hot[3] = {};
  constexpr int n = 20000;
  for (int i = 0; i < n; ++i) {
    ++count[Sampler().draw(logits, {.seed = 9}, nullptr, i).value()];
    ++cut[Sampler().draw(logits, {.top_p = 0.6f, .seed = 9}, nullptr, i).value()];
    ++hot[Sampler().draw(logits, {.temperature = 1e6f, .seed = 9}, nullptr, i).value()];
  }
  const double sigma = 4 * std::sqrt(n * 0.25);  // 4 standard deviations of the widest binomial
  EXPECT_NEAR(count[0], 0.5 * n, sigma);
  EXPECT_NEAR(count[1], 0.3 * n, sigma);
  EXPECT_NEAR(cut[0], 0.625 * n, sigma);
  EXPECT_EQ(cut[2], 0);
  EXPECT_NEAR(hot[2], n / 3.0, sigma);
}

TEST(Sampler, SaysWhatItCannotDrawFrom) {
  const std::vector<float> logits{1, NAN, 2};
  EXPECT_EQ(Sampler().draw(logits, {}, nullptr, 0).error().code, Errc::malformed);
  const TokenMask none{0}, good{0b101};
  EXPECT_EQ(Sampler().draw(logits, {}, &none, 0).error().code, Errc::bad_argument);
  EXPECT_TRUE(Sampler().draw(logits, {}, &good, 0));
}

}  // namespace
}  // namespace lares::engine
