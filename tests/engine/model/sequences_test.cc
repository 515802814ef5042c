// What sequences hold together is counted, stays within its bound, and is made again where it was
// given back: the same tokens, to the bit, as without a bound. What cannot fit is refused before
// anything is evaluated.
#include <gmock/gmock.h>
#include <malloc.h>

#include <thread>

#include "engine/model/memory/expert_memory.h"
#include "engine/model/timeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

constexpr int kTestChunk = 256;
const DraftOptions kDrafts{.mode = Drafting::always};

class Sequences : public testing::TestWithParam<const char*> {
 protected:
  std::vector<Token> tokens(std::int64_t n, unsigned seed) const {
    std::vector<Token> out;
    std::uint32_t x = seed * 2654435761u + 1;
    for (std::int64_t i = 0; i < n; ++i) {
      x = x * 1664525u + 1013904223u;
      out.push_back(
          i >= 40 && x >> 30 != 0
              ? out[static_cast<std::size_t>(i) - 40]
              : static_cast<Token>(
                    (x >> 8) % static_cast<unsigned>(weights_->checkpoint.config().vocab_size)));
    }
    return out;
  }
  std::unique_ptr<ModelTimeline> timeline(const SequenceMemoryRef& memory,
                                          const PrefixRef& from = nullptr) {
    return std::make_unique<ModelTimeline>(*weights_, forward_, 1 << 16, kTestChunk, kDrafts,
                                           std::static_pointer_cast<const ModelPrefix>(from),
                                           memory);
  }
  // That one sequence of n tokens takes.
  std::uint64_t one(std::int64_t n) {
    const auto memory = std::make_shared<SequenceMemory>();
    auto t = timeline(memory);
    EXPECT_TRUE(t->sync(tokens(n, 1), {}, {}));
    draw(*t, 3);
    return memory->held();
  }
  static std::vector<Token> draw(ModelTimeline& t, int n) {
    std::vector<Token> out;
    for (int i = 0; i < n; ++i) {
      const auto token = t.next({.temperature = 0.7f, .seed = 4}, nullptr);
      EXPECT_TRUE(token) << token.error().message;
      if (!token) return out;
      out.push_back(*token);
      const Logprobs p = t.logprobs(1);
      out.push_back(std::bit_cast<Token>(p.drawn));
    }
    return out;
  }
  // Asks for more than there can be: whoever waits gives back all it may.
  static bool squeeze(SequenceMemory& memory) {
    return memory.make_room(memory.bytes_max() + 1, nullptr, "squeeze").has_value();
  }

  std::unique_ptr<Weights> weights_ = golden_weights(GetParam());
  kernels::ThreadPool pool_{2};
  Forward forward_{*weights_, false, pool_, kernels::best()};
};

// Beside the allocator's own count; and a page that several have counts once.
TEST_P(Sequences, AreCountedAsWhatTheyTake) {
  const auto text = tokens(2300, 1);
  {
    auto first = timeline(nullptr);  // work space that stays
    ASSERT_TRUE(first->sync(text, {}, {}));
    draw(*first, 20);
  }
  const auto memory = std::make_shared<SequenceMemory>();
  const auto allocated = [] {
    const auto m = ::mallinfo2();
    return static_cast<std::int64_t>(m.uordblks + m.hblkhd);
  };
  const std::int64_t before = allocated();
  auto t = timeline(memory);
  ASSERT_TRUE(t->sync(text, {}, {}));
  draw(*t, 20);
  ASSERT_TRUE(t->sync(text, {}, {}));
  const auto held = static_cast<std::int64_t>(memory->held());
  EXPECT_GE(held, static_cast<std::int64_t>(State::bytes(*weights_, false, 2300, kTestChunk)));
  if (before > 0) {  // sanitizers' allocators do not say
    EXPECT_NEAR(static_cast<double>(held), static_cast<double>(allocated() - before),
                0.05 * static_cast<double>(held) + 128e3);
  }
  const auto prefix = t->prefix(2300);
  const auto with_prefix = static_cast<std::int64_t>(memory->held());
  const auto page = static_cast<std::int64_t>(prefix->page(0).size());
  EXPECT_LE(with_prefix - held,
            page + static_cast<std::int64_t>(prefix->frontier().size() + 2300 * sizeof(Token)));
  {
    std::vector<std::unique_ptr<ModelTimeline>> forks;
    for (int i = 0; i < 10; ++i) forks.push_back(timeline(memory, prefix));
    // Nothing before they are used
    EXPECT_EQ(static_cast<std::int64_t>(memory->held()), with_prefix);
    auto more = text;
    more.push_back(9);
    ASSERT_TRUE(forks[0]->sync(more, {}, {}));
    const auto one = static_cast<std::int64_t>(memory->held()) - with_prefix;
    EXPECT_LT(one, static_cast<std::int64_t>(State::bytes(*weights_, false, 0, kTestChunk)) + page +
                       2'000'000);
    for (int i = 1; i < 10; ++i)
      ASSERT_TRUE(forks[static_cast<std::size_t>(i)]->sync(more, {}, {}));
    EXPECT_EQ(static_cast<std::int64_t>(memory->held()) - with_prefix, 10 * one);
    EXPECT_EQ(memory->report().n, 11);
  }
  EXPECT_EQ(static_cast<std::int64_t>(memory->held()), with_prefix);
  EXPECT_GT(memory->report().most, memory->held());
}

