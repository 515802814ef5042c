// The instrument's own arithmetic: statistics, floors, generated weights, and refusals before any
// memory is taken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cmath>

#include "engine/bench/fill.h"
#include "engine/bench/floors.h"
#include "engine/bench/generated.h"
#include "engine/bench/layer_bench.h"
#include "engine/bench/loops.h"
#include "engine/bench/samples.h"
#include "engine/bench/shapes.h"
#include "engine/bench/team.h"
#include "engine/model/forward.h"

namespace lares::engine::bench {
namespace {

using kernels::Format;

// The two-thread figures that the family's table of floors was computed with.
constexpr Ceilings kTable{.read = 60e9, .fp32 = 220e9, .dot = 446e9, .int8 = 900e9};

TEST(BenchStatistics, MedianOfOddEvenAndNothing) {
  EXPECT_EQ(median({5, 1, 3}), 3);
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(median({}), 0);
}

TEST(BenchStatistics, SamplesThatLostMoreThanOnePercentAreDropped) {
  const std::vector<Sample> samples{
      {1.0, 0}, {2.0, 0.02}, {3.0, -1e-9}, {100.0, 1.01}, {200.0, 150}};
  const Summary s = summarise(samples);
  EXPECT_EQ(s.median_s, 2);
  EXPECT_EQ(s.samples, 5);
  EXPECT_EQ(s.dropped, 2);
  EXPECT_FALSE(s.disturbed);
}

TEST(BenchStatistics, TooFewCleanSamplesLeaveTheLeastDisturbedAndSayIt) {
  const std::vector<Sample> samples{{40, 20}, {1, 0}, {10, 2}, {2, 0}, {50, 45}};
  const Summary s = summarise(samples);
  EXPECT_EQ(s.median_s, 2);  // of 1, 2 and 10
  EXPECT_EQ(s.samples, 5);
  EXPECT_EQ(s.dropped, 2);
  EXPECT_TRUE(s.disturbed);
  EXPECT_TRUE(summarise(std::span(samples).first(1)).disturbed);
  EXPECT_EQ(summarise({}).median_s, 0);
}

TEST(BenchStatistics, PairsCountWhenBothHalvesAreClean) {
  const std::vector<Pair> pairs{{{2, 0}, {1, 0}}, {{2, 0}, {1, 0}}, {{4, 0}, {3, 0}},
                                {{1, 0}, {9, 4}}, {{8, 4}, {1, 0}}, {{1, 0}, {7, 1}}};
  EXPECT_EQ(paired_speed(pairs), 0.5);
  EXPECT_EQ(paired_speed(std::span(pairs).last(3)), 7);  // none is clean
  EXPECT_EQ(paired_speed({}), 0);
}

TEST(BenchFloors, BytesBoundOneTokenAndFlopsMany) {
  const Work one = linear_work(Format::fp4, 2048, 4096, 1),
             many = linear_work(Format::fp4, 2048, 4096, 96);
  EXPECT_DOUBLE_EQ(one.bytes, 2048 * 4096 * (0.5 + 1.0 / 32));
  EXPECT_DOUBLE_EQ(floor_s(one, kTable), one.bytes / 60e9);
  EXPECT_DOUBLE_EQ(floor_s(many, kTable), 2.0 * 2048 * 4096 * 96 / 446e9);
  EXPECT_DOUBLE_EQ(floor_s(linear_work(Format::f32, 64, 64, 512), kTable),
                   2.0 * 64 * 64 * 512 / 220e9);
  EXPECT_EQ(stored_bytes(Format::fp8, 300, 256), 300u * 256 + 3 * 2);
  EXPECT_EQ(stored_bytes(Format::bf16, 3, 32), 192u);
}

double whole_model(const Config& c, std::int64_t begin, int n) {
  const LayerCounts count = count_layers(c);
  return count.swa * floor_s(layer_work(c, 0, begin, n), kTable) +
         count.csa * floor_s(layer_work(c, 4, begin, n), kTable) +
         count.hca * floor_s(layer_work(c, 128, begin, n), kTable) + floor_s(head_work(c), kTable);
}

// The published sums: 193 ms and 342 ms a token at 8k and 1M tokens of context, 258 s for the
// second 4,096 tokens.
TEST(BenchFloors, SumToTheTableOfTheFamily) {
  const Config c = *shape_named("flash");
  const LayerCounts count = count_layers(c);
  EXPECT_EQ(count.swa, 2);
  EXPECT_EQ(count.csa, 21);
  EXPECT_EQ(count.hca, 20);
  EXPECT_NEAR(whole_model(c, 8191, 1), 0.193, 0.001);
  EXPECT_NEAR(whole_model(c, 1048575, 1), 0.342, 0.001);
  EXPECT_NEAR(whole_model(c, 4096, 4096), 258, 1);
}

TEST(BenchFloors, EveryShapeHasThePublishedLayers) {
  const LayerCounts pro = count_layers(*shape_named("pro"));
  EXPECT_EQ(pro.swa, 0);
  EXPECT_EQ(pro.csa, 30);
  EXPECT_EQ(pro.hca, 31);
  EXPECT_FALSE(shape_named("tera").has_value());
}

float value(const kernels::Matrix& m, int row, int k) {
  const auto at = static_cast<std::size_t>(row) * m.n_in + k;
  const auto* bytes = static_cast<const std::uint8_t*>(m.data);
  switch (m.format) {
    case Format::f32:
      return static_cast<const float*>(m.data)[at];
    case Format::bf16:
      return std::bit_cast<float>(
          static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(m.data)[at]) << 16);
    case Format::fp8:
      return kernels::e4m3_value(bytes[at]) *
             kernels::e8m0_value(m.scale[row / 128 * ((m.n_in + 127) / 128) + k / 128]);
    case Format::fp4:
      return kernels::e2m1_value((bytes[at / 2] >> (at % 2 * 4)) & 15) *
             kernels::e8m0_value(m.scale[at / 32]);
  }
  return 0;
}

// Sums over k of squares near 1, so that activations of order one stay so from layer to layer.
TEST(BenchWeights, AreFiniteAndOfAWeightsSize) {
  for (const Format format : {Format::f32, Format::bf16, Format::fp8, Format::fp4}) {
    constexpr int kRows = 256, kWidth = 512;
    std::vector<std::uint64_t> memory(stored_bytes(format, kRows, kWidth) / 8 + 1);
    auto* base = reinterpret_cast<std::uint8_t*>(memory.data());
    fill_codes(format, kWidth, 7, base, memory.size() * 8);
    const kernels::Matrix m = lay_out(format, kRows, kWidth, base);
    double squares = 0;
    for (int r = 0; r < kRows; ++r)
      for (int k = 0; k < kWidth; ++k) {
        const float v = value(m, r, k);
        ASSERT_TRUE(std::isfinite(v) && (v == 0 || std::isnormal(v)))
            << static_cast<int>(format) << " at " << r << ", " << k;
        squares += static_cast<double>(v) * v;
      }
    EXPECT_GT(squares / kRows, 0.25) << static_cast<int>(format);
    EXPECT_LT(squares / kRows, 4) << static_cast<int>(format);
  }
}

TEST(BenchWeights, AsTilesAreFiniteAndOfAWeightsSize) {
  for (const Format format : {Format::bf16, Format::fp8, Format::fp4}) {
    constexpr int kRows = 144, kWidth = 512;
    std::vector<std::uint64_t> memory(laid_bytes(format, kRows, kWidth) / 8 + 8);
    auto* base = reinterpret_cast<std::uint8_t*>(
        (reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
    fill_tiles(format, kWidth, 7, base,
               static_cast<std::size_t>(kernels::tiles_bytes(format, kRows, kWidth)));
    const kernels::Tiles tiles = lay_out_tiles(format, kRows, kWidth, base);
    double squares = 0;
    std::vector<float> x(kWidth), packed(static_cast<std::size_t>(kernels::packed_width(kWidth))),
        y(kRows);
    for (int k = 0; k < kWidth; ++k) {
      std::fill(x.begin(), x.end(), 0.0f);
      x[static_cast<std::size_t>(k)] = 1;
      kernels::pack_cpu({.format = format,
                         .x = x.data(),
                         .to = packed.data(),
                         .x_stride = kWidth,
                         .n_in = kWidth,
                         .n_tokens = 1});
      kernels::linear_tiles_cpu({.w = &tiles,
                                 .x = packed.data(),
                                 .y = y.data(),
                                 .y_stride = kRows,
                                 .n_tokens = 1,
                                 .row_begin = 0,
                                 .row_end = kRows});
      for (const float v : y) {
        ASSERT_TRUE(std::isfinite(v)) << static_cast<int>(format);
        squares += static_cast<double>(v) * v;
      }
    }
    EXPECT_GT(squares / kRows, 0.25) << static_cast<int>(format);
    EXPECT_LT(squares / kRows, 4) << static_cast<int>(format);
  }
}

TEST(BenchLayers, ThatDoNotFitAreRefusedWithTheFigure) {
  const auto plan = plan_layers(*shape_named("flash"), 0.5, 1048576, 1, 2);
  ASSERT_FALSE(plan.has_value());
  EXPECT_EQ(plan.error().code, Errc::no_memory);
  EXPECT_THAT(plan.error().message,
              testing::HasSubstr("GB with 6 experts each, and --memory is 0.5"));
  EXPECT_FALSE(check_fits(std::uint64_t{1} << 60, "tests").has_value());
}

TEST(BenchLayers, TakeAsManyExpertsAsFit) {
  const auto nano = plan_layers(*shape_named("nano"), 1, 8192, 1, 2);
  ASSERT_TRUE(nano.has_value()) << nano.error().message;
  EXPECT_EQ(nano->config.n_routed_experts, 8);
  const auto flash = plan_layers(*shape_named("flash"), 2.5, 8192, 1, 2);
  if (!flash) GTEST_SKIP() << flash.error().message;
  EXPECT_GT(flash->config.n_routed_experts, 6);
  EXPECT_LT(flash->config.n_routed_experts, 256);
  EXPECT_LE(flash->weight_bytes + flash->other_bytes, 2'500'000'000u);
  const std::uint64_t expert = 2 * 3 * (2048u * 4096 / 2 + 2048u * 4096 / 32);
  EXPECT_GT(flash->weight_bytes + flash->other_bytes + expert, 2'500'000'000u);
}

// What the forward pass computes from them is finite, in a cache of 1,000 tokens that it never saw.
TEST(BenchLayers, ComputeFiniteStreams) {
  const auto plan = plan_layers(*shape_named("nano"), 1, 8192, 1, 2);
  ASSERT_TRUE(plan.has_value()) << plan.error().message;
  Team team(2);
  const auto layers = generate_layers(*plan, team);
  ASSERT_TRUE(layers.has_value()) << layers.error().message;
  const Config& c = plan->config;
  kernels::ThreadPool pool(2);
  Forward forward(*layers->weights, false, pool, kernels::best());
  State state(*layers->weights, false, 1);
  std::vector<float> x(static_cast<std::size_t>(c.hc_mult) * c.hidden_size),
      logits(static_cast<std::size_t>(c.vocab_size));
  fill_activations(1, x.data(), x.size());
  const Token token = 1;
  fill_pages(c, state, 1000, 8);
  for (const int layer : {kCsaLayer, kHcaLayer, kSwaLayer}) {
    fill_rings(c, layers->weights->layers[layer], state.layer(layer), 1);
    forward.layer(layers->weights->layers[layer], state.layer(layer), 1000, {&token, 1}, x.data());
  }
  forward.head(x.data(), 1, logits.data());
  double squares = 0;
  for (const float v : logits) squares += static_cast<double>(v) * v;
  EXPECT_TRUE(std::isfinite(squares));
  EXPECT_GT(squares, 0);
}

TEST(BenchTeam, EveryThreadTakesEveryTurnOnceAndIsTimed) {
  Team team(3);
  std::vector<std::atomic<int>> turns(3);
  for (int i = 0; i < 50; ++i) {
    const Sample s =
        team.run([&](int thread) { turns[static_cast<std::size_t>(thread)].fetch_add(1); });
    EXPECT_GE(s.seconds, 0);
    EXPECT_LE(s.lost, s.seconds + 1e-9);
  }
  for (const auto& t : turns) EXPECT_EQ(t.load(), 50);
  int references = 0, works = 0;
  Team alone(1);
  const Measured m = measure(
      alone, 0, [&](int, std::int64_t) { ++works; }, [&](int, std::int64_t) { ++references; });
  EXPECT_EQ(works, references);
  EXPECT_EQ(works, kCleanMin + 1);  // one does not count
  EXPECT_EQ(m.work.samples, kCleanMin);
}

TEST(BenchLoops, ReadEveryByteAndMultiplyWhereTheCpuCan) {
  std::vector<std::uint64_t> memory(64);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(memory.data());
  for (auto& word : memory) {
    word = 0x0123456789ABCDEFu;
    EXPECT_EQ(read_bytes(bytes, 512), 0x0123456789ABCDEFu);
    word = 0;
  }
  int ran = 0;
  for (const PeakLoop* loop : peak_loops()) {
    if (!loop->available()) continue;
    ++ran;
    const float v = loop->run(3);
    EXPECT_TRUE(std::isfinite(v)) << loop->name;
    EXPECT_GT(loop->flops, 0) << loop->name;
  }
  EXPECT_GE(ran, 1);
}

}  // namespace
}  // namespace lares::engine::bench
