// linear() and experts_linear() on a device, against their bodies emulated and against each other:
// few tokens and many give the same bits.
#include <fmt/format.h>

#include "kernels/cuda/norm.h"
#include "kernels/cuda/products/experts.h"
#include "kernels/cuda/products/linear_kernels.h"
#include "tests/kernels/cuda_device.h"
#include "tests/kernels/cuda_few.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;

int reruns_of(int n_tokens) { return reruns(n_tokens > 1000 ? 20 : 100); }  // of many a second each

struct Case {
  Format format;
  bool codes_in;
  int n_out, n_in, n_tokens, rows_per_group;
  bool small = false;  // activations whose scales go from 2^-22 on, by blocks
};
class CudaLinearDevice : public testing::TestWithParam<Case> {};

TEST_P(CudaLinearDevice, DoesWhatItsBodyDoes) {
  LARES_NEEDS_DEVICE();
  const Case c = GetParam();
  const Stored s = stored(c.format, c.n_out, c.n_in);
  const Tiled t = tiled(s.m);
  const int groups = c.rows_per_group ? c.n_out / c.rows_per_group : 1, columns = c.n_in * groups,
            blocks = (columns + 127) / 128;
  auto numbers = normals(static_cast<std::size_t>(c.n_tokens) * columns, 5);
  if (c.small)
    for (std::size_t i = 0; i < numbers.size(); ++i)
      numbers[i] *= std::ldexp(1.0f, -16 + static_cast<int>(i / 128 % 7));
  const auto values = halves(numbers);
  const Quantised q = quantised(values, c.n_tokens, columns);
  Mirror<std::uint16_t> x(values);
  Mirror<std::uint8_t> codes(q.codes), tiles(t.tiles);
  Mirror<float> scale(q.scale), w_scale(t.scale), y(static_cast<std::size_t>(c.n_tokens) * c.n_out);
  Mirror<std::uint8_t> room(
      linear_room(static_cast<std::size_t>(c.n_tokens), static_cast<std::size_t>(columns)));
  const auto args = [&](bool device, int n) {
    return LinearArgs{.w = {.format = c.format,
                            .tiles = tiles.on(device),
                            .scale = w_scale.on(device),
                            .n_out = c.n_out,
                            .n_in = c.n_in},
                      .x = x.on(device),
                      .codes = c.codes_in ? codes.on(device) : nullptr,
                      .code_scale = scale.on(device),
                      .y = y.on(device),
                      .x_stride = columns,
                      .code_scale_stride = blocks,
                      .y_stride = c.n_out,
                      .n_tokens = n,
                      .rows_per_group = c.rows_per_group,
                      .y_f32 = true};
  };
  std::vector<float> many;
  for (const bool wgmma : {false, true}) {
    LinearArgs a = args(true, c.n_tokens);
    a.wgmma = wgmma;
    a.room = room.device();
    for (int run = 0; run < reruns_of(c.n_tokens); ++run) {
      y.renew();
      LARES_EXPECT_OK(linear(a, nullptr));
      if (run > 0) {
        ASSERT_TRUE(y.device_values() == many) << "run " << run;
        continue;
      }
      // Both add in one order, and drop the same bits
      if (wgmma) expect_same(y.device_values(), many, "many tokens by mma and by wgmma");
      many = y.device_values();
    }
  }
  if (c.codes_in) {  // quantised on entry, and laid out at once
    Mirror<std::uint8_t> own_codes(q.codes.size());
    Mirror<float> own_scale(q.scale.size());
    for (const bool wgmma : {false, true}) {
      LinearArgs a = args(true, c.n_tokens);
      a.codes = nullptr, a.quantise = true;
      a.quantised = own_codes.device(), a.quantised_scale = own_scale.device();
      a.wgmma = wgmma;
      a.room = room.device();
      y.renew();
      LARES_EXPECT_OK(linear(a, nullptr));
      expect_same(y.device_values(), many, "many tokens quantised on entry");
    }
  }
  // The emulated mma rounds once, a device's truncates each product's tail: 2^-23 of what is
  // summed, a few times.
  const int few_tokens = std::min(kTokensFew, c.n_tokens);
  Products all;
  const LinearArgs on_host = args(false, few_tokens);
  ASSERT_TRUE(products({&on_host, 1}, all).ok());
  y.renew();
  simt::Machine::get().run({few_blocks(all.item[0])}, kLinearThreads,
                           static_cast<std::size_t>(few_shared(few_tokens, c.n_in).bytes),
                           simt::Order::ascending, [&] { few_kernel(all); });
  auto emulated = y.host_values();
  emulated.resize(static_cast<std::size_t>(few_tokens) * c.n_out);
  expect_near({many.begin(), many.begin() + static_cast<std::ptrdiff_t>(emulated.size())}, emulated,
              1e-5, "linear");
  DeviceBuffer shared_rows;
  LARES_EXPECT_OK(shared_rows.allocate(sizeof(StreamScratch) * kScratchBlocks));
  LARES_EXPECT_OK(fill(shared_rows.data(), 0, sizeof(StreamScratch) * kScratchBlocks, nullptr));
  for (const int n : {1, 2, few_tokens}) {
    for (int run = 0; run < reruns(50); ++run) {  // with rows cut between blocks, which come in any
                                                  // order
      y.renew();
      const LinearArgs a = args(true, n);
      LARES_EXPECT_OK(linear({&a, 1}, nullptr,
                             run == 0 ? Scratch{} : Scratch{shared_rows.as<StreamScratch>()}));
      const auto few = y.device_values();
      expect_same(std::vector<float>(few.begin(), few.begin() + n * c.n_out),
                  std::vector<float>(many.begin(), many.begin() + n * c.n_out),
                  "few tokens and many");
      if (HasFailure()) return;
    }
    if (!c.codes_in) continue;
    y.renew();
    LinearArgs a = args(true, n);
    a.codes = nullptr;
    a.quantise = true;
    LARES_EXPECT_OK(linear(a, nullptr));
    const auto own = y.device_values();
    expect_same(std::vector<float>(own.begin(), own.begin() + n * c.n_out),
                std::vector<float>(many.begin(), many.begin() + n * c.n_out), "quantised on entry");
  }
}

