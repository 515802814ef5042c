// nano on a device in host memory, through the engine's own interface: the CPU's text, however it is asked for.
#include "engine/cuda/engine.h"

#include <gmock/gmock.h>

#include "engine/gpus.h"
#include "engine/placement.h"
#include "engine/tokenizer.h"
#include "tests/engine/host_device.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::HasSubstr;

const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";
constexpr std::int64_t kContext = 4096;

std::vector<Token> prompt(int n, int from = 0) {
  std::vector<Token> out;
  for (int i = from; i < from + n; ++i) out.push_back(2 + i * 7919 % 1200);
  return out;
}

// With so much device memory; the greatest number: enough.
Result<std::unique_ptr<Engine>> on_device(std::uint64_t bytes) {
  auto weights = load_weights(kNano, {});
  if (!weights) return tl::unexpected(weights.error());
  const LoadOptions options{.directory = kNano, .n_threads = 2, .n_context = kContext, .text = false};
  return cuda::make_engine({.device = std::make_unique<HostDevice>(), .device_memory = bytes, .weights = std::move(*weights), .tokenizer = nullptr, .name = "a device in host memory"}, options, {});
}

struct Answer {
  std::vector<Token> tokens;
  std::vector<float> logprobs;
  bool operator==(const Answer&) const = default;
};
Answer answer(Timeline& t, int n, float temperature = 0) {
  Answer out;
  for (int i = 0; i < n; ++i) {
    const auto token = t.next({.temperature = temperature, .seed = 11}, nullptr);
    EXPECT_TRUE(token) << token.error().message;
    if (!token) break;
    out.tokens.push_back(*token);
    out.logprobs.push_back(t.logprobs(1).drawn);
  }
  return out;
}

class CudaEngine : public testing::Test {
 protected:
  static Engine& cpu() {
    static const auto engine = load({.directory = kNano, .n_threads = 2, .n_context = kContext, .text = false, .drafting = Drafting::off}, {});
    return **engine;
  }
  static Engine& gpu() {
    static const auto engine = on_device(std::uint64_t{1} << 32);
    EXPECT_TRUE(engine) << engine.error().message;
    return **engine;
  }
};

TEST_F(CudaEngine, DrawsTheCpusTokens) {
  for (const float temperature : {0.0f, 1.0f}) {
    const auto a = cpu().timeline(), b = gpu().timeline();
    ASSERT_EQ(*a->sync(prompt(300), {}, {}), 300);
    ASSERT_EQ(*b->sync(prompt(300), {}, {}), 300);
    EXPECT_EQ(answer(*a, 40, temperature), answer(*b, 40, temperature));
    EXPECT_TRUE(std::ranges::equal(a->tokens(), b->tokens()));
  }
}

TEST_F(CudaEngine, ASecondTurnEvaluatesWhatIsNew) {
  const auto t = gpu().timeline();
  ASSERT_EQ(*t->sync(prompt(200), {}, {}), 200);
  const auto first = answer(*t, 10);
  std::vector<Token> more(t->tokens().begin(), t->tokens().end());
  EXPECT_EQ(*t->sync(more, {}, {}), 1);  // the last one drawn
  EXPECT_EQ(*t->sync(more, {}, {}), 0);
  const auto added = prompt(30, 700);
  more.insert(more.end(), added.begin(), added.end());
  EXPECT_EQ(*t->sync(more, {}, {}), 30);
  // Back to what was before the answer, and the same answer again.
  EXPECT_LE(*t->sync(prompt(200), {}, {}), 200 - 128 + 1);
  EXPECT_EQ(answer(*t, 10), first);
}

TEST_F(CudaEngine, PrefixesGoBetweenSequencesAndToTheCpu) {
  const auto t = gpu().timeline();
  ASSERT_TRUE(t->sync(prompt(700), {}, {}));
  const PrefixRef prefix = t->prefix(640);
  ASSERT_TRUE(prefix);
  EXPECT_EQ(t->prefix(600), nullptr);
  EXPECT_EQ(prefix->n_pages(), 3);
  const auto fork = gpu().timeline(prefix);
  EXPECT_EQ(*fork->sync(prompt(700), {}, {}), 60);
  const auto want = answer(*t, 12);
  EXPECT_EQ(answer(*fork, 12), want);
  // The CPU takes the same bytes and goes on: here its kernels computed them.
  const auto on_cpu = cpu().timeline(prefix);
  EXPECT_EQ(*on_cpu->sync(prompt(700), {}, {}), 60);
  EXPECT_EQ(answer(*on_cpu, 12), want);
  // Through bytes, as the daemon's store keeps them.
  auto builder = gpu().prefix_builder(nullptr);
  for (std::int64_t i = 0; i < prefix->n_pages(); ++i) std::ranges::copy(prefix->page(i), builder->add_page().begin());
  const auto tokens = prompt(640);
  const auto read = builder->finish(tokens, {prefix->frontier().begin(), prefix->frontier().end()});
  ASSERT_TRUE(read) << read.error().message;
  const auto again = gpu().timeline(*read);
  EXPECT_EQ(*again->sync(prompt(700), {}, {}), 60);
  EXPECT_EQ(answer(*again, 12), want);
  EXPECT_NE(gpu().prefix_format().fingerprint, cpu().prefix_format().fingerprint);
}

