// What becomes of a load, or a sequence, for which a device has no room: nano on devices in host
// memory.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "engine/gpus.h"
#include "engine/placement.h"
#include "tests/engine/cuda/engine_case.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::HasSubstr;

class CudaMemory : public CudaEngine {};

// What the plan did not know of: another program's memory. It is said of which device, and what it
// was for.
TEST_F(CudaMemory, ASecondDeviceThatIsFullIsSaid) {
  const auto refused = [](std::uint64_t has) {
    const auto engine = on_devices({kPlenty, kPlenty}, {kPlenty, has});
    EXPECT_FALSE(engine);
    EXPECT_EQ(engine.error().code, Errc::no_memory);
    EXPECT_THAT(engine.error().message, HasSubstr("onto device 1: "));
    return engine.error().message;
  };
  EXPECT_THAT(refused(100'000),
              HasSubstr(" MB for layers 3 to 5 have no room, 100.0 kB are free there"));
  EXPECT_THAT(refused(8'000'000), HasSubstr("the work space for 8192 tokens have no room"));
}

// On a card of 8 GiB others hold all but what half of the experts take: fewer stay, with the same
// text, and both numbers are said.
TEST_F(CudaMemory, WhatOthersHoldIsNotPlanned) {
  constexpr std::uint64_t kCard = std::uint64_t{8} << 30;
  const std::uint64_t room = lacking(0.5).gpus.front() - cuda::kContextLeast;  // which is there
  const auto with_free = [&](std::uint64_t free) {
    auto weights = load_weights(kNano, {});
    cuda::EngineParts parts{.gpus = {}, .weights = std::move(*weights), .tokenizer = nullptr};
    parts.gpus.push_back({std::make_unique<HostDevice>(free, "the card"), kCard});
    int told = 0;
    auto engine = cuda::make_engine(std::move(parts),
                                    {.directory = kNano,
                                     .n_threads = 2,
                                     .n_context = kContext,
                                     .text = false,
                                     .drafting = Drafting::off},
                                    [&](std::int64_t, std::int64_t) { ++told; });
    EXPECT_EQ(told > 0, engine.has_value());  // it is refused before anything is uploaded
    return engine;
  };
  const auto most = with_free(kCard), some = with_free(room);
  ASSERT_TRUE(most && some);
  EXPECT_EQ((*most)->memory().experts.bytes_max, 0u);
  EXPECT_GT((*some)->memory().experts.bytes_max, 0u);
  EXPECT_LT((*some)->memory().experts.resident, (*most)->memory().experts.resident);
  EXPECT_THAT((*most)->info().notes, testing::Each(testing::Not(HasSubstr("free"))));
  EXPECT_THAT((*some)->info().notes,
              testing::Contains(HasSubstr(
                  fmt::format("of {0:.1f} GB that the card gives are planned", room / 1e9))));
  EXPECT_THAT((*some)->info().notes, testing::Contains(testing::EndsWith(fmt::format(
                                         "; it has 8.6 GB, {:.1f} GB free", room / 1e9))));
  const auto a = (*most)->timeline(), b = (*some)->timeline();
  ASSERT_TRUE(a->sync(prompt(150), {}, {}));
  ASSERT_TRUE(b->sync(prompt(150), {}, {}));
  EXPECT_EQ(answer(*a, 10), answer(*b, 10));
  EXPECT_EQ((*most)->prefix_format().fingerprint, (*some)->prefix_format().fingerprint);

  const auto none = with_free(256 << 20);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::no_memory);
  EXPECT_THAT(none.error().message,
              HasSubstr("0.27 GB may be taken: the card has 8.59 GB, 0.27 GB free; end what "
                        "else uses the GPU"));
}

