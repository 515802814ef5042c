// Timelines whose draws are evaluated together draw what they would have drawn alone, to the last
// bit of their logits.
#include <gmock/gmock.h>

#include <random>

#include "engine/model/timeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;

struct Case {
  const char* golden;
  bool exact;
  Drafting drafting;
};

class ModelTogetherTest : public testing::TestWithParam<Case> {
 protected:
  struct Run {
    std::vector<Token> tokens;
    std::vector<std::vector<float>> logits;  // after some of them
    bool operator==(const Run&) const = default;
  };
  // Texts of different lengths, some with repetitions that guesses are made of, around where
  // windows, groups and choosing begin.
  std::vector<Token> prompt(int which) const {
    static constexpr int kLengths[] = {3, 126, 255, 700, 1100};
    std::mt19937 random(static_cast<unsigned>(which));
    std::vector<Token> out;
    for (int i = 0; i < kLengths[which]; ++i)
      out.push_back(
          which % 2 && i > 60
              ? out[static_cast<std::size_t>(i) - 37]
              : static_cast<Token>(
                    random() % static_cast<unsigned>(weights_->checkpoint.config().vocab_size)));
    return out;
  }
  std::unique_ptr<ModelTimeline> timeline(PrefixRef from = nullptr) {
    return std::make_unique<ModelTimeline>(
        *weights_, forward_, 4096, 256, DraftOptions{.mode = GetParam().drafting},
        std::static_pointer_cast<const ModelPrefix>(std::move(from)));
  }
  static Sampling sampling(int which) {
    return {.temperature = which % 2 ? 0.7f : 0.0f, .seed = static_cast<std::uint64_t>(which)};
  }
  void draw(ModelTimeline& t, int which, Run& run) {
    const auto token = t.next(sampling(which), nullptr);
    ASSERT_TRUE(token) << token.error().message;
    run.tokens.push_back(*token);
    if (run.tokens.size() % 5 == 1) run.logits.emplace_back(t.logits().begin(), t.logits().end());
  }

  std::unique_ptr<Weights> weights_ = golden_weights(GetParam().golden);
  kernels::ThreadPool pool_{2};
  Forward forward_{*weights_, GetParam().exact, pool_, kernels::best()};
};

constexpr int kTimelines = 5, kDraws = 30;

TEST_P(ModelTogetherTest, CompanyChangesNothing) {
  std::vector<Run> alone(kTimelines), together(kTimelines);
  for (int i = 0; i < kTimelines; ++i) {
    auto t = timeline();
    ASSERT_TRUE(t->sync(prompt(i), {}, {}));
    for (int k = 0; k < kDraws; ++k) draw(*t, i, alone[static_cast<std::size_t>(i)]);
  }
  std::vector<std::unique_ptr<ModelTimeline>> all;
  for (int i = 0; i < kTimelines; ++i) {
    all.push_back(timeline());
    ASSERT_TRUE(all.back()->sync(prompt(i), {}, {}));
  }
  std::mt19937 random(1);
  for (bool any = true; any;) {  // in ever other company, alone at times, some ahead of others
    any = false;
    std::vector<ModelTimeline*> some;
    std::vector<int> who;
    for (int i = 0; i < kTimelines; ++i) {
      if (together[static_cast<std::size_t>(i)].tokens.size() == kDraws) continue;
      any = true;
      if (random() % 3 == 0) continue;
      some.push_back(all[static_cast<std::size_t>(i)].get());
      who.push_back(i);
    }
    ModelTimeline::evaluate_together(some);
    for (const int i : who)
      draw(*all[static_cast<std::size_t>(i)], i, together[static_cast<std::size_t>(i)]);
  }
  for (std::size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(together[i].tokens, alone[i].tokens) << i;
    EXPECT_EQ(together[i].logits.size(), alone[i].logits.size());
    // Guesses decide which row was the last one evaluated, so only without them are all rows of the
    // same places.
    if (GetParam().drafting == Drafting::off) {
      EXPECT_EQ(together[i].logits, alone[i].logits) << i;
    }
  }
}

