// Guesses ahead on a GPU: how much is evaluated at a time changes, and nothing else. The same
// tokens and logits, whatever the options, the way there and the company, on one device and over
// several; the same pages and frontiers; no memory that would not have been taken without.
#include <gmock/gmock.h>

#include <map>
#include <random>

#include "engine/cuda/timeline.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::DeviceTimeline;
using cuda::Pipeline;

// Notes how many tokens each step had that is not a recording's replay.
class CountingDevice : public HostDevice {
 public:
  using HostDevice::HostDevice;
  std::vector<int> steps;
  void embed(const kc::EmbedArgs& a) override {
    steps.push_back(a.n_tokens);
    HostDevice::embed(a);
  }
};

// A model over devices; its layers are cut where the test says.
struct Model {
  static constexpr std::int64_t kContext = 2048;
  struct Options {
    std::vector<int> cuts = {};
    int chunk = 128;
    std::int64_t n_pages = 32;
    bool record = true;
    std::int64_t n_context = kContext;
  };
  Model(const std::string& directory, const Options& o)
      : weights(std::move(*load_weights(directory, {}))) {
    std::vector<cuda::Device*> all;
    for (std::size_t k = 0; k <= o.cuts.size(); ++k)
      all.push_back(devices.emplace_back(std::make_unique<CountingDevice>()).get());
    auto made = pipeline_over(
        all, *weights, o.cuts,
        {.n_pages = o.n_pages,
         .forward = {.chunk = o.chunk, .n_context = o.n_context, .record = o.record}},
        pool);
    EXPECT_TRUE(made) << made.error().message;
    pipeline = std::move(*made);
  }

  std::unique_ptr<DeviceTimeline> timeline(const DraftOptions& drafts,
                                           std::int64_t n_context = kContext,
                                           const PrefixRef& from = nullptr) {
    return std::make_unique<DeviceTimeline>(
        DeviceTimeline::Shared{*weights, *pipeline, n_context, nullptr, drafts},
        std::static_pointer_cast<const ModelPrefix>(from));
  }
  int vocab() const { return weights->checkpoint.config().vocab_size; }
  CountingDevice& first() { return *devices.front(); }

  std::unique_ptr<Weights> weights;
  kernels::ThreadPool pool{2};
  std::vector<std::unique_ptr<CountingDevice>> devices;
  std::unique_ptr<Pipeline> pipeline;
};

const DraftOptions kOff{.mode = Drafting::off, .block = false},
    kAlways{.mode = Drafting::always, .block = false};
// As many guesses as pay where more tokens cost next to nothing. What is measured is much longer,
// and moves these times slowly.
DraftOptions eager() {
  DraftOptions out{
      .mode = Drafting::automatic, .block = false, .policy = std::make_shared<DraftPolicy>()};
  for (int i = 0; i < 8; ++i)
    for (int n = 1; n <= cuda::kGuessesMax + 1; ++n) out.policy->evaluated(n, 1e-9);
  return out;
}

// Repeats itself with small changes, as listings and edits do.
std::vector<Token> text(int n, int vocab, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Token> out;
  for (int i = 0; i < n; ++i)
    out.push_back(i >= 40 && random() % 16 != 0
                      ? out[static_cast<std::size_t>(i) - 40]
                      : static_cast<Token>(random() % static_cast<unsigned>(vocab)));
  return out;
}

// So few tokens that a model of random weights repeats itself.
TokenMask narrow(int vocab) {
  TokenMask mask(static_cast<std::size_t>(vocab + 63) / 64);
  mask[1] = 7;
  return mask;
}

enum class Masks { none, some, narrow };

