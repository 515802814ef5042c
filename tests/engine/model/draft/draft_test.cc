// Guessing ahead changes how much is evaluated at a time and nothing else: the same tokens,
// whatever the source, the options, the way there. And the parts: where a text repeats itself, what
// the MTP block says, how many guesses pay.
#include <gmock/gmock.h>

#include <filesystem>

#include "engine/model/draft/mtp_drafter.h"
#include "engine/model/timeline.h"
#include "tests/engine/model/draft/draft_session.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;

struct Mode {
  const char* name;
  DraftOptions options;
};
const Mode kModes[] = {{"draft blocks", {.mode = Drafting::always, .copy = false}},
                       {"both", {.mode = Drafting::always}},
                       {"automatic", {.mode = Drafting::automatic}}};

struct Model {
  explicit Model(const std::string& directory, bool exact = false)
      : weights(std::move(*load_weights(directory, {}))),
        forward(*weights, exact, pool, kernels::best()) {}
  ModelTimeline timeline(const DraftOptions& o, std::int64_t n_context = 4096, int chunk = 128) {
    return {*weights, forward, n_context, chunk, o};
  }
  int vocab() const { return weights->checkpoint.config().vocab_size; }

  std::unique_ptr<Weights> weights;
  kernels::ThreadPool pool{2};
  Forward forward;
};

class SameTokens : public testing::TestWithParam<std::string> {};

TEST_P(SameTokens, WithAndWithoutGuesses) {
  Model m(GetParam());
  for (const Sampling& s :
       {Sampling{.temperature = 0},
        Sampling{.temperature = 0.6f, .top_p = 0.9f, .repetition_penalty = 1.05f, .seed = 3}}) {
    auto plain = m.timeline({}, 700);
    const auto want = session(plain, m.vocab(), s, 80);
    EXPECT_EQ(plain.drafts().copy.drafted + plain.drafts().block.drafted, 0);
    for (const Mode& mode : kModes) {
      if (!mode.options.copy && s.temperature == 0) continue;  // the slowest, at one temperature
      auto t = m.timeline(mode.options, 700);
      EXPECT_EQ(session(t, m.vocab(), s, 80), want)
          << mode.name << ", temperature " << s.temperature;
      const auto d = t.drafts();
      std::printf(
          "  %s, temperature %.1f: %ld evaluations for %zu tokens (%ld without); copied %ld of "
          "%ld, by blocks %ld of %ld\n",
          mode.name, s.temperature, d.evaluations, want.size() / 3, plain.drafts().evaluations,
          d.copy.accepted, d.copy.drafted, d.block.accepted, d.block.drafted);
      if (mode.options.mode != Drafting::always) continue;
      EXPECT_EQ(d.copy.accepted > 0, mode.options.copy) << mode.name;
      EXPECT_EQ(d.block.drafted > 0, mode.options.block) << mode.name;
      EXPECT_LE(d.copy.accepted, d.copy.drafted);
      EXPECT_LE(d.evaluations, plain.drafts().evaluations);
    }
  }
}

TEST_P(SameTokens, UpToTheContextsEnd) {
  Model m(GetParam());
  const auto prompt = text(150, m.vocab(), 1);
  const auto run = [&](const DraftOptions& o, int chunk) {
    auto t = m.timeline(o, 200, chunk);
    EXPECT_TRUE(t.sync(prompt, {}, {}));
    for (;;)
      if (const auto token = t.next({.temperature = 0}, nullptr); !token) {
        EXPECT_EQ(token.error().code, Errc::too_long);
        return std::vector<Token>(t.tokens().begin(), t.tokens().end());
      }
  };
  const auto want = run({}, 128);
  EXPECT_EQ(want.size(), 200u);
  for (const Mode& mode : kModes)
    for (const int chunk : {1, 128})
      EXPECT_EQ(run(mode.options, chunk), want) << mode.name << ", chunk " << chunk;
}