// Forks of one beginning, which they share while they are drawn for.
TEST_P(ModelTogetherTest, ForksOfOneBeginning) {
  auto base = timeline();
  const auto text = prompt(3);
  ASSERT_TRUE(base->sync(text, {}, {}));
  const auto shared = base->prefix(static_cast<std::int64_t>(text.size()));
  std::vector<std::unique_ptr<ModelTimeline>> all;
  std::vector<ModelTimeline*> them;
  std::vector<Run> alone(3), together(3);
  for (std::size_t i = 0; i < 3; ++i) {
    auto own = text;
    own.push_back(static_cast<Token>(i));
    auto t = timeline();
    ASSERT_TRUE(t->sync(own, {}, {}));
    for (int k = 0; k < kDraws; ++k) draw(*t, static_cast<int>(i), alone[i]);
    all.push_back(timeline(shared));
    ASSERT_EQ(all.back()->sync(own, {}, {}).value(), 1);
    them.push_back(all.back().get());
  }
  for (int k = 0; k < kDraws; ++k) {
    ModelTimeline::evaluate_together(them);
    for (std::size_t i = 0; i < 3; ++i) draw(*them[i], static_cast<int>(i), together[i]);
  }
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(together[i].tokens, alone[i].tokens) << i;
}

// One that has nothing to evaluate, and one that only holds a beginning, stay as they are.
TEST_P(ModelTogetherTest, WhoDoesNotWaitIsLeftAlone) {
  auto t = timeline();
  ASSERT_TRUE(t->sync(prompt(1), {}, {}));
  auto fork = timeline(t->prefix(126));
  ModelTimeline* const them[] = {t.get(), fork.get()};
  ModelTimeline::evaluate_together(them);
  ModelTimeline::evaluate_together({});
  auto other = timeline();
  ASSERT_TRUE(other->sync(prompt(1), {}, {}));
  EXPECT_THAT(t->logits(), testing::ElementsAreArray(other->logits()));
}

// Those that draw between the layers of another's prompt, alone and together, and that prompt's own
// draws; also with so little memory that they ask for what others have.
TEST_P(ModelTogetherTest, DrawsBetweenTheLayersOfAPrompt) {
  constexpr std::size_t kLong = 4;
  std::vector<Run> alone(kTimelines), between(kTimelines);
  for (int i = 0; i < kTimelines; ++i) {
    auto t = timeline();
    ASSERT_TRUE(t->sync(prompt(i), {}, {}));
    for (int k = 0; k < kDraws; ++k) draw(*t, i, alone[static_cast<std::size_t>(i)]);
  }
  const auto memory = std::make_shared<SequenceMemory>(std::uint64_t{1} << 40);
  std::vector<std::unique_ptr<ModelTimeline>> all;
  for (int i = 0; i < kTimelines; ++i) {
    all.push_back(std::make_unique<ModelTimeline>(*weights_, forward_, 4096, 256,
                                                  DraftOptions{.mode = GetParam().drafting},
                                                  nullptr, memory));
    if (i < static_cast<int>(kLong)) {
      ASSERT_TRUE(all.back()->sync(prompt(i), {}, {}));
    }
  }
  std::size_t turns = 0;
  const auto progress = [&](std::int64_t done, std::int64_t total) {
    if (done == total) return;
    EXPECT_FALSE(memory->make_room(memory->bytes_max() + 1, nullptr, "squeeze"));
    std::vector<ModelTimeline*> them;
    for (std::size_t i = 0; i < kLong; ++i)
      if (between[i].tokens.size() < kDraws) them.push_back(all[i].get());
    if (++turns % 2 == 0) ModelTimeline::evaluate_together(them);
    for (std::size_t i = 0; i < kLong; ++i)
      if (between[i].tokens.size() < kDraws) draw(*all[i], static_cast<int>(i), between[i]);
  };
  ASSERT_TRUE(all[kLong]->sync(prompt(kLong), {}, progress));
  EXPECT_GT(turns, 10u);
  for (std::size_t i = 0; i < alone.size(); ++i) {
    while (between[i].tokens.size() < kDraws) draw(*all[i], static_cast<int>(i), between[i]);
    EXPECT_EQ(between[i].tokens, alone[i].tokens) << i;
    if (GetParam().drafting == Drafting::off) {
      EXPECT_EQ(between[i].logits, alone[i].logits) << i;
    }
  }
}