// The tokens, and the bits of what the model says about them.
using Drawn = std::vector<Token>;
void draw(Timeline& t, int vocab, int n, const Sampling& sampling, Masks masks, Drawn& out) {
  TokenMask mask = narrow(vocab);
  for (int i = 0; i < n; ++i) {
    if (masks == Masks::some)
      for (std::size_t w = 0; w < mask.size(); ++w)
        mask[w] = 0xF0F0F0F0F0F0F0F0u >> ((t.tokens().size() + w) % 3);
    const auto token = t.next(
        sampling, masks == Masks::narrow || (masks == Masks::some && i % 5 == 0) ? &mask : nullptr);
    if (!token) {
      EXPECT_EQ(token.error().code, Errc::too_long) << token.error().message;
      out.push_back(-1);
      return;
    }
    out.push_back(*token);
    const Logprobs p = t.logprobs(2);
    ASSERT_EQ(p.top.size(), 2u);
    out.push_back(std::bit_cast<Token>(p.drawn));
    out.push_back(p.top[1].first);
  }
}
Drawn drawn(Timeline& t, int vocab, int n, const Sampling& sampling, Masks masks) {
  Drawn out;
  draw(t, vocab, n, sampling, masks, out);
  return out;
}

std::vector<Token> first_of(const Timeline& t, std::size_t n) {
  return {t.tokens().begin(), t.tokens().begin() + static_cast<std::ptrdiff_t>(n)};
}

// What a session does to its timeline: generate, go back a little, into guesses too, and a lot,
// diverge, stop half way, run into the end.
Drawn session(Timeline& t, int vocab, const Sampling& sampling, int n) {
  Drawn out;
  const auto sync = [&](const std::vector<Token>& tokens) { EXPECT_TRUE(t.sync(tokens, {}, {})); };
  const auto more = [&](int count, Masks masks) { draw(t, vocab, count, sampling, masks, out); };
  sync(text(100, vocab, 1));
  more(n, Masks::narrow);
  more(n / 2, Masks::some);
  sync(first_of(t, t.tokens().size()));
  more(n / 3, Masks::narrow);
  for (const std::size_t back : {1, 2, 7, 60}) {
    sync(first_of(t, t.tokens().size() - back));
    more(12, Masks::narrow);
  }
  auto other = first_of(t, 90);
  for (const Token token : text(50, vocab, 2)) other.push_back(token);
  sync(other);
  more(15, Masks::none);
  std::stop_source stop;
  const auto stopped = t.sync(text(400, vocab, 3), stop.get_token(),
                              [&](std::int64_t done, std::int64_t) {
                                if (done >= 140) stop.request_stop();
                              });
  EXPECT_FALSE(stopped);
  more(20, Masks::some);
  sync(text(128, vocab, 1));
  more(25, Masks::narrow);
  sync(text(240, vocab, 1));
  more(40, Masks::narrow);  // into the end
  return out;
}

struct Case {
  std::string name, directory;
  std::vector<int> cuts;
};
const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";

class CudaDrafts : public testing::TestWithParam<Case> {
 protected:
  Model& model() {
    static std::map<std::string, std::unique_ptr<Model>> known;
    auto& m = known[GetParam().name];
    if (!m)
      m = std::make_unique<Model>(GetParam().directory, Model::Options{.cuts = GetParam().cuts});
    return *m;
  }
};

TEST_P(CudaDrafts, TheSameTokensWithAndWithoutGuesses) {
  Model& m = model();
  for (const Sampling& s :
       {Sampling{.temperature = 0},
        Sampling{.temperature = 0.6f, .top_p = 0.9f, .repetition_penalty = 1.05f, .seed = 3}}) {
    if (s.temperature == 0 && !GetParam().cuts.empty())
      continue;  // the slower ones, at one temperature
    const auto plain = m.timeline(kOff, 270), always = m.timeline(kAlways, 270),
               automatic = m.timeline({.mode = Drafting::automatic, .block = false}, 270),
               at_ease = m.timeline(eager(), 270);
    const Drawn want = session(*plain, m.vocab(), s, 45);
    EXPECT_EQ(want.back(), -1);
    EXPECT_EQ(plain->drafts().copy.drafted, 0);
    for (const auto& [name, t] : {std::pair{"always", always.get()},
                                  {"automatic", automatic.get()},
                                  {"eager", at_ease.get()}}) {
      EXPECT_EQ(session(*t, m.vocab(), s, 45), want) << name << ", temperature " << s.temperature;
      const DraftStats d = t->drafts();
      std::printf(
          "  %s, temperature %.1f: %ld evaluations for %zu tokens, %ld without; copied %ld of "
          "%ld\n",
          name, s.temperature, d.evaluations, want.size() / 3, plain->drafts().evaluations,
          d.copy.accepted, d.copy.drafted);
      EXPECT_LE(d.copy.accepted, d.copy.drafted);
      EXPECT_EQ(d.block.drafted, 0);
      if (t == automatic.get()) continue;
      EXPECT_GT(d.copy.accepted, 20) << name;
      EXPECT_LT(d.evaluations + 20, plain->drafts().evaluations) << name;
    }
  }
}