INSTANTIATE_TEST_SUITE_P(
    , CudaLinearDevice,
    testing::Values(
        Case{Format::fp8, true, 1024, 4096, 200, 0}, Case{Format::fp8, true, 200, 8192, 8, 0},
        Case{Format::fp8, false, 2048, 4096, 130, 1024}, Case{Format::fp8, false, 128, 256, 20, 64},
        Case{Format::fp8, true, 1024, 128, 128, 0}, Case{Format::bf16, false, 1024, 128, 128, 0},
        // More row tiles than a device has SMs, which then share some.
        Case{Format::fp8, true, 4096, 1024, 9, 0}, Case{Format::fp4, true, 4800, 1024, 9, 0},
        Case{Format::bf16, false, 4096, 512, 9, 0}, Case{Format::fp8, false, 4096, 512, 9, 1024},
        Case{Format::fp4, true, 2048, 4096, 65, 0}, Case{Format::fp4, true, 33, 288, 9, 0},
        Case{Format::bf16, false, 1024, 4096, 64, 0}, Case{Format::bf16, false, 8, 128, 300, 0},
        Case{Format::fp8, true, 4096, 1024, 1100, 0},
        Case{Format::fp8, false, 4096, 512, 1100, 1024},
        Case{Format::fp4, true, 4096, 1024, 1100, 0},
        // Tensor cores may align what is subnormal in many tokens' products in a way of their own.
        Case{Format::fp8, true, 2048, 4096, 256, 0, true},
        Case{Format::fp4, true, 2048, 4096, 256, 0, true},
        Case{Format::bf16, false, 2048, 1024, 700, 0}),
    [](const auto& tested) {
      const Case& c = tested.param;
      const char* const format = c.format == Format::fp4   ? "fp4"
                                 : c.format == Format::fp8 ? "fp8"
                                                           : "bf16";
      return fmt::format("{}_{}x{}_of_{}", format, c.n_out, c.n_in, c.n_tokens);
    });

