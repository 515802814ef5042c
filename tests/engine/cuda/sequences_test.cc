// More sequences than the GPUs have room for: who waits goes to host memory and comes back, to the
// bit what it would have been; host memory is counted and stays within its bound in turn.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "engine/cuda/timeline.h"
#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using cuda::DeviceTimeline;
using cuda::Pipeline;
using testing::AllOf;
using testing::AnyOf;
using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::Gt;
using testing::HasSubstr;
using testing::Le;
using testing::Lt;
using testing::Not;
using testing::SizeIs;
using namespace std::chrono_literals;

constexpr std::int64_t kContext = 4096;
const DraftOptions kDrafts{.mode = Drafting::always, .block = false};

// A model over devices, with room for so many pages; its layers are cut where the test says.
struct Model {
  Model(const std::string& golden, const std::vector<int>& cuts, std::int64_t n_pages)
      : weights(golden_weights(golden)) {
    std::vector<cuda::Device*> all;
    for (std::size_t k = 0; k <= cuts.size(); ++k)
      all.push_back(devices.emplace_back(std::make_unique<HostDevice>()).get());
    // What is asked for happens as late as it may
    devices.back()->ahead = HostDevice::Ahead::copies;
    auto made = pipeline_over(
        all, *weights, cuts, {.n_pages = n_pages, .forward = {.chunk = 128, .n_context = kContext}},
        pool);
    EXPECT_TRUE(made) << made.error().message;
    pipeline = std::move(*made);
  }
  std::unique_ptr<DeviceTimeline> timeline(const SequenceMemoryRef& memory,
                                           const PrefixRef& from = nullptr,
                                           const DraftOptions& drafts = kDrafts) {
    return std::make_unique<DeviceTimeline>(
        DeviceTimeline::Shared{*weights, *pipeline, kContext, nullptr, drafts, memory},
        std::static_pointer_cast<const ModelPrefix>(from));
  }
  std::size_t launches() const {
    std::size_t n = 0;
    for (const auto& device : devices) n += device->launches.size();
    return n;
  }
  std::size_t bytes() const {
    std::size_t n = 0;
    for (const auto& device : devices) n += device->n_bytes();
    return n;
  }
  std::int64_t brought() const {
    std::int64_t n = 0;
    for (const cuda::Stage& stage : pipeline->stages()) n += stage.cache->brought();
    return n;
  }
  std::size_t page_bytes() const { return pipeline->layout().bytes; }

  std::unique_ptr<Weights> weights;
  kernels::ThreadPool pool{2};
  std::vector<std::unique_ptr<HostDevice>> devices;
  std::unique_ptr<Pipeline> pipeline;
};

// Who wants room on the GPUs and has nothing there.
class Asker : public SequenceHolder {
 public:
  bool give_back(Give) override { return false; }
};

// A model, and where it is cut.
struct Where {
  const char* golden;
  std::vector<int> cuts;
};

class CudaSequences : public testing::TestWithParam<Where> {
 protected:
  static constexpr std::int64_t kPlenty = 64;  // pages

  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    if (kWatched && !name.starts_with("GiveBackOnOneThread"))
      GTEST_SKIP() << "on one thread: watched it shows nothing more";
  }

  Model model(std::int64_t n_pages = kPlenty) const {
    return {GetParam().golden, GetParam().cuts, n_pages};
  }
  static std::vector<Token> tokens(std::int64_t n, unsigned seed) {
    std::vector<Token> out;
    std::uint32_t x = seed * 2654435761u + 1;
    for (std::int64_t i = 0; i < n; ++i) {
      x = x * 1664525u + 1013904223u;
      out.push_back(i >= 40 && x >> 30 != 0 ? out[static_cast<std::size_t>(i) - 40]
                                            : static_cast<Token>((x >> 8) % 500));
    }
    return out;
  }
  // Tokens, and the bits of what the model says about them.
  static std::vector<Token> draw(Timeline& t, int n) {
    std::vector<Token> out;
    for (int i = 0; i < n; ++i) {
      const auto token = t.next({.temperature = 0.7f, .seed = 4}, nullptr);
      EXPECT_TRUE(token) << token.error().message;
      if (!token) return out;
      out.push_back(*token);
      out.push_back(std::bit_cast<Token>(t.logprobs(1).drawn));
    }
    return out;
  }
  // Everybody who may leaves the GPUs.
  static int clear(SequenceMemory& memory) {
    Asker asker;
    const std::lock_guard lock(asker.busy);
    int n = 0;
    while (memory.clear_device(&asker) == SequenceMemory::Cleared::one) ++n;
    return n;
  }
  // Asks for more host memory than there can be: whoever waits gives back all it may.
  static void squeeze(SequenceMemory& memory) {
    EXPECT_FALSE(memory.make_room(memory.bytes_max() + 1, nullptr, "squeeze"));
  }
};