// A text that goes round in circles: nearly all of it is guessed, and a step has as many tokens as
// are few.
TEST_P(CudaDrafts, ARepetitionTakesOneStepForEightTokens) {
  Model m(GetParam().directory, {.cuts = GetParam().cuts, .record = false});
  const TokenMask one_token{0, 4};
  const auto run = [&](const DraftOptions& o) {
    const auto t = m.timeline(o);
    EXPECT_TRUE(t->sync(std::vector<Token>{5, 66, 66, 66, 66}, {}, {}));
    m.first().steps.clear();
    for (int i = 0; i < 100; ++i)
      EXPECT_EQ(t->next({.temperature = 0}, &one_token).value_or(-1), 66);
    // The last one drawn was evaluated ahead: all of the text is there, and no more.
    EXPECT_EQ(t->sync(first_of(*t, 105), {}, {}).value_or(-1), o.mode == Drafting::off ? 1 : 0);
    return t->drafts();
  };
  const DraftStats plain = run(kOff), drafted = run(kAlways);
  EXPECT_EQ(plain.evaluations, 99);
  EXPECT_LE(drafted.evaluations, 99 / 8 + 1);
  EXPECT_GE(drafted.copy.accepted, 99 - drafted.evaluations);
  EXPECT_EQ(std::ranges::max(m.first().steps), kc::kTokensFew);
  EXPECT_EQ(std::ssize(m.first().steps), drafted.evaluations);
  // Of what comes after going back, too.
  const auto t = m.timeline(kAlways);
  ASSERT_TRUE(t->sync(random_tokens(200, m.vocab(), 8), {}, {}) && t->next({}, nullptr) &&
              t->next({}, nullptr));
  ASSERT_TRUE(t->sync(std::vector<Token>{5, 66, 66, 66, 66}, {}, {}));
  const auto before = t->drafts().evaluations;
  for (int i = 0; i < 50; ++i) ASSERT_EQ(t->next({.temperature = 0}, &one_token).value_or(-1), 66);
  EXPECT_LE(t->drafts().evaluations - before, 49 / 8 + 1);
}

// Guesses stand behind the text: a beginning is what it would be without them, and a fork of it
// goes on as if it were alone.
TEST_P(CudaDrafts, LeavePagesAndFrontiersAsTheyWere) {
  Model& m = model();
  const TokenMask mask = narrow(m.vocab());
  const Sampling sampling{.temperature = 0.4f, .seed = 5};
  const auto plain = m.timeline(kOff), t = m.timeline(kAlways);
  auto prompt = text(230, m.vocab(), 4);
  for (const Token token : {66, 65, 64, 66, 65, 64, 66}) prompt.push_back(token);
  for (const auto& one : {plain.get(), t.get()}) ASSERT_TRUE(one->sync(prompt, {}, {}));
  int n_all = 0;
  for (int i = 0; i < 48; ++i) {  // over the end of a page, too
    ASSERT_EQ(t->next(sampling, &mask).value_or(-1), plain->next(sampling, &mask).value_or(-2));
    const std::int64_t size = std::ssize(t->tokens());
    const PrefixRef all = t->prefix(size), end = all ? all : t->prefix(size - 1);
    ASSERT_TRUE(end) << i;
    n_all += all != nullptr;
    EXPECT_EQ(t->prefix(size + 1), nullptr);
    EXPECT_EQ(std::ssize(end->tokens()), all ? size : size - 1);
    EXPECT_GE(static_cast<const ModelPrefix&>(*end).copy_index().indexed() + 1,
              std::ssize(end->tokens()));
    if (i % 8 != 7) continue;
    auto longer = first_of(*t, end->tokens().size());
    const auto whole = m.timeline(kOff);
    ASSERT_TRUE(whole->sync(longer, {}, {}));
    const PrefixRef want = whole->prefix(std::ssize(longer));
    ASSERT_TRUE(want);
    ASSERT_EQ(end->n_pages(), want->n_pages());
    for (std::int64_t p = 0; p < want->n_pages(); ++p)
      EXPECT_TRUE(std::ranges::equal(end->page(p), want->page(p)))
          << "page " << p << " of " << longer.size() << " tokens";
    EXPECT_TRUE(std::ranges::equal(end->frontier(), want->frontier())) << i;
    const auto fork = m.timeline(kAlways, Model::kContext, end);
    longer.push_back(69);
    EXPECT_EQ(fork->sync(longer, {}, {}).value_or(-1), 1);
    ASSERT_TRUE(whole->sync(longer, {}, {}));
    EXPECT_EQ(drawn(*fork, m.vocab(), 12, sampling, Masks::narrow),
              drawn(*whole, m.vocab(), 12, sampling, Masks::narrow))
        << i;
  }
  EXPECT_GT(n_all, 5);  // after guesses that were right
  EXPECT_GT(t->drafts().copy.accepted, 10);
}