INSTANTIATE_TEST_SUITE_P(, SameTokens,
                         testing::Values(golden_directory("micro-flash"),
                                         golden_directory("micro-pro"),
                                         golden_directory("tiny-dspark"),
                                         std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint"),
                         [](const auto& p) {
                           auto name = std::filesystem::path(p.param).filename().string();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(MtpDrafter, SaysWhatTheBlockOverTheWholeTextSays) {
  Model m(golden_directory("micro-flash"), true);
  const auto& c = m.weights->checkpoint.config();
  const std::size_t width = static_cast<std::size_t>(c.hc_mult) * c.hidden_size;
  // Less than a window, so the drafter sees what the block over the whole text sees
  const auto tokens = text(60, m.vocab(), 5);
  const auto n = static_cast<int>(tokens.size()) - 1;
  State state(*m.weights, true, 128);
  std::vector<float> x(tokens.size() * width), logits(m.vocab());
  m.forward.evaluate(state, std::span(tokens).first(n), x.data());
  CpuMtp at_once(*m.weights, m.forward), bit_by_bit(*m.weights, m.forward);
  std::vector<Token> a, b;
  const int last = c.num_hidden_layers - 1;
  at_once.saw(last, 0, n, x.data());
  at_once.draft(tokens, 3, a);
  for (int i = 0; i < n; ++i) {  // with wrong turns: guesses made, kept and taken back
    bit_by_bit.saw(last, i, 1, x.data() + static_cast<std::size_t>(i) * width);
    if (i % 3 == 0) {
      auto turn = std::vector<Token>(tokens.begin(), tokens.begin() + i + 2);
      turn.back() ^= 1;
      bit_by_bit.draft(turn, 4, b);
      bit_by_bit.saw(last, i + 1, 2, x.data());
      bit_by_bit.drop_to(i + 1);
    }
  }
  bit_by_bit.draft(tokens, 3, b);
  ASSERT_EQ(a.size(), 3u);
  EXPECT_EQ(a, b);
  LayerState whole = m.forward.draft_state(128);
  const MtpWeights& w = m.weights->mtp.front();
  m.forward.mtp(w, whole, 0, std::span(tokens).subspan(1), x.data());
  m.forward.head(w.hc_head, w.norm, x.data() + static_cast<std::size_t>(n - 1) * width, 1,
                 logits.data());
  EXPECT_EQ(a[0],
            static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
}

TEST(MtpDrafter, SaysNothingWithoutStreams) {
  Model m(golden_directory("micro-flash"));
  CpuMtp drafter(*m.weights, m.forward);
  std::vector<Token> out{1};
  drafter.draft(std::vector<Token>{1, 2, 3}, 2, out);
  EXPECT_TRUE(out.empty());
}

TEST(CopyIndex, FindsTheMostRecentPlaceOfTheLongestMatch) {
  //                          0  1  2  3  4  5  6  7  8  9 10 11 12 13 14
  const std::vector<Token> t{1, 2, 3, 4, 5, 6, 9, 3, 4, 5, 7, 2, 3, 4, 5};
  CopyIndex index;
  for (std::size_t n = 1; n < t.size(); ++n) index.find(std::span(t).first(n));
  auto m = index.find(t);
  EXPECT_EQ(m.length, 4);  // 2 3 4 5, though 3 4 5 is nearer
  EXPECT_EQ(m.follows, 5);
  std::vector<Token> out;
  copy_tokens(t, m, 3, out);
  EXPECT_EQ(out, (std::vector<Token>{6, 9, 3}));
  auto shorter = t;
  shorter[11] = 8;
  m = CopyIndex().find(shorter);  // all at once
  EXPECT_EQ(m.length, 3);
  EXPECT_EQ(m.follows, 10);
  EXPECT_EQ(CopyIndex().find(std::span(t).first(9)).length, 0);
  EXPECT_EQ(CopyIndex().find({}).length, 0);
}

TEST(CopyIndex, GoesOnWithARepetition) {
  const std::vector<Token> t{9, 1, 2, 1, 2, 1};
  const auto m = CopyIndex().find(t);
  ASSERT_EQ(m.length, 3);
  std::vector<Token> out;
  copy_tokens(t, m, 5, out);
  EXPECT_EQ(out, (std::vector<Token>{2, 1, 2, 1, 2}));
}

TEST(CopyIndex, FollowsTheTextThroughRewinds) {
  std::vector<Token> t{1, 2, 3, 4, 5, 6, 7, 8};
  CopyIndex index;
  index.find(t);
  t.resize(3);
  index.drop_to(3);
  for (const Token x : {50, 60, 70, 4, 5, 6}) {
    t.push_back(x);
    EXPECT_EQ(index.find(t).length, 0) << t.size();  // 4 5 6 was dropped
  }
  for (const Token x : {1, 2, 3}) t.push_back(x);
  auto m = index.find(t);
  EXPECT_EQ(m.length, 3);
  EXPECT_EQ(t[m.follows], 50);
  for (const Token x : {50, 60, 70}) t.push_back(x);
  m = index.find(t);
  EXPECT_EQ(m.length, 6);
  EXPECT_EQ(t[m.follows], 4);
}

// A copy finds what one that took in all of its text itself finds, whatever the others do, and has
// little of its own.
TEST(CopyIndex, CopiesAreOnesOfTheirOwn) {
  const auto base = text(3000, 500, 8);
  CopyIndex index;
  index.take_in(base);
  const std::uint64_t all = index.bytes();
  std::vector<std::pair<CopyIndex, std::vector<Token>>> copies(4, {index, base});
  copies[3].first = copies[0].first;
  std::int64_t found = 0;
  for (unsigned step = 0; step < 60; ++step)
    for (unsigned i = 0; i < copies.size(); ++i) {
      auto& [copy, tokens] = copies[i];
      tokens.push_back(step % 3 == 0 ? tokens[tokens.size() - 40]
                                     : base[(step + 700 * i) % base.size()]);
      CopyIndex alone;
      const auto want = alone.find(tokens), is = copy.find(tokens);
      ASSERT_EQ(is.follows, want.follows) << "copy " << i << ", step " << step;
      ASSERT_EQ(is.length, want.length);
      found += is.length > 0;
    }
  EXPECT_GT(found, 60);
  const auto tail = index.find(base);
  EXPECT_EQ(tail.follows, CopyIndex().find(base).follows);
  auto few = index;
  auto more = base;
  more.insert(more.end(), {1, 2, 3});
  few.find(more);
  EXPECT_GT(few.bytes(), 0u);
  EXPECT_LE(few.bytes(), 18 * kCopyChunk * sizeof(std::uint32_t) +
                             6 * kCopySlots / kCopyChunk * sizeof(std::shared_ptr<void>));
  EXPECT_LT(few.bytes(), all / 4);
}

TEST(CopyIndex, KnowsWhetherItIsOfTheseTokensAlone) {
  const auto tokens = text(100, 500, 9);
  const auto first = [&](std::size_t n) { return std::span(tokens).first(n); };
  CopyIndex index;
  EXPECT_TRUE(index.begins({}));
  index.take_in(first(50));
  EXPECT_TRUE(index.begins(first(100)));
  EXPECT_TRUE(index.begins(first(50)));
  EXPECT_FALSE(index.begins(first(49)));  // what follows the last of 49 is known to it
  index.drop_to(50);
  EXPECT_TRUE(index.begins(first(50)));
  index.drop_to(40);
  EXPECT_FALSE(index.begins(first(50)));
}

// A prompt's tokens are taken in with the first guess behind it, into copies of what a fork shares:
// that is counted before it is done.
TEST(Drafts, CountWhatTheIndexHasYetToTakeIn) {
  Model m(golden_directory("micro-flash"));
  const auto memory = std::make_shared<SequenceMemory>();
  const auto tokens = random_tokens(1200, m.vocab(), 9);
  CopyIndex base(memory);
  base.take_in(std::span(tokens).first(600));
  Drafter fork(*m.weights, nullptr, {.mode = Drafting::always, .block = false}, memory);
  const auto guess = [&](std::size_t n, std::uint64_t expected) {
    const std::uint64_t before = memory->held();
    fork.guess(std::span(tokens).first(n), kDraftMax, true);
    EXPECT_LE(memory->held() - before, expected);
    return memory->held() - before;
  };
  const std::uint64_t before_begin = fork.missing_bytes(600, 1200, &base);
  fork.begin(base);
  EXPECT_GE(before_begin, fork.missing_bytes(600, 1200));
  EXPECT_GT(guess(1200, fork.missing_bytes(1200, 1200 + kDraftMax)),
            CopyIndex::bytes_for(2 * kDraftMax));  // much more than a few tokens
  // Most of it is its own now
  EXPECT_LT(fork.missing_bytes(1200, 1200 + kDraftMax), CopyIndex::bytes_for(kDraftMax));
}

// What a sequence knew of its text it guesses from after a fork, in the middle too, and after its
// bytes came back from elsewhere.
TEST(Drafts, SurviveForksAndBytes) {
  Model m(golden_directory("micro-flash"));
  const DraftOptions options{.mode = Drafting::always, .block = false};
  const auto fork_of = [&](const PrefixRef& p) {
    return ModelTimeline(*m.weights, m.forward, 4096, 128, options,
                         std::static_pointer_cast<const ModelPrefix>(p));
  };
  const auto prompt = text(900, m.vocab(), 4);
  struct Drawn {
    std::vector<Token> tokens;
    std::int64_t drafted, accepted, evaluations;
    bool operator==(const Drawn&) const = default;
  };
  // So few tokens that a model of random weights repeats itself
  TokenMask narrow(static_cast<std::size_t>(m.vocab() + 63) / 64);
  narrow[1] = 31;
  const auto draw = [&](ModelTimeline& t, std::span<const Token> after) {
    std::vector<Token> tokens(after.begin(), after.end());
    for (const Token token : {66, 67, 68}) tokens.push_back(token);
    EXPECT_TRUE(t.sync(tokens, {}, {}));
    const DraftStats before = t.drafts();
    for (int i = 0; i < 60; ++i) EXPECT_TRUE(t.next({.temperature = 0.4f, .seed = 5}, &narrow));
    const DraftStats d = t.drafts();
    return Drawn{{t.tokens().begin(), t.tokens().end()},
                 d.copy.drafted - before.copy.drafted,
                 d.copy.accepted - before.copy.accepted,
                 d.evaluations - before.evaluations};
  };
  const auto alone = [&](std::span<const Token> tokens) {
    auto t = m.timeline(options);
    EXPECT_TRUE(t.sync(tokens, {}, {}));
    return draw(t, tokens);
  };
  auto parent = m.timeline(options);
  ASSERT_TRUE(parent.sync(std::span(prompt).first(640), {}, {}));
  const auto early = parent.prefix(640);
  draw(parent, early->tokens());
  ASSERT_TRUE(parent.sync(prompt, {}, {}));  // back, and other tokens where it drew
  const auto late = parent.prefix(900), middle = parent.prefix(768);
  ASSERT_TRUE(early && late && middle);
  ModelPrefixBuilder builder(*m.weights, false, nullptr);
  for (std::int64_t i = 0; i < late->n_pages(); ++i)
    std::copy(late->page(i).begin(), late->page(i).end(), builder.add_page().begin());
  const auto back = builder.finish({late->tokens().begin(), late->tokens().end()},
                                   {late->frontier().begin(), late->frontier().end()});
  ASSERT_TRUE(back);
  for (const auto& prefix : {early, middle, late, *back}) {
    SCOPED_TRACE(prefix->tokens().size());
    EXPECT_FALSE(static_cast<const ModelPrefix&>(*prefix).copy_index().begins(
        prefix->tokens().first(prefix->tokens().size() - 1)));  // it knows them all
    const Drawn want = alone(prefix->tokens());
    EXPECT_GT(want.drafted, 20);
    EXPECT_GT(want.accepted, 5);
    auto fork = fork_of(prefix), other = fork_of(prefix);
    EXPECT_EQ(draw(fork, prefix->tokens()), want);
    const std::vector<Token> all(fork.tokens().begin(), fork.tokens().end());
    EXPECT_TRUE(fork.sync(all, {}, {}));
    const auto end = fork.prefix(std::ssize(all));
    ASSERT_TRUE(end);
    auto grandchild = fork_of(end);
    EXPECT_EQ(draw(grandchild, all), alone(all));
    // The first fork's guesses are not the second's
    EXPECT_EQ(draw(other, prefix->tokens()), want);
  }
}

// A fork of all that was evaluated needs no snapshot, also where guesses stand behind it.
TEST(Drafts, LeaveTheEndOfTheTextAPrefix) {
  Model m(golden_directory("micro-flash"));
  const DraftOptions options{.mode = Drafting::always, .block = false};
  TokenMask narrow(static_cast<std::size_t>(m.vocab() + 63) / 64);
  narrow[1] = 31;
  auto t = m.timeline(options);
  auto prompt = text(200, m.vocab(), 4);
  for (const Token token : {66, 67, 68, 66, 67, 68, 66}) prompt.push_back(token);
  ASSERT_TRUE(t.sync(prompt, {}, {}));
  int n_all = 0;
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(t.next({.temperature = 0.4f, .seed = 5}, &narrow));
    const auto size = std::ssize(t.tokens());
    const PrefixRef all = t.prefix(size), but_one = t.prefix(size - 1);
    EXPECT_TRUE(all || but_one) << i;
    n_all += all != nullptr;
    const PrefixRef& end = all ? all : but_one;
    if (!end || i % 10 != 0) continue;
    auto fork = ModelTimeline(*m.weights, m.forward, 4096, 128, options,
                              std::static_pointer_cast<const ModelPrefix>(end));
    std::vector<Token> tokens(end->tokens().begin(), end->tokens().end());
    tokens.push_back(69);
    ASSERT_EQ(fork.sync(tokens, {}, {}).value(), 1);
    auto whole = m.timeline(options);
    ASSERT_TRUE(whole.sync(tokens, {}, {}));
    EXPECT_TRUE(std::ranges::equal(fork.logits(), whole.logits())) << i;
  }
  EXPECT_GT(n_all, 5);  // after guesses that were right
}

// Among others nobody knows what a guess costs: none is made to find out, and what was evaluated
// there counts.
TEST(Drafts, AreNotTriedOutInCompany) {
  Model m(golden_directory("micro-flash"));
  const auto policy = std::make_shared<DraftPolicy>();
  policy->evaluated(1, 1);
  for (int i = 0; i < 8; ++i)
    policy->evaluated(3, 100), policy->evaluated(7, 100), policy->evaluated(15, 100);
  const DraftOptions options{.mode = Drafting::automatic, .block = false, .policy = policy};
  TokenMask narrow(static_cast<std::size_t>(m.vocab() + 63) / 64);
  narrow[1] = 31;
  auto prompt = text(60, m.vocab(), 4);
  const auto again = prompt;
  prompt.insert(prompt.end(), again.begin(), again.end());
  auto a = m.timeline(options), b = m.timeline(options);
  for (ModelTimeline* t : {&a, &b}) {
    ASSERT_TRUE(t->sync(prompt, {}, {}));
    for (int i = 0; i < 40; ++i)
      ASSERT_TRUE(t->next({.temperature = 0.4f, .seed = 5}, &narrow));  // it repeats itself then
    t->sync(std::vector<Token>(t->tokens().begin(), t->tokens().end()), {}, {}).value();
    ASSERT_TRUE(t->next({.temperature = 0.4f, .seed = 5}, &narrow));
  }
  for (int i = 0; i < kProbeEvery; ++i) policy->evaluated(1, 1);
  const auto drafted = [&] { return a.drafts().copy.drafted + b.drafts().copy.drafted; };
  const auto before_all = drafted();
  ModelTimeline* const both[] = {&a, &b};
  for (int i = 0; i < 20; ++i) {
    const auto before = a.drafts().evaluations;
    ModelTimeline::evaluate_together(both);
    EXPECT_EQ(a.drafts().evaluations, before + 1);
    for (ModelTimeline* t : both) ASSERT_TRUE(t->next({.temperature = 0.4f, .seed = 5}, &narrow));
  }
  EXPECT_EQ(drafted(), before_all);
  EXPECT_TRUE(policy->probe());
}

TEST(DraftPolicy, GuessesAsLongAsItPays) {
  const auto plan = [](double a_token_more, double chance, double guess,
                       DraftPolicy::Cost cost = DraftPolicy::Cost::each) {
    DraftPolicy p;
    for (int i = 0; i < 40; ++i)
      for (int n = 1; n <= kDraftMax + 1; ++n) p.evaluated(n, 1 + a_token_more * (n - 1));
    if (guess > 0) p.guessed(1, guess);
    std::vector<double> chances(kDraftMax, chance);
    return p.plan(chances, guess > 0 ? cost : DraftPolicy::Cost::none);
  };
  EXPECT_EQ(plan(0, 0.9, 0).n, kDraftMax);  // a memory-bound machine: free
  EXPECT_EQ(plan(1, 0.9, 0).n, 0);          // a further token costs what a token costs
  EXPECT_EQ(plan(0.3, 0.2, 0).n, 0);
  const auto some = plan(0.3, 0.8, 0);
  EXPECT_GT(some.n, 0);
  EXPECT_LT(some.n, kDraftMax);
  double best = 0;  // tokens per second of every length, from the definition
  int best_n = 0;
  for (int n = 0; n <= kDraftMax; ++n) {
    double tokens = 0;
    for (int i = 0; i <= n; ++i) tokens += std::pow(0.8, i);
    if (tokens / (1 + 0.3 * n) > best) best = tokens / (1 + 0.3 * n), best_n = n;
  }
  EXPECT_EQ(some.n, best_n);
  EXPECT_NEAR(some.gain, best, 1e-6);
  EXPECT_LT(plan(0.3, 0.8, 0.3).n, some.n);  // guesses that cost something
  // Paid once, the block is used while a further token gains
  EXPECT_GE(plan(0.3, 0.8, 0.3, DraftPolicy::Cost::once).n, some.n);
  EXPECT_GT(plan(0.3, 0.8, 0.3, DraftPolicy::Cost::once).gain, plan(0.3, 0.8, 0.3).gain);
  EXPECT_LT(plan(0.3, 0.8, 0.3, DraftPolicy::Cost::once).gain, some.gain);
}

TEST(DraftPolicy, CatchingUpWaitsAsLongAsItTakes) {
  DraftPolicy p;
  for (int i = 0; i < 10; ++i) p.evaluated(1, 1);
  EXPECT_FALSE(p.worth_catching_up(3));
  EXPECT_TRUE(p.worth_catching_up(20));
  for (int i = 0; i < 10; ++i) p.caught_up(30);
  EXPECT_FALSE(p.worth_catching_up(29));
  EXPECT_TRUE(p.worth_catching_up(31));
}

// A first measurement that was disturbed must not make guesses look cheap that are never right.
TEST(DraftPolicy, GuessesThatAreNeverRightNeverPay) {
  DraftPolicy p;
  p.evaluated(1, 100);
  for (int i = 0; i < 10; ++i) p.evaluated(4, 2);
  const std::vector<double> chances(kDraftMax, 0.01);
  EXPECT_EQ(p.plan(chances, DraftPolicy::Cost::none).n, 0);
}

TEST(DraftPolicy, TriesAgainAfterAWhile) {
  DraftPolicy p;
  for (int i = 0; i < kProbeEvery; ++i) {
    EXPECT_FALSE(p.probe());
    p.evaluated(1, 1);
  }
  EXPECT_TRUE(p.probe());
  for (int i = 0; i < 4; ++i) p.evaluated(2, 1.5);
  EXPECT_FALSE(p.probe());
  EXPECT_NEAR(p.seconds(2), 1.5, 1e-9);
  EXPECT_NEAR(p.seconds(10), 5.5, 1e-9);  // by the same share, until it is measured too
  for (int i = 0; i < 4; ++i) p.evaluated(11, 2);
  EXPECT_NEAR(p.seconds(11), 2, 1e-9);
  EXPECT_NEAR(p.seconds(2), 1.5, 1e-9);
  for (int i = 0; i < 3; ++i) p.evaluated(1, i == 1 ? 1000 : 1);
  EXPECT_LT(p.seconds(1), 1.1);  // one late wake-up
}

}  // namespace
}  // namespace lares::engine
