// Timelines for a long time: prompts, draws, forks, going back and cancelling at random. The logits
// after a sequence of tokens are always the same bits, however it was reached, and memory does not
// grow. LARES_SOAK_SECONDS says how long (default 5; at least as long as kStepsMin steps take).
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <thread>
#include <unordered_map>

#include "engine/model/checkpoint/repack.h"
#include "engine/model/timeline.h"

namespace lares::engine {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kTimelines = 4, kTexts = 6, kTextTokens = 1500;
constexpr std::size_t kKnownMax = 200'000;      // sequences whose logits are remembered
constexpr std::uint64_t kBytesMax = 24u << 20;  // of all timelines
// On a slow machine, too: by then each kind of step was made often, and sequences needed others'
// memory
constexpr std::int64_t kStepsMin = 300;
constexpr double kWarmUp = 0.3;  // of the time, after which memory must stay
constexpr std::uint64_t kGrowthMax = 24u << 20;

template <class T>
std::uint64_t hash(std::span<const T> values) {
  std::uint64_t h = 0xCBF29CE484222325u;
  const auto* p = reinterpret_cast<const std::uint8_t*>(values.data());
  for (std::size_t i = 0; i < values.size_bytes(); ++i) h = (h ^ p[i]) * 0x100000001B3u;
  return h;
}

std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

class Soak : public testing::Test {
 protected:
  void SetUp() override {
    auto loaded = load_weights(std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint", {});
    ASSERT_TRUE(loaded);
    weights_ = std::move(*loaded);
    ASSERT_TRUE(repacked_.build(*weights_, pool_, {}));
    forward_ = std::make_unique<Forward>(*weights_, false, pool_, kernels::best());
    for (std::size_t i = 0; i < kTexts; ++i) {
      texts_.emplace_back();
      while (texts_[i].size() < kTextTokens)  // some begin alike
        texts_[i].push_back(i > 0 && texts_[i].size() < 200 * i
                                ? texts_[i - 1][texts_[i].size()]
                                : static_cast<Token>(random_() % vocab()));
    }
  }
  int vocab() const { return weights_->checkpoint.config().vocab_size; }
  std::size_t below(std::size_t n) { return random_() % n; }

  std::unique_ptr<ModelTimeline> timeline(PrefixRef from = nullptr) {
    constexpr Drafting kModes[] = {Drafting::off, Drafting::automatic, Drafting::always};
    constexpr int kChunks[] = {64, 128, 256};
    return std::make_unique<ModelTimeline>(
        *weights_, *forward_, 4096, kChunks[below(3)], DraftOptions{.mode = kModes[below(3)]},
        std::static_pointer_cast<const ModelPrefix>(from), memory_);
  }
  // The logits of the timeline's tokens are what they were whenever these tokens were seen before.
  void check(const ModelTimeline& t) {
    const std::uint64_t tokens = hash(t.tokens()), logits = hash(t.logits());
    ++checked_;
    if (known_.size() < kKnownMax) {
      const auto [at, first] = known_.emplace(tokens, logits);
      again_ += first ? 0 : 1;
      ASSERT_EQ(at->second, logits) << "after " << t.tokens().size() << " tokens";
    } else if (const auto at = known_.find(tokens); at != known_.end()) {
      ++again_;
      ASSERT_EQ(at->second, logits) << "after " << t.tokens().size() << " tokens";
    }
  }
  void prompt(ModelTimeline& t, std::span<const Token> tokens) {
    ASSERT_TRUE(t.sync(tokens, {}, {}));
    check(t);
  }
  // Draws are functions of the tokens before them, so two timelines that stand at one place go on
  // alike.
  void generate(ModelTimeline& t, int n) {
    for (int i = 0; i < n; ++i) {
      const std::uint64_t seed = hash(t.tokens());
      ASSERT_TRUE(t.next({.temperature = 0.8f, .top_p = 0.9f, .seed = seed}, nullptr));
    }
    const std::vector<Token> tokens(t.tokens().begin(), t.tokens().end());
    prompt(t, tokens);
  }
  void cancelled(ModelTimeline& t, std::span<const Token> tokens) {
    std::stop_source stop;
    const auto after = std::chrono::microseconds(below(40'000));
    std::jthread other([&] {
      std::this_thread::sleep_for(after);
      stop.request_stop();
    });
    const auto done = t.sync(tokens, stop.get_token(), {});
    ASSERT_TRUE(done || done.error().code == Errc::cancelled);
    ++(done ? not_cancelled_ : cancelled_);
  }
  void step() {
    auto& t = timelines_[below(kTimelines)];
    if (!t) t = timeline();
    const auto& text = texts_[below(kTexts)];
    const auto some = std::span(text).first(1 + below(kTextTokens));
    switch (below(9)) {
      case 7: {  // a fork of its pages, in place of another
        const auto shared = t->prefix(std::ssize(t->tokens()));
        if (!shared || shared->tokens().size() + 32 > 4096) return;
        auto& other = timelines_[below(kTimelines)];
        if (&other == &t) return;
        other = timeline(shared);
        std::vector<Token> more(shared->tokens().begin(), shared->tokens().end());
        more.push_back(some.back());
        prompt(*other, more);
        prompt(*t, more);
        break;
      }
      case 8:  // somebody needs memory
        (void)memory_->make_room(memory_->bytes_max() / (1 + below(8)), nullptr, "soak");
        break;
      case 0:
        t = timeline();
        break;
      case 1:
        cancelled(*t, some);
        break;
      case 2: {  // a fork: another one, at the same place, goes on the same way
        if (t->tokens().empty()) return;
        const std::vector<Token> here(t->tokens().begin(), t->tokens().end());
        auto& other = timelines_[below(kTimelines)];
        if (!other || &other == &t) return;
        prompt(*other, here);
        prompt(*t, here);
        if (here.size() + 8 > 4096) return;
        generate(*other, 6);
        generate(*t, 6);
        break;
      }
      case 3: {  // back by a little, as after a missed tool call
        if (t->tokens().size() < 2) return;
        const std::vector<Token> less(
            t->tokens().begin(),
            t->tokens().end() - static_cast<std::ptrdiff_t>(
                                    1 + below(std::min<std::size_t>(200, t->tokens().size() - 1))));
        prompt(*t, less);
        break;
      }
      case 4:
      case 5:
        if (!t->tokens().empty() && t->tokens().size() + 32 < 4096)
          generate(*t, static_cast<int>(1 + below(24)));
        break;
      default:
        prompt(*t, some);
    }
  }

  std::mt19937_64 random_{20261125};
  std::unique_ptr<Weights> weights_;
  kernels::ThreadPool pool_{2};
  Repacked repacked_;
  std::unique_ptr<Forward> forward_;
  SequenceMemoryRef memory_ = std::make_shared<SequenceMemory>(
      kBytesMax, std::chrono::seconds(0));  // tight, so that waiting ones give back
  std::vector<std::vector<Token>> texts_;
  std::unique_ptr<ModelTimeline> timelines_[kTimelines];
  std::unordered_map<std::uint64_t, std::uint64_t> known_;
  std::int64_t checked_ = 0, again_ = 0, cancelled_ = 0, not_cancelled_ = 0;
};

TEST_F(Soak, SameTokensSameBitsAndMemoryStays) {
  const char* const given = std::getenv("LARES_SOAK_SECONDS");
  const double seconds = given ? std::atof(given) : 5;
  known_.reserve(kKnownMax);
  const auto began = Clock::now();
  auto told = began;
  std::uint64_t most_early = 0, most_late = 0;
  std::int64_t steps = 0;
  for (double at = 0; at < seconds || steps < kStepsMin;
       at = std::chrono::duration<double>(Clock::now() - began).count(), ++steps) {
    step();
    if (HasFatalFailure()) return;
    auto& most = at < kWarmUp * seconds ? most_early : most_late;
    most = std::max(most, resident_bytes());
    if (Clock::now() - told > std::chrono::seconds(60)) {
      told = Clock::now();
      std::printf(
          "%.0f of %.0f s: %lld steps, %lld logits checked, %lld of them seen before, %.0f MB\n",
          at, seconds, static_cast<long long>(steps), static_cast<long long>(checked_),
          static_cast<long long>(again_), static_cast<double>(resident_bytes()) / 1e6);
      std::fflush(stdout);
    }
  }
  std::printf(
      "%lld steps, %lld logits checked, %lld of them seen before, %lld prompts cancelled and %lld "
      "not, %.0f MB at most, %.0f in the warm-up\n",
      static_cast<long long>(steps), static_cast<long long>(checked_),
      static_cast<long long>(again_), static_cast<long long>(cancelled_),
      static_cast<long long>(not_cancelled_), static_cast<double>(most_late) / 1e6,
      static_cast<double>(most_early) / 1e6);
  const auto use = memory_->report();
  std::printf(
      "sequences held %.1f MB at most of %.1f; %lld times one gave up its work space, %lld times "
      "its cells, %lld times there was no room\n",
      static_cast<double>(use.most) / 1e6, static_cast<double>(use.bytes_max) / 1e6,
      static_cast<long long>(use.parked), static_cast<long long>(use.evicted),
      static_cast<long long>(use.refused));
  EXPECT_LE(use.most, use.bytes_max);
  EXPECT_GT(again_, 0);
  EXPECT_GT(use.parked, 0);
  if (seconds >= 60) {
    EXPECT_GT(again_, 100);
    EXPECT_GT(cancelled_, 10);
    EXPECT_LE(most_late, most_early + kGrowthMax);
  }
}

}  // namespace
}  // namespace lares::engine
