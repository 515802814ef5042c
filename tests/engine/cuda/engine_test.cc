// nano on devices in host memory, through the engine's own interface: the CPU's text, however it is
// asked for and over however many.
#include "engine/cuda/engine.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>

#include "engine/gpus.h"
#include "engine/placement.h"
#include "engine/tokenizer.h"
#include "tests/engine/cuda/engine_case.h"
#include "tests/temporary_directory.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::HasSubstr;

class CudaEngines : public CudaEngine, public testing::WithParamInterface<std::size_t> {
 protected:
  static Engine& gpu() { return gpus(GetParam()); }
};

TEST_P(CudaEngines, DrawsTheCpusTokens) {
  for (const float temperature : {0.0f, 1.0f}) {
    const auto a = cpu().timeline(), b = gpu().timeline();
    ASSERT_EQ(*a->sync(prompt(300), {}, {}), 300);
    ASSERT_EQ(*b->sync(prompt(300), {}, {}), 300);
    EXPECT_EQ(answer(*a, 40, temperature), answer(*b, 40, temperature));
    EXPECT_TRUE(std::ranges::equal(a->tokens(), b->tokens()));
  }
}

// Guesses ahead: as many as it is loaded for, and the CPU's tokens all the same.
TEST_P(CudaEngines, DraftsAsItIsTold) {
  auto text = prompt(60);
  for (int i = 0; i < 60; ++i) text.push_back(text[static_cast<std::size_t>(i)]);
  const auto want = [&](float temperature) {
    const auto t = cpu().timeline();
    EXPECT_TRUE(t->sync(text, {}, {}));
    return answer(*t, 40, temperature);
  };
  const Answer cold = want(0), warm = want(1);
  for (const Drafting drafting : {Drafting::off, Drafting::automatic, Drafting::always}) {
    const auto engine = on_devices(std::vector<std::uint64_t>(GetParam(), kPlenty), {}, {},
                                   drafting);
    ASSERT_TRUE(engine) << engine.error().message;
    EXPECT_EQ(std::ranges::count_if((*engine)->info().notes,
                                    [](const std::string& note) {
                                      return note.starts_with("guesses ahead are copied");
                                    }),
              0);
    DraftStats::Source copied, made;
    for (const bool is_warm : {false, true}) {
      const auto t = (*engine)->timeline();
      ASSERT_TRUE(t->sync(text, {}, {}));
      EXPECT_EQ(answer(*t, 40, is_warm), is_warm ? warm : cold);
      EXPECT_LE(t->drafts().evaluations, 39);
      copied.drafted += t->drafts().copy.drafted;
      copied.accepted += t->drafts().copy.accepted;
      made.drafted += t->drafts().block.drafted;
      made.accepted += t->drafts().block.accepted;
    }
    if (drafting == Drafting::off) {
      EXPECT_EQ(copied.drafted + made.drafted, 0);
    }
    if (drafting == Drafting::always) {
      EXPECT_GT(copied.drafted, 0);
      EXPECT_GT(copied.accepted, 0);
      EXPECT_GT(made.accepted, 0);
    }
  }
}