// In ever other company, alone at times, some ahead of others.
TEST_P(CudaDrafts, CompanyChangesNothing) {
  Model& m = model();
  constexpr std::size_t kTimelines = 4, kDraws = 30;
  const auto begin = [&](const DraftOptions& o, std::size_t i) {
    auto t = m.timeline(o);
    auto prompt = text(60 + 37 * static_cast<int>(i), m.vocab(), static_cast<unsigned>(i));
    EXPECT_TRUE(t->sync(prompt, {}, {}));
    return t;
  };
  const auto one = [&](Timeline& t, std::size_t i) {
    return drawn(t, m.vocab(), 1, {.temperature = i % 2 ? 0.7f : 0.0f, .seed = i},
                 i == 0 ? Masks::none : Masks::narrow);
  };
  std::vector<std::vector<Drawn>> alone(kTimelines), together(kTimelines);
  std::vector<std::unique_ptr<DeviceTimeline>> all;
  std::int64_t evaluations = 0;
  for (std::size_t i = 0; i < kTimelines; ++i) {
    const auto t = begin(kOff, i);
    for (std::size_t k = 0; k < kDraws; ++k) alone[i].push_back(one(*t, i));
    evaluations += t->drafts().evaluations;
    all.push_back(begin(kAlways, i));
  }
  std::mt19937 random(1);
  for (bool any = true; any;) {
    any = false;
    std::vector<DeviceTimeline*> some;
    std::vector<std::size_t> who;
    for (std::size_t i = 0; i < kTimelines; ++i) {
      if (together[i].size() == kDraws) continue;
      any = true;
      if (random() % 3 == 0) continue;
      some.push_back(all[i].get());
      who.push_back(i);
    }
    DeviceTimeline::evaluate_together(some);
    for (const std::size_t i : who) together[i].push_back(one(*all[i], i));
  }
  EXPECT_EQ(together, alone);
  std::int64_t accepted = 0, drafted = 0;
  for (const auto& t : all) {
    accepted += t->drafts().copy.accepted;
    drafted += t->drafts().evaluations;
  }
  EXPECT_GT(accepted, 10);
  EXPECT_LT(drafted, evaluations);
}

INSTANTIATE_TEST_SUITE_P(, CudaDrafts,
                         testing::Values(Case{"flash", golden_directory("micro-flash"), {}},
                                         Case{"pro", golden_directory("micro-pro"), {}},
                                         Case{"flash_on_2", golden_directory("micro-flash"), {2}},
                                         Case{"nano_on_2", kNano, {3}}),
                         [](const auto& p) { return p.param.name; });