// Prompts of their own, in pieces and stopped at times, where others may be drawn: of what is new,
// of what goes on behind another's beginning or behind their own draws.
TEST_P(ModelTogetherTest, PromptsBetweenTheLayersOfAPrompt) {
  constexpr std::size_t kLong = 4;
  const auto memory = std::make_shared<SequenceMemory>(std::uint64_t{1} << 40);
  const auto make = [&](const PrefixRef& from = nullptr) {
    return std::make_unique<ModelTimeline>(
        *weights_, forward_, 4096, 256, DraftOptions{.mode = GetParam().drafting},
        std::static_pointer_cast<const ModelPrefix>(from), memory);
  };
  std::vector<Run> alone(kTimelines), between(kTimelines);
  std::vector<Token> followed = prompt(2);
  for (int i = 0; i < kTimelines; ++i) {
    auto t = timeline();
    ASSERT_TRUE(t->sync(prompt(i), {}, {}));
    for (int k = 0; k < kDraws; ++k) {
      draw(*t, i, alone[static_cast<std::size_t>(i)]);
      if (i != 2 || k != 3) continue;  // a turn ends, and another begins
      followed.assign(t->tokens().begin(), t->tokens().end());
      followed.insert(followed.end(), 70, 5);
      ASSERT_TRUE(t->sync(followed, {}, {}));
    }
  }
  auto beginning = make();
  const std::vector<Token> third = prompt(3);
  ASSERT_TRUE(beginning->sync(std::span(third).first(128), {}, {}));
  std::vector<std::unique_ptr<ModelTimeline>> all;
  for (int i = 0; i < kTimelines; ++i)
    all.push_back(make(i == 3 ? beginning->prefix(128) : nullptr));
  ASSERT_TRUE(all[2]->sync(prompt(2), {}, {}));
  for (int k = 0; k < 4; ++k) draw(*all[2], 2, between[2]);

  std::size_t turns = 0;
  std::vector<int> whole(kTimelines);  // 1: whose prompt is evaluated
  const auto evaluate = [&](std::size_t i, std::span<const Token> text, std::size_t n_max) {
    ModelTimeline& t = *all[i];
    const auto left = t.left_of(text);
    const auto to = std::min(text.size(), t.tokens().size() + n_max);
    std::stop_source stop;
    int calls = 0;
    const auto n = t.sync(text.first(to), stop.get_token(),
                          [&](std::int64_t done, std::int64_t of) {
                            if (turns % 3 == 0 && ++calls == 2) stop.request_stop();
                            if (done < of && turns % 2 == 0 && i != 2) {  // and within those, draws
                              Run ignored;
                              draw(*beginning, 0, ignored);
                            }
                          });
    if (!n) {
      EXPECT_EQ(n.error().code, Errc::cancelled);
      return;
    }
    EXPECT_LE(*n, left);
    whole[i] = to == text.size() ? 1 : 0;
  };
  const auto progress = [&](std::int64_t done, std::int64_t total) {
    if (done == total) return;
    EXPECT_FALSE(memory->make_room(memory->bytes_max() + 1, nullptr, "squeeze"));
    const std::size_t i = ++turns % kLong;
    const std::vector<Token> text = i == 2 ? followed : prompt(static_cast<int>(i));
    if (!whole[i])
      evaluate(i, text, i == 3 ? 150 : 90);
    else if (between[i].tokens.size() < kDraws)
      draw(*all[i], static_cast<int>(i), between[i]);
  };
  ASSERT_TRUE(all[kLong]->sync(prompt(kLong), {}, progress));
  EXPECT_GE(turns, 15u);
  EXPECT_GE(std::ranges::count(whole, 1), 3);
  for (std::size_t i = 0; i < alone.size(); ++i) {
    const std::vector<Token> text = i == 2 ? followed : prompt(static_cast<int>(i));
    if (!whole[i] && i != kLong) {
      ASSERT_TRUE(all[i]->sync(text, {}, {}));
    }
    while (between[i].tokens.size() < kDraws) draw(*all[i], static_cast<int>(i), between[i]);
    EXPECT_EQ(between[i].tokens, alone[i].tokens) << i;
    if (GetParam().drafting == Drafting::off) {
      EXPECT_EQ(between[i].logits, alone[i].logits) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, ModelTogetherTest,
                         testing::Values(Case{"micro-flash", false, Drafting::off},
                                         Case{"micro-pro", false, Drafting::off},
                                         Case{"micro-flash", true, Drafting::off},
                                         Case{"micro-flash", false, Drafting::always},
                                         Case{"tiny-dspark", false, Drafting::always}),
                         [](const auto& p) {
                           std::string name = std::string(p.param.golden) +
                                              (p.param.exact ? "_exact" : "") +
                                              (p.param.drafting == Drafting::off ? "" : "_drafted");
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace lares::engine