TEST_P(CudaEngines, ASecondTurnEvaluatesWhatIsNew) {
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

TEST_P(CudaEngines, PrefixesGoBetweenSequencesAndToTheCpu) {
  const auto t = gpu().timeline();
  ASSERT_TRUE(t->sync(prompt(700), {}, {}));
  const PrefixRef prefix = t->prefix(640);
  ASSERT_TRUE(prefix);
  // Farther back than the rings reach, and no place to return to
  EXPECT_EQ(t->prefix(500), nullptr);
  const PrefixRef near = t->prefix(600);
  ASSERT_TRUE(near);
  EXPECT_EQ(prefix->n_pages(), 3);
  const auto fork = gpu().timeline(prefix);
  EXPECT_EQ(*fork->sync(prompt(700), {}, {}), 60);
  const auto want = answer(*t, 12);
  EXPECT_EQ(answer(*fork, 12), want);
  const auto near_fork = gpu().timeline(near);
  EXPECT_EQ(*near_fork->sync(prompt(700), {}, {}), 100);
  EXPECT_EQ(answer(*near_fork, 12), want);
  // The CPU takes the same bytes and goes on: here its kernels computed them.
  const auto on_cpu = cpu().timeline(prefix);
  EXPECT_EQ(*on_cpu->sync(prompt(700), {}, {}), 60);
  EXPECT_EQ(answer(*on_cpu, 12), want);
  // Through bytes, as the daemon's store keeps them.
  auto builder = gpu().prefix_builder(nullptr);
  for (std::int64_t i = 0; i < prefix->n_pages(); ++i)
    std::ranges::copy(prefix->page(i), builder->add_page().begin());
  const auto tokens = prompt(640);
  const auto read = builder->finish(tokens, {prefix->frontier().begin(), prefix->frontier().end()});
  ASSERT_TRUE(read) << read.error().message;
  const auto again = gpu().timeline(*read);
  EXPECT_EQ(*again->sync(prompt(700), {}, {}), 60);
  EXPECT_EQ(answer(*again, 12), want);
  EXPECT_NE(gpu().prefix_format().fingerprint, cpu().prefix_format().fingerprint);
}

TEST_P(CudaEngines, TogetherTheyDrawWhatEachDrawsAlone) {
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

// Wherever it stops: between chunks, and behind every layer, so on every device, of the first chunk
// and of one that follows.
TEST_P(CudaEngines, AStoppedSyncGoesOn) {
  const auto whole = gpu().timeline();
  ASSERT_TRUE(whole->sync(prompt(300), {}, {}));
  const Answer want = answer(*whole, 6);
  // a chunk of more tokens than can be dropped without a frontier
  for (const int begun : {0, 20}) {
    const int n_layers = gpu().info().n_layers;
    for (int at = 1; at <= n_layers + 1; ++at) {
      SCOPED_TRACE(testing::Message() << begun << " tokens before, stopped at " << at);
      const auto t = gpu().timeline();
      if (begun > 0) {
        ASSERT_TRUE(t->sync(prompt(begun), {}, {}));
      }
      std::stop_source stop;
      int asked = 0;
      const auto stopped = t->sync(prompt(300), stop.get_token(), [&](std::int64_t, std::int64_t) {
        if (++asked == at) stop.request_stop();
      });
      ASSERT_FALSE(stopped);
      EXPECT_EQ(stopped.error().code, Errc::cancelled);
      // What follows the last whole chunk is as if it had never been asked for.
      EXPECT_EQ(static_cast<int>(t->tokens().size()), at <= n_layers ? begun : 256);
      ASSERT_TRUE(t->sync(prompt(300), {}, {}));
      EXPECT_EQ(answer(*t, 6), want);
    }
  }
}

// With half of what a device's experts take, on each.
TEST_P(CudaEngines, WithLessMemoryExpertsStayOnTheHostAndTheTextIsTheSame) {
  const std::size_t n = GetParam();
  const auto plan = plan_placement({.directory = kNano,
                                    .gpus = std::vector<std::uint64_t>(n, kPlenty),
                                    .n_context = kContext,
                                    .heat = {}});
  ASSERT_TRUE(plan);
  std::vector<std::uint64_t> half;
  for (const GpuPlacement& gpu : plan->gpus) half.push_back(with_share_of_experts(gpu, 0.5));
  const auto small = on_devices(half);
  ASSERT_TRUE(small) << small.error().message;
  EXPECT_GT((*small)->memory().experts.bytes_max, 0u);
  EXPECT_LT((*small)->memory().experts.resident, (*small)->memory().experts.bytes);
  EXPECT_EQ((*small)->memory().experts.bytes, gpu().memory().experts.bytes);
  const auto a = cpu().timeline(), b = (*small)->timeline();
  ASSERT_TRUE(a->sync(prompt(150), {}, {}));
  ASSERT_TRUE(b->sync(prompt(150), {}, {}));
  EXPECT_EQ(answer(*a, 10), answer(*b, 10));
  half.back() = 1 << 20;
  const auto none = on_devices(half);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::no_memory);
  EXPECT_THAT(none.error().message, HasSubstr(n == 1 ? "on one GPU" : std::to_string(n) + " GPUs"));
}

TEST_F(CudaEngine, SaysWhatBecomesOfExpertsThatHaveNoRoom) {
  const PlacementRequest half = lacking(0.5);
  const auto plan = plan_placement(half);
  ASSERT_TRUE(plan && plan->misses == Misses::computed_or_pass);
  const auto a = cpu().timeline();
  ASSERT_TRUE(a->sync(prompt(150), {}, {}));
  const Answer want = answer(*a, 5);
  const auto told = [&](const Host& host) {
    const auto engine = on_devices(half.gpus, {}, host, Drafting::automatic);
    EXPECT_TRUE(engine) << engine.error().message;
    if (!engine) return std::string();
    const auto b = (*engine)->timeline();
    EXPECT_TRUE(b->sync(prompt(150), {}, {}));
    EXPECT_EQ(answer(*b, 5), want);
    EXPECT_EQ(b->drafts().block.drafted, 0);
    EXPECT_THAT((*engine)->info().notes,
                testing::Contains("guesses ahead are copied from the text alone: the checkpoint's "
                                  "draft blocks have no room beside all experts"));
    EXPECT_GT((*engine)->memory().experts.missed, 0);
    for (const std::string& note : (*engine)->info().notes)
      if (note.starts_with("device 0 has no room for " +
                           std::to_string(48 - plan->gpus[0].n_experts) + " of its experts: "))
        return note;
    return std::string();
  };
  EXPECT_THAT(told({}), HasSubstr(": the CPU computes them for fewer than 65 tokens, for more they "
                                  "come to it from 0.0 GB of pinned memory"));
  EXPECT_THAT(told({.bytes = plan->host.total() - 1}),
              HasSubstr(": those that are asked for come to it from"));
  EXPECT_THAT(
      told({.pinned_refused = 0}),
      testing::AllOf(
          HasSubstr(": the CPU computes them, for 2048 tokens of a prompt in about "),
          HasSubstr("; they could not come to it: bring experts to device 0: pinned host memory")));
}

// What one run was asked for stays on the device in the next, which finds more of its uses there
// and gives the same text.
TEST_F(CudaEngine, WhatIsAskedForStaysInTheNextRun) {
  const TemporaryDirectory made;
  const std::string& directory = made.path();
  const PlacementRequest some = lacking(0.6);
  struct Run {
    double found;
    std::int64_t remembered;
    Answer answer;
  };
  const auto run = [&] {
    const auto engine = on_devices(some.gpus, {}, {.heat_directory = directory});
    EXPECT_TRUE(engine) << engine.error().message;
    const auto t = (*engine)->timeline();
    EXPECT_TRUE(t->sync(prompt(40), {}, {}));
    const Answer drawn = answer(*t, 60);
    const auto experts = (*engine)->memory().experts;
    EXPECT_EQ(experts.unkept, "");
    return Run{
        static_cast<double>(experts.found) / static_cast<double>(experts.found + experts.missed),
        experts.remembered, drawn};
  };
  const Run first = run(), second = run();
  std::printf("  found %.3f, then %.3f\n", first.found, second.found);
  EXPECT_EQ(first.remembered, 0);
  EXPECT_GT(second.remembered, 0);
  EXPECT_GT(second.found, first.found + 0.1);
  EXPECT_EQ(second.answer, first.answer);
  // One file for a checkpoint, of the name that the CPU's engine looks for.
  ASSERT_FALSE(std::filesystem::is_empty(directory));
  const auto file = *std::filesystem::directory_iterator(directory);
  EXPECT_THAT(file.path().filename().string(), testing::MatchesRegex("expert-heat-.*\\.bin"));
  std::filesystem::resize_file(file.path(), 20);
  const auto damaged = on_devices(some.gpus, {}, {.heat_directory = directory});
  ASSERT_TRUE(damaged);
  EXPECT_EQ((*damaged)->memory().experts.remembered, 0);
  EXPECT_THAT((*damaged)->info().notes,
              testing::Contains(HasSubstr("it is not used, and written anew")));
}

// What one device made two go on with, and the reverse; a store of the one serves the other.
TEST_P(CudaEngines, PrefixesAreThoseOfOneDevice) {
  Engine &one = gpus(1), &several = gpu();
  EXPECT_EQ(one.prefix_format().fingerprint, several.prefix_format().fingerprint);
  const auto a = one.timeline(), b = several.timeline();
  ASSERT_TRUE(a->sync(prompt(700), {}, {}));
  ASSERT_TRUE(b->sync(prompt(700), {}, {}));
  const PrefixRef of_one = a->prefix(640), of_several = b->prefix(640);
  ASSERT_TRUE(of_one && of_several);
  ASSERT_EQ(of_one->n_pages(), of_several->n_pages());
  for (std::int64_t i = 0; i < of_one->n_pages(); ++i)
    EXPECT_TRUE(std::ranges::equal(of_one->page(i), of_several->page(i))) << "page " << i;
  EXPECT_TRUE(std::ranges::equal(of_one->frontier(), of_several->frontier()));
  const Answer want = answer(*a, 12);
  EXPECT_EQ(answer(*b, 12), want);
  const auto c = one.timeline(of_several), d = several.timeline(of_one);
  EXPECT_EQ(*c->sync(prompt(700), {}, {}), 60);
  EXPECT_EQ(*d->sync(prompt(700), {}, {}), 60);
  EXPECT_EQ(answer(*c, 12), want);
  EXPECT_EQ(answer(*d, 12), want);
}

INSTANTIATE_TEST_SUITE_P(, CudaEngines, testing::Values(1, 2, 3),
                         [](const auto& p) { return "on_" + std::to_string(p.param); });

TEST_F(CudaEngine, SaysWhichLayersAreWhere) {
  const auto& notes = gpus(2).info().notes;
  EXPECT_THAT(notes,
              testing::IsSupersetOf(
                  {testing::AllOf(HasSubstr("that device 0 gives"),
                                  HasSubstr("layers 0 to 2, 24 of 24 experts")),
                   testing::AllOf(HasSubstr("that device 1 gives"),
                                  HasSubstr("layers 3 to 5 and the head, 24 of 24 experts"))}));
  // More of them than layers: one has the head alone, and one nothing.
  const auto many = on_devices(std::vector<std::uint64_t>(8, kPlenty));
  ASSERT_TRUE(many) << many.error().message;
  EXPECT_EQ(
      std::ranges::count_if((*many)->info().notes,
                            [](const std::string& note) {
                              return note.ends_with("is not used: the other GPUs have all layers");
                            }),
      1);
  EXPECT_THAT((*many)->info().notes,
              testing::Contains(testing::AllOf(HasSubstr("that device 7 gives"),
                                               HasSubstr("planned: the head, and a context"))));
  const auto a = gpu().timeline(), b = (*many)->timeline();
  ASSERT_TRUE(a->sync(prompt(50), {}, {}));
  ASSERT_TRUE(b->sync(prompt(50), {}, {}));
  EXPECT_EQ(answer(*a, 5), answer(*b, 5));
}

// A GPU with wgmma, whose products of many tokens by it are right, or not.
class WgmmaDevice : public HostDevice {
 public:
  explicit WgmmaDevice(bool right) : right_(right) {}
  bool has_wgmma() const override { return true; }
  void use_wgmma(bool use) override { use_ = use; }
  bool uses_wgmma() const { return use_; }
  void linear(std::span<const kc::LinearArgs> together, const kc::HyperMixes& mixes) override {
    HostDevice::linear(together, mixes);
    if (right_ || !use_ || together[0].n_tokens <= kc::kTokensFew) return;
    run("a wrong bit", [y = static_cast<std::uint8_t*>(together[0].y)] { *y ^= 1; });
  }

 private:
  const bool right_;
  bool use_ = true;
};

TEST_F(CudaEngine, AGpuWhoseFasterWayIsWrongDoesWithout) {
  struct Way {
    bool right;
    std::int64_t n_context;
    bool used;
  };
  // With a context that no prompt to compare has room in nobody knows, and it goes without.
  constexpr std::int64_t kRoomy = 600;
  for (const Way& way :
       {Way{true, kRoomy, true}, Way{false, kRoomy, false}, Way{true, 40, false}}) {
    auto weights = load_weights(kNano, {});
    ASSERT_TRUE(weights);
    cuda::EngineParts parts{.gpus = {}, .weights = std::move(*weights), .tokenizer = nullptr};
    auto device = std::make_unique<WgmmaDevice>(way.right);
    const WgmmaDevice& watched = *device;
    parts.gpus.push_back({std::move(device), kPlenty});
    const auto engine = cuda::make_engine(std::move(parts),
                                          {.directory = kNano,
                                           .n_threads = 2,
                                           .n_context = way.n_context,
                                           .text = false,
                                           .drafting = Drafting::off},
                                          {});
    ASSERT_TRUE(engine) << engine.error().message;
    EXPECT_EQ(watched.uses_wgmma(), way.used);
    EXPECT_EQ(device_fault((*engine)->info()).empty(), way.right);
    const auto here = (*engine)->timeline(), there = cpu().timeline();
    const int n = way.n_context == kRoomy ? 300 : 20;
    for (const auto& t : {here.get(), there.get()}) ASSERT_TRUE(t->sync(prompt(n), {}, {}));
    EXPECT_EQ(answer(*here, 10), answer(*there, 10));
  }
}

// What it evaluates to compare is nobody's use of an expert.
TEST_F(CudaEngine, ComparingLeavesNoHeat) {
  const TemporaryDirectory made;
  const std::string& directory = made.path();
  auto weights = load_weights(kNano, {});
  ASSERT_TRUE(weights);
  cuda::EngineParts parts{.gpus = {}, .weights = std::move(*weights), .tokenizer = nullptr};
  const PlacementRequest some = lacking(0.5);
  parts.gpus.push_back({std::make_unique<WgmmaDevice>(true), some.gpus.front()});
  {
    const auto engine = cuda::make_engine(std::move(parts),
                                          {.directory = kNano,
                                           .n_threads = 2,
                                           .n_context = 600,
                                           .heat_directory = directory,
                                           .text = false,
                                           .drafting = Drafting::off},
                                          {});
    ASSERT_TRUE(engine) << engine.error().message;
    EXPECT_EQ((*engine)->memory().experts.missed, 0);
    EXPECT_EQ((*engine)->memory().experts.found, 0);
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory));
}