// Many short texts: whatever is guessed, right or wrong, at every temperature.
TEST(CudaDraft, TheSameTokensForManySeeds) {
  Model m(golden_directory("micro-flash"), {});
  std::int64_t drafted = 0, accepted = 0;
  for (unsigned seed = 0; seed < 16; ++seed) {
    const Sampling s{.temperature = std::array{0.0f, 0.3f, 0.8f, 1.5f}[seed % 4],
                     .top_k = seed % 3 == 0 ? 0 : 9,
                     .presence_penalty = seed % 5 == 0 ? 0.1f : 0.0f,
                     .seed = seed};
    const auto prompt = text(60, m.vocab(), seed);
    const auto masks = seed % 6 == 5 ? Masks::some : Masks::narrow;
    const auto plain = m.timeline(kOff), t = m.timeline(seed % 2 ? eager() : kAlways);
    ASSERT_TRUE(plain->sync(prompt, {}, {}));
    ASSERT_TRUE(t->sync(prompt, {}, {}));
    ASSERT_EQ(drawn(*t, m.vocab(), 40, s, masks), drawn(*plain, m.vocab(), 40, s, masks))
        << "seed " << seed;
    drafted += t->drafts().copy.drafted;
    accepted += t->drafts().copy.accepted;
  }
  EXPECT_GT(accepted, 70);
  EXPECT_GT(drafted, accepted + 70);  // wrong ones too
}

TEST(CudaDraft, UpToTheContextsEnd) {
  for (const int chunk : {1, 5, 128}) {
    Model m(golden_directory("micro-pro"), {.chunk = chunk, .n_context = 100});
    const auto run = [&](const DraftOptions& o) {
      const auto t = m.timeline(o, 100);
      EXPECT_TRUE(t->sync(text(60, m.vocab(), 1), {}, {}));
      drawn(*t, m.vocab(), 50, {.temperature = 0}, Masks::narrow);
      const auto evaluations = t->drafts().evaluations;
      DeviceTimeline* const alone = t.get();
      DeviceTimeline::evaluate_together({&alone, 1});
      EXPECT_EQ(t->drafts().evaluations, evaluations);  // nobody can draw after its last token
      EXPECT_EQ(t->next({}, nullptr).error().code, Errc::too_long);
      EXPECT_EQ(t->drafts().copy.accepted > 0, o.mode != Drafting::off && chunk > 1);
      return first_of(*t, t->tokens().size());
    };
    const auto want = run(kOff);
    EXPECT_EQ(want.size(), 100u);
    EXPECT_EQ(run(kAlways), want) << "chunk " << chunk;
    EXPECT_EQ(run(eager()), want) << "chunk " << chunk;
  }
}

// Together they stay few where they can, and within what is recorded where they cannot; no step is
// longer than a chunk.
TEST(CudaDraft, GuessesInCompanyLeaveAStepItsKind) {
  for (const auto& [n, chunk, most] : {std::tuple{2, 128, 8},
                                       {3, 128, 8},
                                       {8, 128, 8},
                                       {9, 128, 64},
                                       {20, 128, 64},
                                       {9, 16, 16},
                                       {6, 6, 6}}) {
    SCOPED_TRACE(testing::Message() << n << " together, chunks of " << chunk);
    Model m(golden_directory("micro-pro"), {.chunk = chunk, .record = false});
    std::vector<std::unique_ptr<DeviceTimeline>> all;
    std::vector<DeviceTimeline*> them;
    for (int i = 0; i < n; ++i) {
      all.push_back(m.timeline(kAlways));
      them.push_back(all.back().get());
      ASSERT_TRUE(
          them.back()->sync(std::vector<Token>{static_cast<Token>(i), 66, 66, 66, 66}, {}, {}));
      ASSERT_TRUE(them.back()->next({.temperature = 0}, nullptr));
      ASSERT_TRUE(
          them.back()->sync(std::vector<Token>{static_cast<Token>(i), 66, 66, 66, 66}, {}, {}));
    }
    const TokenMask one_token{0, 4};
    for (DeviceTimeline* const t : them) ASSERT_TRUE(t->next({.temperature = 0}, &one_token));
    m.first().steps.clear();
    DeviceTimeline::evaluate_together(them);
    EXPECT_THAT(m.first().steps, testing::ElementsAre(most));
    const auto evaluations = them.front()->drafts().evaluations;
    for (DeviceTimeline* const t : them)
      EXPECT_EQ(t->next({.temperature = 0}, &one_token).value_or(-1), 66);
    EXPECT_EQ(them.front()->drafts().evaluations, evaluations);
  }
}