// Few tokens normed on entry, and beside them what a boundary left: as by launches of their own.
TEST(CudaProductsDevice, NormWhatEntersAndMakeWhatABoundaryLeft) {
  LARES_NEEDS_DEVICE();
  constexpr int n_in = 1024, blocks = n_in / 128, n_out[2] = {4096, 1024};
  Tiled t[2];
  for (int i = 0; i < 2; ++i) t[i] = tiled(stored(Format::fp8, n_out[i], n_in).m);
  Mirror<std::uint8_t> tiles_a(t[0].tiles), tiles_b(t[1].tiles);
  Mirror<float> scale_a(t[0].scale), scale_b(t[1].scale), norm(normals(n_in, 8));
  DeviceBuffer shared_rows;
  LARES_EXPECT_OK(shared_rows.allocate(sizeof(StreamScratch) * kScratchBlocks));
  LARES_EXPECT_OK(fill(shared_rows.data(), 0, sizeof(StreamScratch) * kScratchBlocks, nullptr));
  for (const std::size_t n : {1, 3, 8}) {
    constexpr int kStride = 30;
    Mirror<std::uint16_t> x(halves(normals(n * n_in, 9, 3)));
    Mirror<std::uint8_t> codes(n * n_in);
    Mirror<float> scale(n * blocks), ya(n * n_out[0]), yb(n * n_out[1]),
        mixes(normals(n * kStride, 10)), post(n * 4), comb(n * 16);
    const int tokens = static_cast<int>(n);
    const auto left = [&](bool d) {
      return HyperMixes{mixes.on(d), kStride, post.on(d), comb.on(d), tokens, 20, 1e-6f};
    };
    LinearArgs both[2];
    for (int i = 0; i < 2; ++i)
      both[i] = {.w = {.format = Format::fp8,
                       .tiles = (i ? tiles_b : tiles_a).device(),
                       .scale = (i ? scale_b : scale_a).device(),
                       .n_out = n_out[i],
                       .n_in = n_in},
                 .x = x.device(),
                 .codes = codes.device(),
                 .code_scale = scale.device(),
                 .y = (i ? yb : ya).device(),
                 .x_stride = n_in,
                 .code_scale_stride = blocks,
                 .y_stride = n_out[i],
                 .n_tokens = tokens,
                 .y_f32 = true};
    LARES_EXPECT_OK(rms_norm({.x = x.device(),
                              .w = norm.device(),
                              .y = nullptr,
                              .codes = codes.device(),
                              .code_scale = scale.device(),
                              .x_stride = n_in,
                              .y_stride = n_in,
                              .codes_stride = n_in,
                              .code_scale_stride = blocks,
                              .n_rows = tokens,
                              .dim = n_in,
                              .eps = 1e-6f},
                             nullptr));
    LARES_EXPECT_OK(linear(both, nullptr));
    const auto want_a = ya.device_values(), want_b = yb.device_values();
    simt::Machine::get().run({tokens}, 32, 0, simt::Order::ascending,
                             [&] { put_left(left(false), block_x()); });
    for (LinearArgs& a : both)
      a.codes = nullptr, a.quantise = true, a.norm = norm.device(), a.norm_eps = 1e-6f,
      a.quantised = codes.device(), a.quantised_scale = scale.device();
    for (int run = 0; run < 50 && !HasFailure(); ++run) {
      ya.renew(), yb.renew();
      LARES_EXPECT_OK(linear(both, nullptr, {shared_rows.as<StreamScratch>()}, left(true)));
      expect_same(ya.device_values(), want_a, "normed on entry");
      expect_same(yb.device_values(), want_b, "normed on entry, the second product");
      expect_same(post.device_values(), post.host_values(), "post");
      expect_same(comb.device_values(), comb.host_values(), "comb");
    }
  }
}

