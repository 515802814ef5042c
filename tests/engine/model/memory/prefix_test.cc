// Shared beginnings: forked, kept as bytes and brought back, or evaluated in other pieces, a
// sequence is the same to the bit, and what one does with a beginning nobody else notices.
#include <gmock/gmock.h>

#include "engine/model/timeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;

using Bytes = std::vector<std::uint8_t>;
using Sizes = std::vector<std::int64_t>;

class ModelPrefixTest : public testing::TestWithParam<const char*> {
 protected:
  std::vector<Token> tokens(std::int64_t n, unsigned seed) const {
    std::vector<Token> out;
    std::uint32_t x = seed * 2654435761u + 1;
    for (std::int64_t i = 0; i < n; ++i) {
      x = x * 1664525u + 1013904223u;
      out.push_back(static_cast<Token>((x >> 8) % weights_->checkpoint.config().vocab_size));
    }
    return out;
  }
  std::unique_ptr<ModelTimeline> timeline(int chunk, PrefixRef from = nullptr) {
    return std::make_unique<ModelTimeline>(
        *weights_, forward_, 8192, chunk, DraftOptions{},
        std::static_pointer_cast<const ModelPrefix>(std::move(from)));
  }
  PrefixRef evaluated(const std::vector<Token>& text, int chunk) {
    auto t = timeline(chunk);
    EXPECT_TRUE(t->sync(text, {}, {}));
    return t->prefix(static_cast<std::int64_t>(text.size()));
  }
  // What it has in the end: logits, and all bytes of the prefix.
  static Bytes bytes(const Prefix& p) {
    Bytes out(p.frontier().begin(), p.frontier().end());
    for (std::int64_t i = 0; i < p.n_pages(); ++i)
      out.insert(out.end(), p.page(i).begin(), p.page(i).end());
    return out;
  }
  // `text` and more behind it, from what the timeline holds.
  std::pair<std::vector<float>, Bytes> go_on(ModelTimeline& t, std::vector<Token> text,
                                             unsigned seed) {
    const auto held = t.tokens().size();
    const auto size = text.size();
    for (const Token token : tokens(70, seed)) text.push_back(token);
    EXPECT_EQ(t.sync(text, {}, {}).value(),
              static_cast<std::int64_t>(text.size() - std::min(size, held)));
    return {{t.logits().begin(), t.logits().end()},
            bytes(*t.prefix(static_cast<std::int64_t>(text.size())))};
  }
  PrefixRef through_bytes(const Prefix& p) {
    ModelPrefixBuilder builder(*weights_, forward_.exact());
    for (std::int64_t i = 0; i < p.n_pages(); ++i)
      std::copy(p.page(i).begin(), p.page(i).end(), builder.add_page().begin());
    auto out = builder.finish({p.tokens().begin(), p.tokens().end()},
                              {p.frontier().begin(), p.frontier().end()});
    EXPECT_TRUE(out) << out.error().message;
    return *out;
  }

  std::unique_ptr<Weights> weights_ = golden_weights(GetParam());
  kernels::ThreadPool pool_{2};
  Forward forward_{*weights_, false, pool_, kernels::best()};
};

// Around every size at which something changes: groups, windows, pages, chunks.
TEST_P(ModelPrefixTest, AnyWayToABoundaryIsTheSame) {
  for (const std::int64_t n : kWatched ? Sizes{1, 129, 257, 513}
                                       : Sizes{1, 3, 4, 5, 127, 128, 129, 130, 255, 256, 257, 383,
                                               385, 511, 513, 1025, 2048, 2049}) {
    SCOPED_TRACE(n);
    const auto text = tokens(n, 1);
    auto live = timeline(1024);
    ASSERT_TRUE(live->sync(text, {}, {}));
    const auto prefix = live->prefix(n);
    ASSERT_TRUE(prefix);
    ASSERT_EQ(prefix->n_pages(), (n + 255) / 256);
    ASSERT_EQ(bytes(*evaluated(text, 100)), bytes(*prefix));
    const auto want = go_on(*live, text, 2);
    EXPECT_EQ(go_on(*timeline(1024, prefix), text, 2), want);
    EXPECT_EQ(go_on(*timeline(100, prefix), text, 2), want);
    EXPECT_EQ(go_on(*timeline(1024, through_bytes(*prefix)), text, 2), want);
  }
}

// Prefixes of the middle: at multiples of 128 of the last chunk, and the last few places, which are
// what evaluating only as much gives.
TEST_P(ModelPrefixTest, TheMiddleIsAPrefixToo) {
  const auto text = tokens(1500, 3);
  auto t = timeline(512);
  ASSERT_TRUE(t->sync(text, {}, {}));
  for (const std::int64_t n : kWatched
                                  ? Sizes{1500, 1497, 1280}
                                  : Sizes{1500, 1499, 1497, 1496, 1490, 1408, 1280, 1152, 1024}) {
    const auto middle = t->prefix(n);
    ASSERT_TRUE(middle) << n;
    EXPECT_EQ(bytes(*middle), bytes(*evaluated({text.begin(), text.begin() + n}, 512))) << n;
  }
  EXPECT_FALSE(t->prefix(1500 - kRollback - 1));
  EXPECT_FALSE(t->prefix(1501));
  EXPECT_FALSE(t->prefix(0));
}