// What a place to return to was kept at is text, never guesses.
TEST(CudaDraft, GoingFarBackIsAsWithoutGuesses) {
  Model m(golden_directory("micro-flash"), {.chunk = 1024});
  const auto prompt = text(1010, m.vocab(), 6);
  Drawn want;
  for (const DraftOptions& o : {kOff, kAlways}) {
    const auto t = m.timeline(o);
    ASSERT_TRUE(t->sync(prompt, {}, {}));
    Drawn out = drawn(*t, m.vocab(), 180, {.temperature = 0.5f, .seed = 9}, Masks::narrow);
    EXPECT_EQ(t->sync(first_of(*t, 1030), {}, {}).value_or(-1), 6);  // from 1024 on
    draw(*t, m.vocab(), 10, {.temperature = 0}, Masks::narrow, out);
    if (want.empty()) want = out;
    EXPECT_EQ(out, want);
    EXPECT_EQ(t->drafts().copy.accepted > 0, o.mode != Drafting::off);
  }
}

// Logits of guesses that were wrong are not those of the text that comes in their place, wherever
// its evaluation stops.
TEST(CudaDraft, AStopBehindWrongGuessesLeavesNoneOfTheirLogits) {
  Model m(golden_directory("micro-pro"), {.chunk = 8});
  const TokenMask one_token{0, 4}, other_token{0, 8};
  for (int n = 5; n < 13; ++n) {
    SCOPED_TRACE(n);
    Drawn want;
    for (const DraftOptions& o : {kOff, kAlways}) {
      const auto t = m.timeline(o);
      ASSERT_TRUE(t->sync(std::vector<Token>(static_cast<std::size_t>(n), 66), {}, {}));
      ASSERT_EQ(t->next({.temperature = 0}, &one_token).value_or(-1), 66);
      ASSERT_EQ(t->next({.temperature = 0}, &other_token).value_or(-1), 67);
      EXPECT_EQ(t->drafts().copy.drafted, o.mode == Drafting::off ? 0 : 7);
      auto longer = first_of(*t, t->tokens().size());
      for (const Token token : random_tokens(20, m.vocab(), static_cast<unsigned>(n)))
        longer.push_back(token);
      std::stop_source stop;
      EXPECT_FALSE(t->sync(longer, stop.get_token(),
                           [&](std::int64_t, std::int64_t) { stop.request_stop(); }));
      // To the chunk's end: so few tokens are not stopped on the way
      EXPECT_EQ(std::ssize(t->tokens()), (n + 1) / 8 * 8 + 8);
      Drawn out = first_of(*t, t->tokens().size());
      draw(*t, m.vocab(), 3, {.temperature = 0}, Masks::none, out);
      if (want.empty()) want = out;
      EXPECT_EQ(out, want);
    }
  }
}

// Whoever runs out of pages runs out at the same token, and goes on from there when there are some.
TEST(CudaDraft, GuessesTakeNoPageThatTheTokenWouldNot) {
  Drawn want;
  for (const DraftOptions& o : {kOff, kAlways}) {
    Model m(golden_directory("micro-flash"), {.n_pages = 2});
    auto other = m.timeline(kOff);
    ASSERT_TRUE(other->sync(text(100, m.vocab(), 7), {}, {}));
    const auto t = m.timeline(o);
    ASSERT_TRUE(t->sync(text(200, m.vocab(), 1), {}, {}));
    const TokenMask mask = narrow(m.vocab());
    Drawn out;
    for (;;) {
      const auto token = t->next({.temperature = 0}, &mask);
      if (!token) {
        EXPECT_EQ(token.error().code, Errc::no_memory);
        DeviceTimeline* const both[] = {t.get(), other.get()};
        DeviceTimeline::evaluate_together(both);
        EXPECT_EQ(t->next({.temperature = 0}, &mask).error().code, Errc::no_memory);
        break;
      }
      out.push_back(*token);
    }
    EXPECT_EQ(std::ssize(t->tokens()), 257);  // the page is of 256, and the last one waits
    other.reset();
    auto longer = first_of(*t, 257);
    longer.insert(longer.end(), {1, 2, 66});
    EXPECT_EQ(t->sync(longer, {}, {}).value_or(-1), 4);
    draw(*t, m.vocab(), 20, {.temperature = 0}, Masks::narrow, out);
    if (want.empty()) want = out;
    EXPECT_EQ(out, want);
    EXPECT_EQ(t->drafts().copy.accepted > 0, o.mode != Drafting::off);
  }
}