// Whichever allocation finds none, because somebody was quicker: one line says what it was for, how
// much, on which device and what is free, and everything is given back (the devices look).
TEST_F(CudaMemory, AnyAllocationThatFailsIsSaid) {
  int failed[2] = {0, 0};
  for (const std::size_t full : {0, 1})
    for (bool loaded = false; !loaded; failed[full] += !loaded) {
      const auto engine = on_devices({kPlenty, kPlenty}, {}, {.refused = {full, failed[full]}});
      loaded = engine.has_value();
      if (loaded) break;
      EXPECT_EQ(engine.error().code, Errc::no_memory);
      EXPECT_THAT(engine.error().message,
                  testing::AllOf(testing::MatchesRegex(fmt::format(
                                     "load .* onto device {}: [0-9.]+ [kMG]B for .* have "
                                     "no room, [0-9.]+ [kMG]B are free there, .*",
                                     full)),
                                 HasSubstr("load again, which plans with what is free then"),
                                 testing::Not(HasSubstr("\n"))));
    }
  // Weights, pages, work space and its scratch.
  EXPECT_EQ(failed[0], 4);
  EXPECT_EQ(failed[1], 4);
  int without_pinned = 0;
  for (int i = 0; i < 12; ++i) {  // weights come without it, too, and slower
    const auto engine = on_devices({kPlenty}, {}, {.pinned_refused = i});
    if (engine) continue;
    ++without_pinned;
    EXPECT_EQ(engine.error().code, Errc::no_memory);
    EXPECT_THAT(engine.error().message,
                testing::MatchesRegex("load .* onto device 0: the driver gives no [0-9.]+ [MG]B of "
                                      "pinned host memory for the work space for 8192 tokens, "
                                      "[0-9.]+ [MG]B of host memory are available; .*"));
  }
  EXPECT_EQ(without_pinned, 3);  // inputs, the embedding's rows and logits
}

// It has room for the weights and for so many sequences' windows, the first device for many more.
TEST_F(CudaMemory, ASecondDeviceWithoutRoomForOneMoreSequence) {
  std::uint64_t weights_alone = 0, state = 0;
  {
    auto probe = std::make_unique<HostDevice>(kPlenty);
    HostDevice& device = *probe;
    auto weights = load_weights(kNano, {});
    ASSERT_TRUE(weights);
    cuda::EngineParts parts{.gpus = {}, .weights = std::move(*weights), .tokenizer = nullptr};
    parts.gpus.push_back({std::make_unique<HostDevice>(), kPlenty});
    parts.gpus.push_back({std::move(probe), kPlenty});
    const auto engine = cuda::make_engine(std::move(parts),
                                          {.directory = kNano,
                                           .n_threads = 2,
                                           .n_context = kContext,
                                           .text = false,
                                           .drafting = Drafting::off},
                                          {});
    ASSERT_TRUE(engine) << engine.error().message;
    weights_alone = device.n_bytes();
    const auto t = (*engine)->timeline();
    ASSERT_TRUE(t->sync(prompt(10), {}, {}));
    state = device.n_bytes() - weights_alone;
  }
  {  // others make way
    const auto engine = on_devices({kPlenty, kPlenty}, {kPlenty, weights_alone + 2 * state});
    ASSERT_TRUE(engine) << engine.error().message;
    std::vector<std::unique_ptr<Timeline>> all;
    for (int i = 0; i < 5; ++i) {
      all.push_back((*engine)->timeline());
      ASSERT_TRUE(all.back()->sync(prompt(10), {}, {}));
    }
    EXPECT_EQ((*engine)->memory().sequences.parked, 3);
    EXPECT_EQ((*engine)->memory().sequences.n, 5);
    const Answer want = answer(*all.front(), 3);
    for (int i = 1; i < 5; ++i) EXPECT_EQ(answer(*all[static_cast<std::size_t>(i)], 3), want);
    EXPECT_EQ((*engine)->memory().sequences.refused, 0);
  }
  const auto engine = on_devices({kPlenty, kPlenty}, {kPlenty, weights_alone + state / 2});
  ASSERT_TRUE(engine) << engine.error().message;
  const auto refused = (*engine)->timeline()->sync(prompt(10), {}, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::no_memory);
  EXPECT_THAT(refused.error().message, HasSubstr("device 1 has no room for one more sequence"));
}

}  // namespace
}  // namespace lares::engine