// Whenever it has to leave, and whether its cells are kept, the draws are the same.
TEST_P(CudaSequences, GoOnAsIfTheyHadNotLeft) {
  Model m = model();
  for (const bool evict : {false, true}) {
    SCOPED_TRACE(evict ? "without cells" : "with cells");
    const auto memory = std::make_shared<SequenceMemory>(1'000'000'000, evict ? 0s : 3600s),
               free = std::make_shared<SequenceMemory>();
    const auto go = [&] {
      clear(*memory);
      if (evict) squeeze(*memory);
    };
    const auto base = [&] {
      auto t = m.timeline(memory);
      EXPECT_TRUE(t->sync(tokens(320, 3), {}, {}));
      return t->prefix(320);
    }();
    ASSERT_TRUE(base);
    auto text = tokens(320, 3);
    for (const Token t : tokens(253, 4)) text.push_back(t);
    for (const bool forked : {false, true}) {
      auto one = m.timeline(memory, forked ? base : nullptr),
           plain = m.timeline(free, forked ? base : nullptr);
      const auto both = [&](auto f) {
        EXPECT_EQ(f(*one), f(*plain)) << (forked ? "a fork" : "from nothing");
      };
      const auto sync = [&](std::size_t n) {
        return [&, n](DeviceTimeline& t) {
          EXPECT_TRUE(t.sync(std::span(text).first(n), {}, {}));
          return n;
        };
      };
      const auto drawn = [&](DeviceTimeline& t) { return draw(t, 6); };
      go();
      both(sync(360));
      go();
      both(drawn);
      both(sync(520));
      both(drawn);
      go();
      go();
      both([](DeviceTimeline& t) { return t.logprobs(2).top; });
      both(drawn);
      go();
      const std::vector<Token> all(one->tokens().begin(), one->tokens().end());
      EXPECT_EQ(all, std::vector<Token>(plain->tokens().begin(), plain->tokens().end()));
      both([&](DeviceTimeline& t) {
        EXPECT_TRUE(t.sync(all, {}, {}));
        return draw(t, 9);
      });
      go();
      both(sync(321));  // back, in the fork's case to where it began
      both(drawn);
      go();
      both(sync(300));  // and before that
      go();
      both([&](DeviceTimeline& t) {  // and on with other tokens than it began with
        auto other = tokens(300, 3);
        for (const Token token : tokens(40, 5)) other.push_back(token);
        EXPECT_TRUE(t.sync(other, {}, {}));
        return draw(t, 2);
      });
      go();
      both(drawn);
      go();
      both(sync(573));
      both(drawn);
    }
    EXPECT_EQ(memory->report().evicted > 0, evict);
    EXPECT_GT(memory->report().parked, 0);
  }
}

// Conversations in turn, each with more than half of the pages that there are.
TEST_P(CudaSequences, MoreOfThemThanPages) {
  constexpr unsigned kMany = 3;
  Model m = model(5), roomy = model();
  const auto memory = std::make_shared<SequenceMemory>(), free = std::make_shared<SequenceMemory>();
  std::vector<std::unique_ptr<DeviceTimeline>> some, plain;
  for (unsigned i = 0; i < kMany; ++i) {
    some.push_back(m.timeline(memory));
    plain.push_back(roomy.timeline(free));
  }
  for (const bool second : {false, true})
    for (unsigned i = 0; i < kMany; ++i) {
      std::vector<Token> text(plain[i]->tokens().begin(), plain[i]->tokens().end());
      for (const Token t : tokens(second ? 50 : 700, i)) text.push_back(t);
      const auto a = plain[i]->sync(text, {}, {}), b = some[i]->sync(text, {}, {});
      ASSERT_TRUE(b) << b.error().message;
      EXPECT_EQ(*a, *b) << "what had left is not evaluated again";
      EXPECT_EQ(draw(*some[i], 4), draw(*plain[i], 4));
    }
  EXPECT_GE(memory->report().parked, 2 * kMany - 2);
  EXPECT_EQ(memory->report().evicted, 0);
  EXPECT_EQ(memory->report().refused, 0);
}

// Who comes back finds what nobody needed in the meantime.
TEST_P(CudaSequences, OnlyWhatIsGoneIsBroughtBack) {
  Model m = model(5);
  const auto memory = std::make_shared<SequenceMemory>();
  const auto t = m.timeline(memory), other = m.timeline(memory);
  ASSERT_TRUE(t->sync(tokens(600, 1), {}, {}));  // two pages, and one that is not whole
  ASSERT_EQ(clear(*memory), 1);
  const auto stages = static_cast<std::int64_t>(m.pipeline->stages().size());
  const auto back = [&] {
    const std::int64_t before = m.brought();
    draw(*t, 1);
    EXPECT_EQ(clear(*memory), 1);
    return (m.brought() - before) / stages;
  };
  EXPECT_EQ(back(), 1);                               // the one that is not whole
  ASSERT_TRUE(other->sync(tokens(1200, 2), {}, {}));  // takes all pages
  ASSERT_EQ(clear(*memory), 1);
  EXPECT_EQ(back(), 3);
}

// It goes on within the last page there is, which a copy that nobody needs must not keep from it.
TEST_P(CudaSequences, InTheLastPageThereIs) {
  Model m = model(3);
  const auto memory = std::make_shared<SequenceMemory>();
  const auto t = m.timeline(memory), other = m.timeline(memory);
  ASSERT_TRUE(t->sync(tokens(600, 1), {}, {}));
  ASSERT_TRUE(other->sync(tokens(600, 2), {}, {}));
  auto longer = tokens(600, 1);
  for (const Token token : tokens(100, 5)) longer.push_back(token);
  for (int round = 0; round < 2; ++round) {
    const auto done = t->sync(longer, {}, {});
    ASSERT_TRUE(done) << done.error().message;
    ASSERT_TRUE(t->sync(tokens(768, 1), {}, {}));  // all three, which the GPU then knows
    ASSERT_TRUE(t->prefix(768));
    auto other_end = tokens(700, 1);
    for (const Token token : tokens(60, 6)) other_end.push_back(token);
    const auto back = t->sync(other_end, {}, {});
    ASSERT_TRUE(back) << back.error().message;
    ASSERT_TRUE(t->sync(tokens(600, 1), {}, {}));
    ASSERT_EQ(draw(*other, 1).size(), 2u);
    EXPECT_EQ(memory->report().refused, 0);
  }
}

// A prompt that shares little with what has left brings that back and no more.
TEST_P(CudaSequences, NoMoreComesBackThanIsWanted) {
  Model m = model(8), roomy = model();
  const auto memory = std::make_shared<SequenceMemory>();
  const auto stages = static_cast<std::int64_t>(m.pipeline->stages().size());
  const auto others = std::make_shared<SequenceMemory>();
  for (const std::int64_t shared : {0, 300, 600}) {
    const auto t = m.timeline(memory), plain = roomy.timeline(others), other = m.timeline(memory);
    ASSERT_TRUE(t->sync(tokens(600, 1), {}, {}));
    ASSERT_TRUE(plain->sync(tokens(600, 1), {}, {}));
    ASSERT_GE(clear(*memory), 1);
    ASSERT_TRUE(other->sync(tokens(2000, 2), {}, {}));  // takes all pages
    auto text = tokens(shared, 1);
    for (const Token token : tokens(50, 6)) text.push_back(token);
    const std::int64_t before = m.brought();
    ASSERT_TRUE(t->sync(text, {}, {}));
    EXPECT_EQ((m.brought() - before) / stages, shared == 600 ? 3 : shared == 300 ? 1 : 0) << shared;
    ASSERT_TRUE(plain->sync(text, {}, {}));
    EXPECT_EQ(draw(*t, 3), draw(*plain, 3)) << shared;
  }
}

// No launch, no copy: all of it is in host memory.
TEST_P(CudaSequences, WhatHasLeftIsSharedWithoutTheGpus) {
  Model m = model();
  const auto memory = std::make_shared<SequenceMemory>();
  const auto t = m.timeline(memory);
  ASSERT_TRUE(t->sync(tokens(300, 1), {}, {}));
  ASSERT_EQ(clear(*memory), 1);
  for (const std::int64_t n : {256, 300}) {
    const std::size_t before = m.launches();
    const PrefixRef here = t->prefix(n);
    ASSERT_TRUE(here) << n;
    EXPECT_EQ(m.launches(), before);
    const auto plain = m.timeline(memory);
    ASSERT_TRUE(plain->sync(tokens(n, 1), {}, {}));
    const PrefixRef there = plain->prefix(n);
    ASSERT_TRUE(there);
    ASSERT_EQ(here->n_pages(), there->n_pages());
    for (std::int64_t i = 0; i < here->n_pages(); ++i)
      EXPECT_TRUE(std::ranges::equal(here->page(i), there->page(i))) << n << ", page " << i;
    EXPECT_TRUE(std::ranges::equal(here->frontier(), there->frontier()));
    const auto fork = m.timeline(memory, here);
    EXPECT_EQ(draw(*fork, 3), draw(*plain, 3));
  }
  EXPECT_FALSE(t->prefix(299));
}

// What the GPUs have too costs nothing to give back, is not evaluated again, and where others still
// hold it is not copied again either.
TEST_P(CudaSequences, OnTheGpusNothingIsLost) {
  Model m = model();
  const auto memory = std::make_shared<SequenceMemory>(1'000'000'000, 0s);
  const auto t = m.timeline(memory);
  ASSERT_TRUE(t->sync(tokens(600, 1), {}, {}));
  PrefixRef first = t->prefix(600);
  const std::size_t on_gpus = m.bytes();
  squeeze(*memory);
  EXPECT_EQ(m.bytes(), on_gpus);
  EXPECT_EQ(memory->report().evicted, 0);
  const PrefixRef second = t->prefix(600);
  EXPECT_EQ(second->page(0).data(), first->page(0).data());
  EXPECT_TRUE(std::ranges::equal(second->page(2), first->page(2)));
  const std::uint64_t held = memory->held();
  first = nullptr;
  EXPECT_GE(held - memory->held(), m.page_bytes());  // the one that is not whole is each's own
  const auto again = t->sync(tokens(600, 1), {}, {});
  EXPECT_EQ(*again, 0);
}

// Drawing together: those without a place on the GPUs draw alone, and all what they would anyway.
TEST_P(CudaSequences, TogetherBeyondTheirNumber) {
  constexpr unsigned kMany = 5;
  Model m = model(), roomy = model();
  m.pipeline->set_states_max(3);
  const auto memory = std::make_shared<SequenceMemory>(), free = std::make_shared<SequenceMemory>();
  std::vector<std::unique_ptr<DeviceTimeline>> some, plain;
  std::vector<DeviceTimeline*> all;
  for (unsigned i = 0; i < kMany; ++i) {
    some.push_back(m.timeline(memory));
    plain.push_back(roomy.timeline(free));
    all.push_back(some.back().get());
    const auto text = tokens(200 + 10 * i, i);
    ASSERT_TRUE(some.back()->sync(text, {}, {}));
    ASSERT_TRUE(plain.back()->sync(text, {}, {}));
    EXPECT_EQ(draw(*some.back(), 1), draw(*plain.back(), 1));
  }
  m.devices.front()->launches.clear();
  for (int step = 0; step < 4; ++step) {
    const auto without_room = DeviceTimeline::evaluate_together(all);
    EXPECT_THAT(without_room, SizeIs(AllOf(Ge(1u), Le(2u))));
    EXPECT_THAT(without_room, Each(AllOf(Gt(0u), Lt(kMany))));
    for (unsigned i = 0; i < kMany; ++i) EXPECT_EQ(draw(*some[i], 1), draw(*plain[i], 1)) << i;
  }
  EXPECT_GE(memory->report().parked, 4 * 2);
  // Of each step three tokens together, and two alone.
  EXPECT_EQ(std::ranges::count(m.devices.front()->launches, "embed"), 4 * 3);
  EXPECT_EQ(memory->report().refused, 0);
}

// Who has no room beside the others is named, and stays where it is until its own draw.
TEST_P(CudaSequences, WhoHasNoRoomTogetherIsNamed) {
  Model m = model(), roomy = model();
  m.pipeline->set_states_max(2);
  const auto memory = std::make_shared<SequenceMemory>(), free = std::make_shared<SequenceMemory>();
  std::vector<std::unique_ptr<DeviceTimeline>> some, plain;
  std::vector<DeviceTimeline*> all;
  for (unsigned i = 0; i < 3; ++i) {
    some.push_back(m.timeline(memory));
    plain.push_back(roomy.timeline(free));
    ASSERT_TRUE(some.back()->sync(tokens(200, i), {}, {}));
    ASSERT_TRUE(plain.back()->sync(tokens(200, i), {}, {}));
    EXPECT_EQ(draw(*some.back(), 1), draw(*plain.back(), 1));
  }
  for (const unsigned first : {2u, 0u}) {  // 0 has left for 2
    all.clear();
    for (const unsigned i : {0u, 1u, 2u}) all.push_back(some[(first + i) % 3].get());
    EXPECT_EQ(draw(*all[0], 1), draw(*plain[first], 1));
    const std::int64_t parked = memory->report().parked;
    for (int step = 0; step < 3; ++step) {
      const auto without_room = DeviceTimeline::evaluate_together(all);
      ASSERT_THAT(without_room, SizeIs(1)) << first;
      for (unsigned i = 0; i < 3; ++i) {
        if (i == without_room[0]) continue;
        EXPECT_EQ(draw(*all[i], 1), draw(*plain[(first + i) % 3], 1)) << first;
      }
    }
    EXPECT_EQ(memory->report().parked, parked);
  }
  for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(draw(*some[i], 4), draw(*plain[i], 4));
}

// Two that fill the pages, and one page more: who is idle leaves for it, else the last one.
TEST_P(CudaSequences, TogetherTheyOutgrowThePages) {
  constexpr std::int64_t kSize = 508;  // two pages, nearly
  Model roomy = model();
  for (const bool idle : {true, false}) {
    SCOPED_TRACE(idle ? "beside an idle one" : "alone");
    Model m = model(idle ? 6 : 4);
    const auto memory = std::make_shared<SequenceMemory>(),
               free = std::make_shared<SequenceMemory>();
    std::vector<std::unique_ptr<DeviceTimeline>> some, plain;
    std::vector<DeviceTimeline*> all;
    for (unsigned i = 0; i < (idle ? 3u : 2u); ++i) {
      some.push_back(m.timeline(memory));
      plain.push_back(roomy.timeline(free));
      ASSERT_TRUE(some.back()->sync(tokens(kSize, i), {}, {}));
      ASSERT_TRUE(plain.back()->sync(tokens(kSize, i), {}, {}));
      if (i == 2) continue;  // idle
      EXPECT_EQ(draw(*some.back(), 1), draw(*plain.back(), 1));
    }
    all = {some[0].get(), some[1].get()};
    bool alone = false;
    for (int step = 0; step < 12; ++step) {
      const auto without_room = DeviceTimeline::evaluate_together(all);
      if (!without_room.empty()) {
        EXPECT_THAT(without_room, ElementsAre(1));
        EXPECT_FALSE(idle);
        all.pop_back();
        alone = true;
      }
      const std::size_t launched = m.launches();
      for (std::size_t i = 0; i < all.size(); ++i)
        EXPECT_EQ(draw(*all[i], 1), draw(*plain[i], 1)) << step;
      EXPECT_EQ(m.launches(), launched);  // all of them had been evaluated
    }
    EXPECT_EQ(alone, !idle);
    EXPECT_EQ(memory->report().parked, 1);
    for (std::size_t i = 0; i < some.size(); ++i) EXPECT_EQ(draw(*some[i], 9), draw(*plain[i], 9));
  }
}

// Where host memory is full too: who has waited long is evaluated again, else one more is refused
// and nobody loses anything.
TEST_P(CudaSequences, StayWithinTheBoundOfHostMemory) {
  constexpr unsigned kMany = 5;
  Model roomy = model();
  const DraftOptions plainly{};  // without an index, which for so small a model is most of it
  const auto one = [&] {
    const auto memory = std::make_shared<SequenceMemory>(1'000'000'000, 3600s);
    const auto t = roomy.timeline(memory, nullptr, plainly);
    EXPECT_TRUE(t->sync(tokens(600, 0), {}, {}));
    draw(*t, 3);
    clear(*memory);
    squeeze(*memory);
    return memory->held();
  }();
  for (const bool evict : {false, true}) {
    SCOPED_TRACE(evict ? "evicting" : "keeping");
    Model m = model(4);
    const std::uint64_t bound = one * 5 / 2;
    const auto memory = std::make_shared<SequenceMemory>(bound, evict ? 0s : 3600s);
    std::vector<std::unique_ptr<DeviceTimeline>> some, plain;
    int refused = 0;
    for (unsigned i = 0; i < kMany; ++i) {
      some.push_back(m.timeline(memory, nullptr, plainly));
      plain.push_back(roomy.timeline(nullptr, nullptr, plainly));
      ASSERT_TRUE(plain.back()->sync(tokens(600, i), {}, {}));
      const auto done = some.back()->sync(tokens(600, i), {}, {});
      EXPECT_LE(memory->report().most, bound);
      if (!done) {
        ++refused;
        EXPECT_EQ(done.error().code, Errc::no_memory);
        EXPECT_THAT(done.error().message,
                    AllOf(AnyOf(HasSubstr("host memory has no room for them: sequences hold "),
                                HasSubstr("sequences may take")),
                          HasSubstr("raise the memory limit"), Not(HasSubstr("\n"))));
        some.pop_back();
        plain.pop_back();
        break;
      }
      EXPECT_EQ(draw(*some.back(), 3), draw(*plain.back(), 3));
    }
    EXPECT_EQ(refused, evict ? 0 : 1);
    EXPECT_EQ(memory->report().evicted > 0, evict);
    for (std::size_t i = 0; i < some.size(); ++i) {
      const auto drawn = some[i]->next({.temperature = 0}, nullptr);
      ASSERT_TRUE(drawn) << "who was let in goes on: " << drawn.error().message;
      EXPECT_EQ(*drawn, *plain[i]->next({.temperature = 0}, nullptr)) << i;
      EXPECT_LE(memory->held(), bound) << "beyond it no longer than two change places";
    }
    EXPECT_LE(memory->report().most, bound + one);
    if (evict) continue;
    some.resize(1);  // others end, and there is room again
    const auto more = m.timeline(memory, nullptr, plainly);
    const auto again = more->sync(tokens(600, 9), {}, {});
    EXPECT_TRUE(again) << again.error().message;
  }
}

// Two that change places where host memory holds one of them and little more: who is back does
// without its copies there.
TEST_P(CudaSequences, ChangePlacesWithinTheBound) {
  constexpr std::int64_t kLong = 1400;  // six pages
  const DraftOptions plainly{};
  Model m = model(7), roomy = model();
  const auto memory = std::make_shared<SequenceMemory>(1'000'000'000, 3600s);
  std::vector<std::unique_ptr<DeviceTimeline>> two, plain;
  for (unsigned i = 0; i < 2; ++i) {
    two.push_back(m.timeline(memory, nullptr, plainly));
    plain.push_back(roomy.timeline(nullptr, nullptr, plainly));
    ASSERT_TRUE(two.back()->sync(tokens(kLong, i), {}, {}));
    ASSERT_TRUE(plain.back()->sync(tokens(kLong, i), {}, {}));
  }
  squeeze(*memory);
  // Room for what a draw takes, and for fewer pages than one of them has.
  const Charge taken(memory, memory->bytes_max() - memory->held() - 120'000 - 2 * m.page_bytes());
  for (std::size_t turn = 0; turn < 6; ++turn) {
    EXPECT_EQ(draw(*two[turn % 2], 2), draw(*plain[turn % 2], 2)) << turn;
    EXPECT_LE(memory->held(), memory->bytes_max()) << turn;
  }
  EXPECT_EQ(memory->report().parked, 7);
  EXPECT_EQ(memory->report().refused, 1) << "more than the one that squeezed";
}

// A prompt that has no room, because nobody may leave for it, is refused before any of it is
// evaluated; so is one that is announced. Where others may, they leave at once.
TEST_P(CudaSequences, WhatCannotFitIsRefusedBeforeItBegins) {
  Model m = model(4);
  const auto memory = std::make_shared<SequenceMemory>(4'000'000, 3600s);
  const auto a = m.timeline(memory, nullptr, {}), b = m.timeline(memory, nullptr, {});
  ASSERT_TRUE(a->sync(tokens(600, 3), {}, {}));
  ASSERT_TRUE(b->sync(tokens(100, 4), {}, {}));
  {
    squeeze(*memory);  // what else there is to give
    const Charge taken(memory, memory->bytes_max() - memory->held() - 1'000);
    bool told = false;
    const auto refused = b->sync(tokens(600, 4), {},
                                 [&](std::int64_t, std::int64_t) { told = true; });
    const auto announced = b->expect(600);
    for (const auto& error : {refused.error(), announced.error()}) {
      EXPECT_EQ(error.code, Errc::no_memory);
      EXPECT_THAT(
          error.message,
          AllOf(HasSubstr("evaluate tokens up to 600: that takes 2 pages of 256 tokens on "),
                HasSubstr("which has 0 beside those that other sequences hold"),
                HasSubstr("host memory has no room for them")));
    }
    EXPECT_FALSE(told);
    EXPECT_EQ(memory->report().parked, 0);
    EXPECT_EQ(b->tokens().size(), 100u);
  }
  ASSERT_TRUE(b->expect(600));
  EXPECT_EQ(memory->report().parked, 1);
  EXPECT_EQ(*b->sync(tokens(600, 4), {}, {}), 500);
  draw(*b, 1);
  EXPECT_EQ(memory->report().parked, 1);
  draw(*a, 1);
}

TEST_P(CudaSequences, HoldNothingInTheEnd) {
  Model m = model();
  const std::size_t before = m.bytes();
  const auto memory = std::make_shared<SequenceMemory>(1'000'000'000, 0s);
  {
    auto t = m.timeline(memory);
    ASSERT_TRUE(t->sync(tokens(600, 2), {}, {}));
    const std::uint64_t held = memory->held();
    const auto prefix = t->prefix(600);
    EXPECT_GE(memory->held() - held, 3 * m.page_bytes());
    EXPECT_EQ(memory->report().n, 1);
    auto fork = m.timeline(memory, prefix);
    draw(*fork, 5);
    EXPECT_EQ(clear(*memory), 2);
    EXPECT_EQ(m.bytes(), before);
    draw(*fork, 5);
    squeeze(*memory);
  }
  EXPECT_EQ(memory->held(), 0u);
  EXPECT_EQ(memory->report().n, 0);
  EXPECT_GT(m.bytes(), before);  // freed where the GPUs are used, which this thread may not be
  m.pipeline->free_retired();
  EXPECT_EQ(m.bytes(), before);
}

// What is in host memory may be asked back from any thread, while another evaluates.
TEST_P(CudaSequences, GiveBackOnOneThreadWhileAnotherEvaluates) {
  constexpr unsigned kMany = 4, kTurns = 8;
  Model m = model(6), roomy = model();
  const auto memory = std::make_shared<SequenceMemory>(1'000'000'000, 0s);
  std::vector<std::vector<Token>> want;
  for (unsigned i = 0; i < kMany; ++i) {
    const auto t = roomy.timeline(nullptr);
    ASSERT_TRUE(t->sync(tokens(600, i), {}, {}));
    want.push_back(draw(*t, 4));
  }
  memory->take_pages_from(std::make_shared<PageArena>(m.page_bytes(), m.devices[0]->pins()));
  std::atomic<unsigned> asked{0};
  std::jthread other([&] {
    for (unsigned done = 0; done < kTurns; ++done) {
      asked.wait(done);  // for the next turn
      for (int i = 0; i < 20; ++i) squeeze(*memory);
    }
  });
  std::vector<std::unique_ptr<DeviceTimeline>> some;
  for (unsigned i = 0; i < kMany; ++i) some.push_back(m.timeline(memory));
  for (unsigned turn = 0; turn < kTurns; ++turn) {
    ++asked;
    asked.notify_one();
    const auto done = some[turn % kMany]->sync(tokens(600, turn % kMany), {}, {});
    EXPECT_TRUE(done) << done.error().message;  // who asks waits for all turns
    EXPECT_EQ(draw(*some[turn % kMany], 4), want[turn % kMany]) << turn;
    some[turn % kMany]->prefix(600);
  }
  other.join();
  EXPECT_GT(memory->report().evicted, 0);
}

INSTANTIATE_TEST_SUITE_P(Golden, CudaSequences, testing::Values(Where{"micro-flash", {2}}),
                         [](const auto&) { return std::string("FlashOnTwo"); });

}  // namespace
}  // namespace lares::engine