// A shape's first step loads what the driver has not loaded, its second is recorded: neither says
// what the next will take.
TEST(CudaDraft, ThePolicyLearnsFromStepsThatAreReplayed) {
  Model m(golden_directory("micro-pro"), {});
  const DraftOptions options{
      .mode = Drafting::automatic, .block = false, .policy = std::make_shared<DraftPolicy>()};
  const auto t = m.timeline(options);
  ASSERT_TRUE(t->sync(text(30, m.vocab(), 1), {}, {}));
  ASSERT_TRUE(t->next({}, nullptr));  // of the prompt's logits
  for (int step = 1; step <= 4; ++step) {
    ASSERT_TRUE(t->next({}, nullptr));
    EXPECT_EQ(t->drafts().evaluations, step);
    EXPECT_EQ(options.policy->seconds(1) > 0, step > 2) << "step " << step;
  }
  // In company nobody knows what a guess costs.
  const DraftOptions others{
      .mode = Drafting::automatic, .block = false, .policy = std::make_shared<DraftPolicy>()};
  others.policy->evaluated(1, 1);
  const double before = others.policy->seconds(2);
  const auto a = m.timeline(others), b = m.timeline(others);
  DeviceTimeline* const both[] = {a.get(), b.get()};
  for (DeviceTimeline* const one : both)
    ASSERT_TRUE(one->sync(text(30, m.vocab(), 1), {}, {}) && one->next({}, nullptr));
  for (int step = 1; step <= 12; ++step) {
    DeviceTimeline::evaluate_together(both);
    for (DeviceTimeline* const one : both) {
      ASSERT_TRUE(one->next({}, nullptr));
      EXPECT_EQ(one->drafts().evaluations, step);
    }
  }
  EXPECT_EQ(others.policy->seconds(1), 1);
  EXPECT_EQ(others.policy->seconds(2), before);
}

// Guesses make many shapes of steps: the one in use stays recorded, whatever comes in between.
TEST(CudaDraft, RecordingsInUseStay) {
  Model m(golden_directory("micro-pro"), {});
  cuda::PipelineState state(*m.pipeline, Model::kContext);
  std::vector<float> logits(static_cast<std::size_t>(11) * static_cast<std::size_t>(m.vocab()));
  const std::vector<Token> tokens(11, 3);
  const auto settled = [&](int n, int n_rows) {
    const Pipeline::Sequence one{&state, n};
    EXPECT_TRUE(m.pipeline->evaluate(
        {&one, 1}, std::span(tokens).first(static_cast<std::size_t>(n)), n_rows, logits.data()));
    state.drop_to(0);
    return m.pipeline->settled();
  };
  EXPECT_FALSE(settled(1, 1));
  EXPECT_FALSE(settled(1, 1));
  int n_shapes = 1;
  for (int n = 2; n <= 11; ++n)
    for (int n_rows = 0; n_rows <= n; ++n_rows, ++n_shapes) {
      EXPECT_FALSE(settled(n, n_rows));
      EXPECT_FALSE(settled(n, n_rows));
      EXPECT_TRUE(settled(n, n_rows));
      ASSERT_TRUE(settled(1, 1)) << "after " << n_shapes << " others";
    }
  ASSERT_GT(n_shapes, static_cast<int>(cuda::kRecordingsMax));
  EXPECT_LE(m.pipeline->stages().front().forward->n_recordings(), cuda::kRecordingsMax);
  EXPECT_FALSE(settled(2, 0));  // gone
  EXPECT_TRUE(settled(11, 11));
}

}  // namespace
}  // namespace lares::engine