TEST_P(ModelPrefixTest, ForksDoNotNoticeEachOther) {
  const auto text = tokens(700, 4);
  const auto base = evaluated(text, 256);
  const auto before = bytes(*base);
  std::vector<std::unique_ptr<ModelTimeline>> forks;
  for (unsigned i = 0; i < (kWatched ? 2u : 6u); ++i) forks.push_back(timeline(256, base));
  for (unsigned round = 0; round < 3; ++round)
    for (unsigned i = 0; i < forks.size(); ++i) {
      std::vector<Token> own = text;
      own.resize(round == 1 ? 640 : 700);  // in one round they go back into the last shared page
      for (const Token token : tokens(90, 10 * round + i)) own.push_back(token);
      ASSERT_TRUE(forks[i]->sync(own, {}, {}));
      auto alone = timeline(256);
      ASSERT_TRUE(alone->sync(own, {}, {}));
      ASSERT_THAT(forks[i]->logits(), testing::ElementsAreArray(alone->logits()))
          << "fork " << i << ", round " << round;
    }
  EXPECT_EQ(bytes(*base), before);
}

// A fork's own prefix, and one that outlives the timeline it came from and what that wrote
// afterwards.
TEST_P(ModelPrefixTest, PrefixesStayWhatTheyWere) {
  const auto text = tokens(600, 5);
  PrefixRef kept;
  Bytes before;
  {
    auto t = timeline(256, evaluated({text.begin(), text.begin() + 300}, 256));
    EXPECT_EQ(t->prefix(300)->tokens().size(), 300u);  // before it is used at all
    EXPECT_FALSE(t->prefix(256));
    ASSERT_TRUE(t->sync(text, {}, {}));
    kept = t->prefix(600);
    before = bytes(*kept);
    auto other = text;
    for (std::size_t i = 520; i < other.size(); ++i) other[i] ^= 1;
    ASSERT_TRUE(t->sync(other, {}, {}));
    EXPECT_NE(bytes(*t->prefix(600)), before);
  }
  EXPECT_EQ(bytes(*kept), before);
  EXPECT_EQ(before, bytes(*evaluated(text, 64)));
}

TEST_P(ModelPrefixTest, DrawsContinueFromAFork) {
  const auto text = tokens(300, 6);
  const auto draw = [&](ModelTimeline& t) {
    std::vector<Token> out;
    auto more = text;
    more.push_back(7);
    EXPECT_TRUE(t.sync(more, {}, {}));
    for (int i = 0; i < 30; ++i)
      out.push_back(t.next({.temperature = 0.8f, .seed = 3}, nullptr).value());
    return out;
  };
  const auto base = evaluated(text, 256);
  auto alone = timeline(256), fork = timeline(256, base);
  EXPECT_EQ(draw(*fork), draw(*alone));
  // And a draw without a prompt first has nothing to draw from but the last token, which it
  // evaluates again.
  EXPECT_TRUE(timeline(256, base)->next({.temperature = 0}, nullptr));
}

TEST_P(ModelPrefixTest, WhatIsNotOfThisEngineIsRefused) {
  const auto base = evaluated(tokens(300, 7), 256);
  const std::vector<Token> text(base->tokens().begin(), base->tokens().end());
  const Bytes frontier(base->frontier().begin(), base->frontier().end());
  const auto refused = [&](std::vector<Token> tokens, int pages, Bytes end) {
    ModelPrefixBuilder builder(*weights_, false);
    for (int i = 0; i < pages; ++i) builder.add_page();
    const auto out = builder.finish(std::move(tokens), std::move(end));
    return !out && out.error().code == Errc::malformed;
  };
  EXPECT_FALSE(refused(text, 2, frontier));
  EXPECT_TRUE(refused(text, 1, frontier));
  EXPECT_TRUE(refused(text, 3, frontier));
  EXPECT_TRUE(refused({}, 0, frontier));
  auto foreign = text;
  foreign[5] = 1 << 30;
  EXPECT_TRUE(refused(foreign, 2, frontier));
  auto cut = frontier;
  cut.pop_back();
  EXPECT_TRUE(refused(text, 2, cut));
}

INSTANTIATE_TEST_SUITE_P(Golden, ModelPrefixTest, testing::Values("micro-flash", "micro-pro"),
                         [](const auto& p) { return std::string(p.param).substr(6); });

}  // namespace
}  // namespace lares::engine