TEST_P(Sequences, HoldNothingInTheEnd) {
  const auto memory = std::make_shared<SequenceMemory>(1'000'000'000, 0s);
  {
    auto t = timeline(memory);
    ASSERT_TRUE(t->sync(tokens(900, 2), {}, {}));
    const auto prefix = t->prefix(900);
    ModelPrefixBuilder builder(*weights_, false, nullptr, memory);
    for (std::int64_t i = 0; i < prefix->n_pages(); ++i)
      std::copy(prefix->page(i).begin(), prefix->page(i).end(), builder.add_page().begin());
    const auto back = builder.finish({prefix->tokens().begin(), prefix->tokens().end()},
                                     {prefix->frontier().begin(), prefix->frontier().end()});
    ASSERT_TRUE(back);
    auto fork = timeline(memory, *back);
    draw(*fork, 5);
    squeeze(*memory);
    draw(*fork, 5);
  }
  EXPECT_EQ(memory->held(), 0u);
  EXPECT_EQ(memory->report().n, 0);
}

// Whatever is given back, and when, the draws are the same.
TEST_P(Sequences, GoOnAsIfNothingHadBeenGivenBack) {
  for (const bool evict : {false, true}) {
    SCOPED_TRACE(evict ? "cells too" : "rings");
    const auto memory = std::make_shared<SequenceMemory>(1'000'000'000, evict ? 0s : 3600s),
               free = std::make_shared<SequenceMemory>();
    const auto base = [&] {
      auto t = timeline(memory);
      EXPECT_TRUE(t->sync(tokens(640, 3), {}, {}));
      return t->prefix(640);
    }();
    auto text = tokens(640, 3);
    for (const Token t : tokens(333, 4)) text.push_back(t);
    for (const bool forked : {false, true}) {
      auto one = timeline(memory, forked ? base : nullptr),
           plain = timeline(free, forked ? base : nullptr);
      const auto both = [&](auto f) {
        EXPECT_EQ(f(*one), f(*plain)) << (forked ? "a fork" : "from nothing");
      };
      const auto sync = [&](std::size_t n) {
        return [&, n](ModelTimeline& t) {
          std::vector<Token> wanted(
              text.begin(), text.begin() + static_cast<std::ptrdiff_t>(std::min(n, text.size())));
          EXPECT_TRUE(t.sync(wanted, {}, {}));
          return std::vector<float>(t.logits().begin(), t.logits().end());
        };
      };
      const auto drawn = [&](ModelTimeline& t) { return draw(t, 12); };
      both(sync(700));
      squeeze(*memory);
      both(sync(900));
      both(drawn);
      squeeze(*memory);
      const auto logprob = [](ModelTimeline& t) { return t.logprobs(2).top; };
      if (!evict) both(logprob);
      both(drawn);
      squeeze(*memory);
      squeeze(*memory);
      const std::vector<Token> all(one->tokens().begin(), one->tokens().end());
      EXPECT_EQ(all, std::vector<Token>(plain->tokens().begin(), plain->tokens().end()));
      both([&](ModelTimeline& t) {
        EXPECT_TRUE(t.sync(all, {}, {}));
        return draw(t, 9);
      });
      squeeze(*memory);
      both(sync(641));  // back, in the fork's case to where it began
      squeeze(*memory);
      both(sync(600));  // and before that
      squeeze(*memory);
      both(sync(973));
      both(drawn);
    }
    EXPECT_EQ(memory->report().evicted > 0, evict);
    EXPECT_GT(memory->report().parked, 0);
  }
}

// More of them than there is room for, in turn.
TEST_P(Sequences, StayWithinTheirBound) {
  constexpr int kMany = 6;
  const std::uint64_t bound = one(1100) * 5 / 2;
  for (const bool evict : {false, true}) {
    const auto memory = std::make_shared<SequenceMemory>(bound, evict ? 0s : 3600s),
               free = std::make_shared<SequenceMemory>();
    std::vector<std::unique_ptr<ModelTimeline>> bounded, plain;
    int refused = 0;
    for (unsigned i = 0; i < kMany; ++i) {
      bounded.push_back(timeline(memory));
      plain.push_back(timeline(free));
    }
    for (unsigned round = 0; round < 2; ++round)
      for (unsigned i = 0; i < kMany; ++i) {
        auto text = tokens(700 + 200 * round, i);
        ASSERT_TRUE(plain[i]->sync(text, {}, {}));
        const auto done = bounded[i]->sync(text, {}, {});
        EXPECT_LE(memory->held(), bound);
        if (!done) {
          EXPECT_EQ(done.error().code, Errc::no_memory);
          ++refused;
          continue;
        }
        EXPECT_EQ(draw(*bounded[i], 10), draw(*plain[i], 10));
      }
    const auto report = memory->report();
    EXPECT_LE(report.most, bound);
    EXPECT_GT(report.parked, 0);
    EXPECT_EQ(report.evicted > 0, evict && refused == 0) << refused << " refused";
    EXPECT_EQ(report.refused, refused);
    if (evict) {
      EXPECT_EQ(refused, 0);
    }
  }
}

// A draw takes more than its token: guesses, their logits, and an index, shared with others till
// then, that first takes in the whole prompt. Whatever is left for it, it is refused or stays
// within.
TEST_P(Sequences, ADrawBehindALongPromptIsRefusedOrStaysWithinTheBound) {
  constexpr std::int64_t kPrompt = 600;
  constexpr std::uint64_t kStep = kWatched ? 1'000'000 : 200'000;
  const auto longer = random_tokens(2 * kPrompt, weights_->checkpoint.config().vocab_size,
                                    9);  // so that the draft block guesses
  const std::vector<Token> text(longer.begin(), longer.begin() + kPrompt);
  const std::uint64_t most = 3 * one(kPrompt);
  int refused = 0, drawn = 0;
  for (std::uint64_t left = 0; drawn < 2 && left < most; left += kStep) {
    const auto memory = std::make_shared<SequenceMemory>(most + most, 3600s);
    auto parent = timeline(memory);
    ASSERT_TRUE(parent->sync(text, {}, {}));
    auto t = timeline(memory, parent->prefix(kPrompt));
    parent = nullptr;
    ASSERT_TRUE(t->sync(std::span(longer).first(kPrompt + 1), {}, {}));
    draw(*t, 2);  // what guesses need beside the index is there from now on
    ASSERT_TRUE(t->sync(longer, {}, {}));
    squeeze(*memory);
    const Charge others(memory, memory->bytes_max() - memory->held() - left);
    auto token = t->next({.temperature = 0}, nullptr);
    if (token) token = t->next({.temperature = 0}, nullptr);  // the first one's logits were there
    EXPECT_LE(memory->report().most, memory->bytes_max()) << "with " << left << " bytes left";
    EXPECT_TRUE(token || token.error().code == Errc::no_memory);
    ++(token ? drawn : refused);
  }
  EXPECT_GT(refused, 0);
  EXPECT_EQ(drawn, 2);
}

TEST_P(Sequences, OneThatRestsMakesRoomHoweverLatelyItWasUsed) {
  const auto memory = std::make_shared<SequenceMemory>(one(600) * 3 / 2, 3600s);
  auto rests = timeline(memory), other = timeline(memory), plain = timeline(nullptr);
  const auto text = tokens(500, 5);
  ASSERT_TRUE(rests->sync(text, {}, {}));
  ASSERT_TRUE(plain->sync(text, {}, {}));
  EXPECT_EQ(draw(*rests, 4), draw(*plain, 4));
  EXPECT_FALSE(other->sync(tokens(600, 6), {}, {})) << "it is between two tokens";
  rests->rest(Rest::turns);
  EXPECT_TRUE(other->sync(tokens(600, 6), {}, {}));
  EXPECT_EQ(memory->report().evicted, 1);
  other = nullptr;
  EXPECT_EQ(draw(*rests, 4), draw(*plain, 4));  // its rest is over
  other = timeline(memory);
  EXPECT_FALSE(other->sync(tokens(600, 6), {}, {}));
}

TEST_P(Sequences, WhatCannotFitIsRefusedBeforeItBegins) {
  const std::uint64_t bound = one(600) * 5 / 4;
  const auto memory = std::make_shared<SequenceMemory>(bound, 0s);
  auto t = timeline(memory);
  ASSERT_TRUE(t->sync(tokens(500, 5), {}, {}));
  const auto before = draw(*t, 4);
  bool told = false;
  const std::vector<Token> had(t->tokens().begin(), t->tokens().end());
  auto more = had;
  for (const Token token : tokens(50'000, 6)) more.push_back(token);
  const auto refused = t->sync(more, {}, [&](std::int64_t, std::int64_t) { told = true; });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_long);
  EXPECT_THAT(refused.error().message,
              AllOf(HasSubstr("evaluate a prompt of 50504 tokens: it takes "),
                    HasSubstr("all sequences together may take "),
                    HasSubstr("raise the memory limit"), Not(HasSubstr("\n"))));
  EXPECT_FALSE(told);
  EXPECT_EQ(memory->report().refused, 1);
  EXPECT_LE(memory->report().most, bound);
  EXPECT_EQ(std::vector<Token>(t->tokens().begin(), t->tokens().end()), had);
  auto plain = timeline(nullptr);
  ASSERT_TRUE(plain->sync(tokens(500, 5), {}, {}));
  EXPECT_EQ(draw(*plain, 4), before);
  EXPECT_EQ(draw(*plain, 4), draw(*t, 4));  // and goes on
}

TEST_P(Sequences, ABeginningReadBackIsRefusedWhereThereIsNoRoom) {
  const auto text = tokens(3000, 7);
  auto t = timeline(nullptr);
  ASSERT_TRUE(t->sync(text, {}, {}));
  const auto prefix = t->prefix(3000);
  const auto memory = std::make_shared<SequenceMemory>(5 * prefix->page(0).size(), 0s);
  ModelPrefixBuilder builder(*weights_, false, nullptr, memory);
  for (std::int64_t i = 0; i < prefix->n_pages(); ++i)
    ASSERT_EQ(builder.add_page().size(), prefix->page(0).size());
  const auto refused = builder.finish(text, {prefix->frontier().begin(), prefix->frontier().end()});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::no_memory);
  EXPECT_THAT(refused.error().message, HasSubstr("take over a prefix, behind 5 pages"));
  EXPECT_LE(memory->report().most, memory->bytes_max());
}

// Timelines that come, share and go on one thread, while another has them give back what they hold.
TEST_P(Sequences, GiveBackOnOneThreadWhileAnotherForks) {
  const auto memory = std::make_shared<SequenceMemory>(1'000'000'000, 0s);
  const auto text = tokens(300, 8);
  auto parent = timeline(memory);
  ASSERT_TRUE(parent->sync(text, {}, {}));
  const auto base = parent->prefix(300);
  std::jthread other([&](std::stop_token stop) {
    while (!stop.stop_requested()) squeeze(*memory);
  });
  std::vector<Token> want;
  for (unsigned i = 0; i < 12; ++i) {
    auto fork = timeline(memory, base);
    auto more = text;
    more.push_back(static_cast<Token>(20 + i % 2));
    ASSERT_TRUE(fork->sync(more, {}, {}));
    const auto drawn = draw(*fork, 3);
    fork->prefix(301);
    if (i < 2) {
      want.insert(want.end(), drawn.begin(), drawn.end());
    } else {
      EXPECT_TRUE(std::equal(drawn.begin(), drawn.end(), want.begin() + (i % 2) * 6)) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Sequences,
                         testing::ValuesIn(kWatched ? std::vector{"micro-flash"}
                                                    : std::vector{"micro-flash", "micro-pro"}),
                         [](const auto& p) { return std::string(p.param).substr(6); });

}  // namespace
}  // namespace lares::engine