// Host pages are where the devices copy to and from without a stop, and are counted.
TEST_F(CudaEngine, HostPagesArePinned) {
  auto weights = load_weights(kNano, {});
  ASSERT_TRUE(weights);
  cuda::EngineParts parts{.gpus = {}, .weights = std::move(*weights), .tokenizer = nullptr};
  auto made = std::make_unique<HostDevice>();
  const auto pinned = made->others;
  parts.gpus.push_back({std::move(made), kPlenty});
  auto engine = cuda::make_engine(
      std::move(parts), {.directory = kNano, .n_threads = 2, .n_context = kContext, .text = false},
      {});
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_EQ(pinned->bytes(), 0u);
  auto t = (*engine)->timeline();
  ASSERT_TRUE(t->sync(prompt(600), {}, {}));
  const std::uint64_t before = (*engine)->memory().sequences.bytes;
  PrefixRef prefix = t->prefix(600);
  ASSERT_EQ(prefix->n_pages(), 3);
  for (std::int64_t i = 0; i < 3; ++i)
    EXPECT_TRUE(pinned->has(prefix->page(i).data(), prefix->page(i).size())) << i;
  EXPECT_GE((*engine)->memory().sequences.bytes - before, 3 * prefix->page(0).size());
  const auto builder = (*engine)->prefix_builder(nullptr);
  EXPECT_TRUE(pinned->has(builder->add_page().data(), prefix->page(0).size()));
  t = nullptr;
  *engine = nullptr;
  EXPECT_GT(pinned->bytes(), 0u);  // what is still there outlives the engine
}