TEST(CudaExpertsDevice, EverySlotIsMultipliedByItsExpert) {
  LARES_NEEDS_DEVICE();
  constexpr int E = 8, k = 3, n_out = 512, n_in = 1024;
  std::vector<std::vector<std::uint8_t>> tiles;
  std::deque<Mirror<std::uint8_t>> mirrors;
  std::vector<const std::uint8_t*> table;
  for (int e = 0; e < E; ++e) {
    Stored s = stored(Format::fp4, n_out, n_in);
    s.codes = bytes(s.codes.size(), static_cast<std::uint64_t>(50 + e));
    s.m.data = s.codes.data() + 1;
    s.m.scale = s.scales.data();
    tiles.push_back(tiled(s.m).tiles);
    mirrors.emplace_back(tiles.back());
    table.push_back(mirrors.back().device());
  }
  Mirror<const std::uint8_t*> tables(table);
  const Stored shared_stored = stored(Format::fp8, n_out, n_in);
  const Tiled shared_one = tiled(shared_stored.m);
  Mirror<std::uint8_t> shared_tiles(shared_one.tiles);
  Mirror<float> shared_scale(shared_one.scale);
  for (const int n : {1, 8, 150, 700}) {
    std::vector<std::int32_t> expert;
    for (int t = 0; t < n; ++t)
      for (int i = 0; i < k; ++i)
        expert.push_back((t * t + i * 3) % 2 + 2 * i + (t % 3 == 0 && i == 2 ? 2 : 0));
    const auto weights = normals(expert.size(), 3);
    const auto values = halves(normals(static_cast<std::size_t>(n) * n_in, 60));
    const Quantised q = quantised(values, n, n_in);
    const std::size_t slots = static_cast<std::size_t>(n) * (k + 1);
    Mirror<std::int32_t> experts(expert), begin(E + 1), slot_of(expert.size()), token_of(slots),
        jobs(3 * static_cast<std::size_t>(expert_jobs(n, E, k)));
    Mirror<float> weight(weights), factor(slots), scale(q.scale);
    Mirror<std::uint8_t> codes(q.codes);
    Mirror<std::uint16_t> y(slots * n_out);
    Mirror<std::uint8_t> room(experts_room(n, E, k, n_in));
    LARES_EXPECT_OK(group({.expert = experts.device(),
                           .weight = weight.device(),
                           .begin = begin.device(),
                           .slot_of = slot_of.device(),
                           .token_of = token_of.device(),
                           .factor = factor.device(),
                           .jobs = jobs.device(),
                           .n_tokens = n,
                           .n_experts = E,
                           .k = k},
                          nullptr));
    ExpertLinearArgs a{.n_matrices = 1,
                       .format = Format::fp4,
                       .n_out = n_out,
                       .n_in = n_in,
                       .codes = codes.device(),
                       .code_scale = scale.device(),
                       .x_stride = n_in,
                       .code_scale_stride = n_in / 128,
                       .y_stride = n_out,
                       .row_of = token_of.device(),
                       .jobs = jobs.device(),
                       .n_tokens = n,
                       .n_experts = E,
                       .k = k};
    const Weight shared_weight{.format = Format::fp8,
                               .tiles = shared_tiles.device(),
                               .scale = shared_scale.device(),
                               .n_out = n_out,
                               .n_in = n_in};
    a.matrix[0] = {.tiles = tables.device(), .shared = shared_weight, .y = y.device()};
    a.wgmma = false;
    LARES_EXPECT_OK(experts_linear(a, nullptr));
    const auto got = y.device_values();
    a.wgmma = true;
    a.room = room.device();
    for (int run = 0; run < reruns_of(n); ++run) {
      y.renew();
      LARES_EXPECT_OK(experts_linear(a, nullptr));
      if (run == 0) expect_same(y.device_values(), got, "experts by mma and by wgmma");
      ASSERT_TRUE(y.device_values() == got) << "run " << run;
    }
    if (n > kTokensFew) {  // w2's way: gate and up, quantised before, and laid out as they are
      Mirror<std::uint16_t> gate(halves(normals(slots * n_in, 61, 4))),
          up(halves(normals(slots * n_in, 62, 4)));
      Mirror<std::uint8_t> h_codes(slots * n_in);
      Mirror<float> h_scale(slots * (n_in / 128));
      ExpertLinearArgs b = a;
      b.codes = nullptr, b.row_of = nullptr;
      b.x = gate.device(), b.up = up.device(), b.factor = factor.device(), b.limit = 3;
      b.quantise = true, b.quantised = h_codes.device(), b.quantised_scale = h_scale.device();
      b.wgmma = false;
      y.renew();
      LARES_EXPECT_OK(experts_linear(b, nullptr));
      const auto before = y.device_values();
      b.wgmma = true;
      for (const bool laid : {false, true}) {
        b.laid = laid;
        y.renew();
        LARES_EXPECT_OK(experts_linear(b, nullptr));
        expect_same(y.device_values(), before, laid ? "laid before" : "gate and up");
      }
    }
    a.wgmma = false;
    const auto slots_of = slot_of.device_values();
    Mirror<std::uint16_t> one(n_out);
    for (int t = 0; t<n; t += n> 8 ? 29 : 1)
      for (int i = 0; i <= k; ++i) {
        const int slot = i < k ? slots_of[static_cast<std::size_t>(t * k + i)] : n * k + t;
        one.renew();
        const Weight w{
            .format = Format::fp4,
            .tiles =
                i < k ? table[static_cast<std::size_t>(expert[static_cast<std::size_t>(t * k + i)])]
                      : nullptr,
            .n_out = n_out,
            .n_in = n_in};
        LARES_EXPECT_OK(linear({.w = i < k ? w : shared_weight,
                                .codes = codes.device() + t * n_in,
                                .code_scale = scale.device() + t * (n_in / 128),
                                .y = one.device(),
                                .x_stride = n_in,
                                .code_scale_stride = n_in / 128,
                                .y_stride = n_out,
                                .n_tokens = 1},
                               nullptr));
        expect_same(std::vector<std::uint16_t>(got.begin() + slot * n_out,
                                               got.begin() + (slot + 1) * n_out),
                    one.device_values(), "an expert's row");
      }
  }
}

}  // namespace
}  // namespace lares::kernels::cuda