TEST_F(CudaEngine, TogetherTheyDrawWhatEachDrawsAlone) {
  std::vector<std::unique_ptr<Timeline>> alone, together;
  for (int i = 0; i < 3; ++i) {
    alone.push_back(gpu().timeline());
    together.push_back(gpu().timeline());
    ASSERT_TRUE(alone.back()->sync(prompt(100 + 60 * i, i), {}, {}));
    ASSERT_TRUE(together.back()->sync(prompt(100 + 60 * i, i), {}, {}));
  }
  std::vector<Answer> want, got(3);
  for (const auto& t : alone) want.push_back(answer(*t, 8));
  std::vector<Timeline*> all;
  for (const auto& t : together) all.push_back(t.get());
  for (int step = 0; step < 8; ++step) {
    gpu().evaluate_together(all);
    for (std::size_t i = 0; i < 3; ++i) {
      const Answer one = answer(*all[i], 1);
      got[i].tokens.push_back(one.tokens.front());
      got[i].logprobs.push_back(one.logprobs.front());
    }
  }
  EXPECT_EQ(got, want);
}

TEST_F(CudaEngine, AStoppedSyncGoesOn) {
  const auto t = gpu().timeline(), whole = gpu().timeline();
  std::stop_source stop;
  int asked = 0;
  const auto stopped = t->sync(prompt(700), stop.get_token(), [&](std::int64_t, std::int64_t) {
    if (++asked == 3) stop.request_stop();
  });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Errc::cancelled);
  EXPECT_TRUE(t->tokens().empty());
  ASSERT_TRUE(t->sync(prompt(700), {}, {}));
  ASSERT_TRUE(whole->sync(prompt(700), {}, {}));
  EXPECT_EQ(answer(*t, 6), answer(*whole, 6));
}

TEST_F(CudaEngine, WithLessMemoryExpertsStayOnTheHostAndTheTextIsTheSame) {
  const auto plan = plan_placement({.directory = kNano, .gpus = {std::uint64_t{1} << 32}, .n_context = kContext, .heat = {}});
  ASSERT_TRUE(plan);
  const std::uint64_t half = plan->gpus[0].fixed() + plan->gpus[0].experts / 2;
  const auto small = on_device(half);
  ASSERT_TRUE(small) << small.error().message;
  EXPECT_GT((*small)->memory().experts.bytes_max, 0u);
  EXPECT_LT((*small)->memory().experts.resident, (*small)->memory().experts.bytes);
  const auto a = gpu().timeline(), b = (*small)->timeline();
  ASSERT_TRUE(a->sync(prompt(150), {}, {}));
  ASSERT_TRUE(b->sync(prompt(150), {}, {}));
  EXPECT_EQ(answer(*a, 10), answer(*b, 10));
  const auto none = on_device(1 << 20);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::no_memory);
}

TEST_F(CudaEngine, BadInputIsSaid) {
  const auto t = gpu().timeline();
  EXPECT_EQ(t->sync({}, {}, {}).error().code, Errc::bad_argument);
  EXPECT_EQ(t->sync(std::vector<Token>{99999}, {}, {}).error().code, Errc::bad_argument);
  EXPECT_EQ(t->sync(std::vector<Token>(kContext + 1, 1), {}, {}).error().code, Errc::too_long);
  EXPECT_EQ(t->next({}, nullptr).error().code, Errc::bad_argument);
  EXPECT_EQ(*cuda::device_number("cuda"), 0);
  EXPECT_EQ(*cuda::device_number("cuda:3"), 3);
  for (const char* bad : {"", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:1 ", "cuda:99999"}) EXPECT_FALSE(cuda::device_number(bad)) << bad;
  const auto refused = load_on({.device = "cuda:700"}, {.directory = kNano}, {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("use GPU 700"));
}

}  // namespace
}  // namespace lares::engine