TEST_F(CudaEngine, BadInputIsSaid) {
  const auto t = gpu().timeline();
  EXPECT_EQ(t->sync({}, {}, {}).error().code, Errc::bad_argument);
  EXPECT_EQ(t->sync(std::vector<Token>{99999}, {}, {}).error().code, Errc::bad_argument);
  EXPECT_EQ(t->sync(std::vector<Token>(kContext + 1, 1), {}, {}).error().code, Errc::too_long);
  EXPECT_EQ(t->next({}, nullptr).error().code, Errc::bad_argument);
  using Numbers = std::vector<int>;
  EXPECT_EQ(*cuda::device_numbers("cuda"), Numbers{0});
  EXPECT_EQ(*cuda::device_numbers("cuda:3"), Numbers{3});
  EXPECT_EQ(*cuda::device_numbers("cuda:1,0,12"), (Numbers{1, 0, 12}));
  for (const char* bad : {"", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:1 ", "cuda:99999",
                          "cuda:0,", "cuda:,0", "cuda:0,,1", "cuda:0;1", "cuda,1", "cuda:0-1"})
    EXPECT_THAT(cuda::device_numbers(bad).error().message, HasSubstr("cuda:0,1 for several GPUs"))
        << bad;
  EXPECT_THAT(cuda::device_numbers("cuda:2,1,2").error().message,
              HasSubstr("GPU 2 is there twice"));
  const auto refused = load_on({.device = "cuda:700"}, {.directory = kNano}, {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("use GPU 700"));
}

}  // namespace
}  // namespace lares::engine
