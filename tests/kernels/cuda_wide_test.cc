// Products with many tokens by wgmma, emulated: the bits of mma's on every format, shape and scale,
// in every order of threads; what they rest on; and that the emulation shows a wait that is
// missing.
#include <numeric>
#include <set>

#include "kernels/cuda/elementwise_kernels.h"
#include "kernels/cuda/products/experts_kernels.h"
#include "kernels/cuda/products/linear_kernels.h"
#include "kernels/cuda/products/wide_kernels.h"
#include "kernels/cuda/products/wide_quantise.h"
#include "tests/kernels/cuda_emulation.h"
#include "tests/kernels/cuda_racing.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;

TEST(CudaWidePlan, EveryPieceComesOnce) {
  for (const int rows : {1, 5, 16, 17, 32, 128})
    for (const int tokens : {1, 3, 64}) {
      std::set<std::pair<int, int>> seen;
      for (int i = 0; i < rows * tokens; ++i) {
        const WidePiece at = wide_piece(i, rows, tokens);
        EXPECT_TRUE(at.row >= 0 && at.row < rows && at.token >= 0 && at.token < tokens);
        seen.insert({at.row, at.token});
      }
      EXPECT_EQ(seen.size(), static_cast<std::size_t>(rows * tokens)) << rows << " by " << tokens;
    }
}

TEST(CudaWidePlan, RunsOfSlotsDoNotTouch) {
  std::int64_t slot = 0, end = 0, job = 0;
  for (int n : {1, 8, 7, 128, 128, 3, 9, 64, 1, 1, 120}) {
    const std::int64_t at = wide_row_of(slot, job++);
    EXPECT_EQ(at % 8, 0);
    EXPECT_GE(at, end);
    end = at + wide_rows(n);
    slot += n;
  }
  EXPECT_GE(wide_row_of(slot, job), end);
  for (const int n : {9, 64, 65, 8192})
    EXPECT_LE(static_cast<std::size_t>(wide_row_of(n * 6, expert_jobs(n, 256, 6)) + wide_rows(n)) *
                  (256 + 4),
              experts_room(n, 256, 6, 128));
}

TEST(CudaWidePlan, AStageFitsAtLeastThrice) {
  for (const Format f : {Format::bf16, Format::fp8, Format::fp4})
    for (const int blocks : {1, 2}) {
      if (f == Format::bf16 && blocks == 2) continue;
      EXPECT_GE(wide_shared(f, blocks).stages, 3);
      EXPECT_LE(wide_shared(f, blocks).bytes, kWideShared);
      EXPECT_EQ(wide_shared(f, blocks).stage % kWideAlign, 0);
    }
}

TEST(CudaWideScales, ACodeTimesAScaleIsExactOrKeptApart) {
  simt::Machine& machine = simt::Machine::get();
  for (int e = -40; e <= 10; ++e) {
    const float s = std::ldexp(1.0f, e);
    const WideScale w = wide_scale(s);
    EXPECT_EQ(w.left, e < -20 || e > -2 ? s : 0.0f) << e;
    EXPECT_EQ(wide_scale(s, kWideLeastFp4).left, e < -22 || e > -2 ? s : 0.0f) << e;
    for (const WideScale& of : {w, wide_scale(s, kWideLeastFp4)})
      for (int c = 0; c < 256; ++c) {
        if ((c & 127) == 127) continue;
        const auto code = static_cast<std::uint32_t>(c) << 8;
        const float got =
            machine.f16(static_cast<std::uint16_t>(multiply_f16(e4m3_f16(code), of.factor)));
        ASSERT_EQ(got, e4m3_value(static_cast<std::uint8_t>(c)) *
                           (of.left != 0 ? 1 / kF16Code : s * kWideCode))
            << c << " 2^" << e;
      }
  }
  EXPECT_EQ(wide_scale(0.75f).left, 0.75f);
  EXPECT_EQ(wide_scale(-1.0f).left, -1.0f);
  EXPECT_NE(wide_scale(NAN).left, wide_scale(NAN).left);
  EXPECT_EQ(wide_scale(0.0f).factor, 0u);
}

// What a copy brings is not there before it is waited for, and what it is copied over no longer is.
TEST(CudaWideEmulation, ACopyLandsWhenItIsWaitedFor) {
  const Racing racing;
  alignas(16) const std::uint32_t from[4] = {1, 2, 3, 4};
  std::uint32_t before = 0, after = 0;
  simt::Machine::get().run({1}, 64, 256, simt::Order::ascending, [&] {
    auto* const barrier = reinterpret_cast<BulkBarrier*>(shared<unsigned char>() + 64);
    if (thread() == 0) {
      shared<std::uint32_t>()[0] = 7;
      make_ring_barrier(barrier, 2);
      copy_ring(shared<std::uint32_t>(), from, 16, barrier);
      announce_ring(barrier, 16);
      before = shared<std::uint32_t>()[0];
    }
    sync_block();
    wait_ring(barrier, 1);  // the phase before the first
    sync_block();
    if (thread() == 40) arrive_ring(barrier);
    wait_ring(barrier, 0);
    if (thread() == 63) after = shared<std::uint32_t>()[0];
  });
  EXPECT_EQ(before, 0xFFFFFFFFu);
  EXPECT_EQ(after, 1u);
}

// Sums are poison until the wait, and operands are those that are there then.
TEST(CudaWideEmulation, AProductIsMadeWhenItIsWaitedFor) {
  const Racing racing;
  float early = 0, sum = 0, changed = 0;
  simt::Machine::get().run({1}, 128, 64 * 128, simt::Order::scattered, [&] {
    auto* const x = shared<std::uint16_t>();
    for (int i = thread(); i < 64 * 64; i += 128) x[i] = 0x3C00;  // 1
    sync_block();
    float d[32] = {}, other[32] = {};
    std::uint32_t a[2][4];
    for (auto& of : a)
      for (auto& v : of) v = 0x40004000u;  // 2
    wgmma<true>(d, a[0], wgmma_matrix(x), 0, 0, false);
    wgmma<true>(d, a[0], wgmma_matrix(x), 0, 1, true);
    wgmma_commit();
    wgmma<true>(other, a[1], wgmma_matrix(x), 0, 0, false);
    wgmma_commit();
    if (thread() == 5) early = d[3];
    wgmma_wait<1>();
    if (thread() == 5) sum = d[3];
    for (auto& v : a[1]) v = 0;
    wgmma_wait<0>();
    if (thread() == 5) changed = other[3];
  });
  EXPECT_NE(early, early);
  EXPECT_EQ(sum, 64);
  EXPECT_EQ(changed, 0);
}

// Runs `body` in all orders, also the one in which warps drift as far apart as they can.
template <class Body, class Result>
auto in_all_orders(int grid, const WideShared& at, const std::function<void()>& fresh, Body body,
                   Result result) {
  const auto first = in_every_order({grid}, kWideThreads, static_cast<std::size_t>(at.bytes), fresh,
                                    body, result);
  if (kFirstOrderAlone) return first;
  fresh();
  simt::Machine::get().run({grid}, kWideThreads, static_cast<std::size_t>(at.bytes),
                           simt::Order::greedy, body);
  EXPECT_TRUE(result() == first) << "depends on the order of threads";
  return first;
}

struct Room {
  std::vector<std::uint8_t> bytes;
  explicit Room(std::size_t n) : bytes(n + 64 + 128, 0xFF) {}
  void* data() {
    return reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(bytes.data()) + 63) / 64 * 64);
  }
  bool intact(std::size_t n) {
    const auto* const end = static_cast<std::uint8_t*>(data()) + n;
    return std::all_of(end, end + 64, [](std::uint8_t b) { return b == 0xFF; });
  }
};

void lay(const Product& p, const WideInput& in, int columns, int n) {
  if (!p.codes_in) return;
  const WideSource from{p.codes, p.code_scale, nullptr, p.x_stride, p.code_scale_stride, columns};
  for (const simt::Order order : in_turn({simt::Order::ascending, simt::Order::scattered}))
    simt::Machine::get().run(
        {(n + 127) / 128, (2 * along_of(columns) + kWideInputWarps - 1) / kWideInputWarps},
        32 * kWideInputWarps, 0, order, [&] { wide_input_kernel(from, in, n); });
}
template <int blocks>
void wide(const WideLinear& all) {
  const Product& p = all.p;
  if (p.format == Format::bf16) {
    if constexpr (blocks == 1) wide_linear_kernel<Format::bf16, false, 1>(all);
  } else if (p.format == Format::fp4) {
    wide_linear_kernel<Format::fp4, true, blocks>(all);
  } else if (p.codes_in) {
    wide_linear_kernel<Format::fp8, true, blocks>(all);
  } else {
    wide_linear_kernel<Format::fp8, false, blocks>(all);
  }
}
void many(const Product& p, int n) {
  if (p.format == Format::bf16)
    linear_many_kernel<Format::bf16, false>(p, n);
  else if (p.format == Format::fp4)
    linear_many_kernel<Format::fp4, true>(p, n);
  else if (p.codes_in)
    linear_many_kernel<Format::fp8, true>(p, n);
  else
    linear_many_kernel<Format::fp8, false>(p, n);
}
// Bits, but of what is no number.
std::vector<std::uint32_t> bits(std::vector<std::uint32_t> v) {
  for (auto& u : v)
    if (float_of(u) != float_of(u)) u = 0x7FC00000u;
  return v;
}

// The same bits as by mma, from pieces of 128 and of 256 rows, by one block and by several.
void expect_same(const LinearArgs& given) {
  LinearArgs args = given;
  Guarded<std::uint32_t> y(static_cast<std::size_t>(args.n_tokens) *
                           static_cast<std::size_t>(args.w.n_out));
  args.y = y.data();
  args.y_f32 = true;
  Products all;
  const Status s = products({&args, 1}, all);
  ASSERT_TRUE(s.ok()) << s.what;
  const Product& p = all.item[0];
  const int n = args.n_tokens, tokens = many_tokens(p.format),
            columns = p.n_out / p.rows_per_group * p.n_in;
  y.poison();
  simt::Machine::get().run({many_row_blocks(p), (n + tokens - 1) / tokens}, kLinearThreads,
                           static_cast<std::size_t>(many_shared(tokens)), simt::Order::scattered,
                           [&] { many(p, n); });
  const auto want = y.values();
  const std::size_t size = linear_room(static_cast<std::size_t>(n),
                                       static_cast<std::size_t>(columns));
  Room room(size);
  const WideInput in = wide_input(room.data(), wide_rows(n), columns);
  lay(p, in, columns, n);
  EXPECT_TRUE(room.intact(size));
  const auto run = [&](auto blocks, int grid) {
    WideLinear l{p, in, n, wide_row_blocks(p.n_out, p.rows_per_group, 128 * blocks), 0};
    l.n_work = l.row_blocks * ((n + 127) / 128);
    return bits(in_all_orders(
        grid, wide_shared(p.format, blocks), [&] { y.poison(); },
        [&] { wide<decltype(blocks)::value>(l); }, [&] { return y.values(); }));
  };
  EXPECT_EQ(run(std::integral_constant<int, 1>{}, 1), bits(want)) << "by 128 rows";
  if (p.format != Format::bf16) {
    EXPECT_EQ(run(std::integral_constant<int, 2>{}, 3), bits(want)) << "by 256 rows";
  }
  Guarded<std::uint16_t> rounded(want.size());
  WideLinear l{p, in, n, wide_row_blocks(p.n_out, p.rows_per_group, 128), 0};
  l.p.y = rounded.data();
  l.p.y_f32 = false;
  l.n_work = l.row_blocks * ((n + 127) / 128);
  simt::Machine::get().run({2}, kWideThreads,
                           static_cast<std::size_t>(wide_shared(p.format, 1).bytes),
                           simt::Order::scattered, [&] { wide<1>(l); });
  const auto got = rounded.values();
  for (std::size_t i = 0; i < want.size(); ++i) ASSERT_EQ(got[i], to_bf16(float_of(want[i]))) << i;
}

struct Case {
  Format format;
  bool codes_in, f32_scale;
  int n_out, n_in, n_tokens, rows_per_group;
};
class CudaWide : public testing::TestWithParam<Case> {};

// Normal activations have scales that go into the values; those of a thousand times as much do not.
TEST_P(CudaWide, HasTheBitsOfMma) {
  const Case c = GetParam();
  const int groups = c.rows_per_group ? c.n_out / c.rows_per_group : 1, columns = c.n_in * groups;
  for (const bool beyond : {false, true}) {
    SCOPED_TRACE(beyond ? "scales that do not go into values" : "ordinary scales");
    if (beyond && !c.codes_in) continue;
    const Stored s = stored(c.format, c.n_out, c.n_in, c.f32_scale);
    const Tiled t = tiled(s.m);
    auto values = normals(static_cast<std::size_t>(c.n_tokens) * static_cast<std::size_t>(columns),
                          5);
    if (beyond)
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] *= std::ldexp(1.0f, 12 - static_cast<int>(i / 128 % 3) * 14);
    const auto x = halves(values);
    const Quantised q = quantised(x, c.n_tokens, columns);
    if (c.codes_in) {
      EXPECT_EQ(std::any_of(q.scale.begin(), q.scale.end(),
                            [](float v) { return wide_scale(v).left != 0; }),
                beyond);
    }
    expect_same({.w = t.w,
                 .x = x.data(),
                 .codes = c.codes_in ? q.codes.data() : nullptr,
                 .code_scale = q.scale.data(),
                 .x_stride = columns,
                 .code_scale_stride = (columns + 127) / 128,
                 .y_stride = c.n_out,
                 .n_tokens = c.n_tokens,
                 .rows_per_group = c.rows_per_group});
  }
}
// More tiles of k than stages; tails of tokens, of rows and of k; more pieces than blocks; groups
// that end within a piece.
INSTANTIATE_TEST_SUITE_P(, CudaWide,
                         testing::Values(Case{Format::fp8, true, false, 272, 1152, 9, 0},
                                         Case{Format::fp8, true, true, 40, 160, 130, 0},
                                         Case{Format::fp8, true, false, 528, 256, 200, 0},
                                         Case{Format::fp8, false, false, 48, 256, 11, 0},
                                         Case{Format::fp8, false, false, 192, 256, 70, 96},
                                         Case{Format::fp8, false, true, 400, 1056, 65, 0},
                                         Case{Format::fp4, true, false, 33, 288, 17, 0},
                                         Case{Format::fp4, true, false, 272, 1152, 100, 0},
                                         Case{Format::fp4, true, false, 256, 128, 1, 0},
                                         Case{Format::bf16, false, false, 8, 128, 9, 0},
                                         Case{Format::bf16, false, false, 145, 672, 66, 0}));

TEST(CudaWideScales, EveryScaleOfFp4Weights) {
  constexpr int n_out = 192, n_in = 128, n = 9;
  Stored s = stored(Format::fp4, n_out, n_in);
  for (int r = 0; r < n_out; ++r)
    for (int j = 0; j < 4; ++j)
      s.scales[static_cast<std::size_t>(4 * r + j)] = static_cast<std::uint8_t>(j == 2 ? 120
                                                                                       : 40 + r);
  const Tiled t = tiled(s.m);
  const Quantised q = quantised(halves(normals(n * n_in, 8)), n, n_in);
  expect_same({.w = t.w,
               .codes = q.codes.data(),
               .code_scale = q.scale.data(),
               .x_stride = n_in,
               .code_scale_stride = 1,
               .y_stride = n_out,
               .n_tokens = n});
  for (auto& v : s.scales) v = v < 100 ? 0 : 255;  // nothing, and no number
  const Tiled odd = tiled(s.m);
  expect_same({.w = odd.w,
               .codes = q.codes.data(),
               .code_scale = q.scale.data(),
               .x_stride = n_in,
               .code_scale_stride = 1,
               .y_stride = n_out,
               .n_tokens = n});
}

// A token whose block is no number spoils its own results alone.
TEST(CudaWideScales, ATokenThatIsNoNumberSpoilsNoOther) {
  constexpr int n_out = 128, n_in = 384, n = 20;
  const Stored s = stored(Format::fp8, n_out, n_in);
  const Tiled t = tiled(s.m);
  Quantised q = quantised(halves(normals(n * n_in, 9)), n, n_in);
  q.scale[3 * 7 + 1] = NAN;
  q.scale[3 * 11] = 0.75f;  // not of Q8_128
  q.scale[3 * 13 + 2] = 0;
  expect_same({.w = t.w,
               .codes = q.codes.data(),
               .code_scale = q.scale.data(),
               .x_stride = n_in,
               .code_scale_stride = 3,
               .y_stride = n_out,
               .n_tokens = n});
}

// Nor does what lies behind a row's end, where k ends within a tile.
TEST(CudaWideScales, WhatIsBehindARowIsNotMultiplied) {
  constexpr int n_out = 48, n_in = 160, n = 12;
  auto x = halves(normals(n * n_in, 10));
  for (int i = 0; i < 8; ++i) x[static_cast<std::size_t>(5 * n_in + i)] = 0x7F80;  // infinite
  for (const Format format : {Format::bf16, Format::fp8}) {
    const Stored s = stored(format, n_out, n_in);
    const Tiled t = tiled(s.m);
    expect_same({.w = t.w, .x = x.data(), .x_stride = n_in, .y_stride = n_out, .n_tokens = n});
  }
}

// Ordinary blocks, those whose scales do not go into values, of nothing, and with what is no number
// or infinite.
std::vector<std::uint16_t> odd_blocks(int n, int columns, std::uint64_t seed) {
  auto values = normals(static_cast<std::size_t>(n) * static_cast<std::size_t>(columns), seed);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] *= i / 32 % 23 == 5 ? 0.0f : std::ldexp(1.0f, i / 128 % 11 == 3 ? 14 : -3);
  values[values.size() / 3] = NAN;
  values[values.size() / 2] = -INFINITY;
  return halves(values);
}
// All of a room, in every order of threads.
template <class Run>
std::vector<std::uint8_t> laid(Room& room, std::size_t size, Run run) {
  std::vector<std::uint8_t> first;
  for (const simt::Order order :
       in_turn({simt::Order::ascending, simt::Order::descending, simt::Order::scattered})) {
    std::fill_n(static_cast<std::uint8_t*>(room.data()), size, std::uint8_t{0xFF});
    run(order);
    EXPECT_TRUE(room.intact(size));
    const auto* const begin = static_cast<const std::uint8_t*>(room.data());
    std::vector<std::uint8_t> got(begin, begin + size);
    if (first.empty()) first = got;
    EXPECT_TRUE(got == first) << "depends on the order of threads";
  }
  return first;
}

TEST(CudaWideQuantise, LaysWhatWouldBeQuantisedBefore) {
  for (const auto& [n, columns] : {std::pair{9, 160}, {131, 1152}, {64, 128}}) {
    const auto x = odd_blocks(n, columns, 31);
    const int blocks = (columns + 127) / 128;
    std::vector<std::uint8_t> codes(x.size());
    std::vector<float> scale(static_cast<std::size_t>(n) * blocks);
    const QuantiseArgs before{x.data(), codes.data(), scale.data(), columns, columns, blocks,
                              n,        columns};
    simt::Machine::get().run({quantise_blocks(n, columns)}, 256, 0, simt::Order::scattered,
                             [&] { quantise_kernel(before); });
    const std::size_t size = linear_room(static_cast<std::size_t>(n),
                                         static_cast<std::size_t>(columns));
    Room room(size);
    const WideInput in = wide_input(room.data(), wide_rows(n), columns);
    const WideSource from{codes.data(), scale.data(), nullptr, columns, blocks, columns};
    const auto want = laid(room, size, [&](simt::Order order) {
      simt::Machine::get().run({(n + 127) / 128, (2 * blocks + 7) / 8}, 32 * kWideInputWarps, 0,
                               order, [&] { wide_input_kernel(from, in, n); });
    });
    const WideValues values{x.data(), nullptr, nullptr, columns, columns, 0};
    EXPECT_EQ(laid(room, size,
                   [&](simt::Order order) {
                     simt::Machine::get().run(
                         {(n + kQuantiseRows - 1) / kQuantiseRows, (blocks + 7) / 8},
                         32 * kWideInputWarps, 0, order,
                         [&] { wide_quantise_kernel(values, in, n); });
                   }),
              want)
        << n << " rows of " << columns;
  }
}

TEST(CudaWideQuantise, LaysWhatSwigluMakes) {
  constexpr int E = 4, k = 2, n = 150, n_in = 1184, n_slots = n * k, blocks = (n_in + 127) / 128;
  const auto gate = odd_blocks(n_slots + n, n_in, 32), up = odd_blocks(n_slots + n, n_in, 33);
  const auto factor = normals(n_slots + n, 34);
  const int n_jobs = expert_jobs(n, E, k);
  std::vector<std::int32_t> jobs{0, 0, 128, 0, 128, 62, 2, 190, 1, 3, 191, n_slots - 191};
  jobs.resize(3 * static_cast<std::size_t>(n_jobs));
  const std::size_t size = experts_room(n, E, k, n_in);
  Room room(size);
  const WideInput in = wide_input(room.data(), wide_row_of(n_slots, n_jobs) + wide_rows(n), n_in);
  for (const float limit : {2.0f, 0.0f})
    for (const bool fp4 : {true, false}) {
      std::vector<std::uint8_t> codes(gate.size());
      std::vector<float> scale(static_cast<std::size_t>(n_slots + n) * blocks);
      const SwigluArgs before{.gate = gate.data(),
                              .up = up.data(),
                              .factor = factor.data(),
                              .h = nullptr,
                              .codes = codes.data(),
                              .code_scale = scale.data(),
                              .stride = n_in,
                              .scale_stride = blocks,
                              .n_rows = n_slots + n,
                              .n = n_in,
                              .limit = limit};
      simt::Machine::get().run({swiglu_blocks(n_slots + n, n_in)}, 256, 0, simt::Order::scattered,
                               [&] { swiglu_kernel(before); });
      const WideSource from{codes.data(), scale.data(), nullptr, n_in, blocks, n_in};
      const auto want = laid(room, size, [&](simt::Order order) {
        simt::Machine::get().run(
            {n_jobs + 2, (2 * blocks + 7) / 8}, 32 * kWideInputWarps, 0, order,
            [&] { wide_slots_kernel(from, in, jobs.data(), n_jobs, n_slots, n, fp4); });
      });
      const WideValues values{gate.data(), up.data(), factor.data(), n_in, n_in, limit};
      EXPECT_EQ(laid(room, size,
                     [&](simt::Order order) {
                       simt::Machine::get().run(
                           {n_jobs + 2, (blocks + 7) / 8}, 32 * kWideInputWarps, 0, order, [&] {
                             wide_gated_kernel(values, in, jobs.data(), n_jobs, n_slots, n, fp4);
                           });
                     }),
                want)
          << "limit " << limit;
      *in.taken = 7;
      simt::Machine::get().run({1}, 32, 0, simt::Order::scattered, [&] { wide_again_kernel(in); });
      EXPECT_EQ(*in.taken, 0u);
    }
}

// Runs of one slot, of more than 128, and a tail beyond 64; experts that are elsewhere or that
// nobody chose; the shared one's slots behind.
TEST(CudaWideExperts, EveryRunHasTheBitsOfMma) {
  constexpr int E = 5, k = 2, n_out = 272, n_in = 256, n = 220, n_slots = n * k;
  for (const Format format : {Format::fp4, Format::fp8}) {
    SCOPED_TRACE(format == Format::fp4 ? "rows that several slots have" : "rows of their own");
    std::vector<Tiled> tiles;
    for (int i = 0; i < 2 * E; ++i) {
      Stored s = stored(format, n_out, n_in);
      for (auto& c : s.codes) c = static_cast<std::uint8_t>(c ^ (i * 9));
      if (format == Format::fp8)
        for (auto& c : s.codes)
          if ((c & 0x7F) == 0x7F) c = 0;
      s.m.data = s.codes.data() + (format == Format::fp8 ? 3 : 1);
      s.m.scale = s.scales.data();
      tiles.push_back(tiled(s.m));
    }
    const std::uint8_t* tables[2][E];
    const float* scales[2][E];
    for (int i = 0; i < 2 * E; ++i)
      tables[i / E][i % E] = tiles[static_cast<std::size_t>(i)].tiles.data(),
                        scales[i / E][i % E] = tiles[static_cast<std::size_t>(i)].scale.data();
    tables[1][2] = nullptr;
    // Slots: expert 0 has 1, 1 has 200, 2 has 65, 4 has the rest; nobody chose 3.
    std::vector<std::int32_t> row_of(n_slots + n),
        jobs(3 * static_cast<std::size_t>(expert_jobs(n, E, k)), 0);
    for (int i = 0; i < n_slots; ++i) row_of[static_cast<std::size_t>(i)] = i * 37 % n;
    std::iota(row_of.begin() + n_slots, row_of.end(), 0);
    std::size_t job = 0;
    int slot = 0;
    for (const auto& [e, m] : {std::pair{0, 1}, {1, 200}, {2, 65}, {4, n_slots - 266}})
      for (int at = 0; at < m; at += kExpertRun) {
        const int run = std::min(kExpertRun, m - at);
        for (const int v : {e, slot, run}) jobs[job++] = v;
        slot += run;
      }
    ASSERT_EQ(slot, n_slots);
    const Stored shared_stored = stored(Format::fp8, n_out, n_in);
    const Tiled shared_one = tiled(shared_stored.m);
    const bool own_rows = format == Format::fp8;  // w2's way
    {
      const int rows = own_rows ? n_slots + n : n;
      const Quantised q = quantised(halves(normals(static_cast<std::size_t>(rows) * n_in, 60)),
                                    rows, n_in);
      const std::size_t size = static_cast<std::size_t>(n_slots + n) * n_out;
      Guarded<std::uint16_t> y0(size), y1(size);
      ExpertLinearArgs a{.n_matrices = 2,
                         .format = format,
                         .n_out = n_out,
                         .n_in = n_in,
                         .codes = q.codes.data(),
                         .code_scale = q.scale.data(),
                         .x_stride = n_in,
                         .code_scale_stride = n_in / 128,
                         .y_stride = n_out,
                         .row_of = own_rows ? nullptr : row_of.data(),
                         .jobs = jobs.data(),
                         .n_tokens = n,
                         .n_experts = E,
                         .k = k};
      a.matrix[0] = {.tiles = tables[0],
                     .scale = format == Format::fp8 ? scales[0] : nullptr,
                     .shared = shared_one.w,
                     .y = y0.data()};
      a.matrix[1] = {.tiles = tables[1],
                     .scale = format == Format::fp8 ? scales[1] : nullptr,
                     .shared = shared_one.w,
                     .y = y1.data()};
      const ExpertPlan plan = expert_plan(a);
      simt::Machine::get().run({plan.x, plan.y}, kLinearThreads,
                               static_cast<std::size_t>(plan.shared_bytes), simt::Order::scattered,
                               [&] { experts_many_kernel(a, plan.n_jobs); });
      const std::pair want(y0.values(), y1.values());
      const int n_jobs = expert_jobs(n, E, k);
      const std::size_t room_bytes = own_rows ? experts_room(n, E, k, n_in) : linear_room(n, n_in);
      Room room(room_bytes);
      WideExperts all{};
      all.one_at = wide_row_of(n_slots, n_jobs);
      all.in = own_rows ? wide_input(room.data(), all.one_at + wide_rows(n), n_in)
                        : wide_input(room.data(), wide_rows(n), n_in, true);
      const WideSource from{a.codes, a.code_scale, nullptr, a.x_stride, a.code_scale_stride, n_in};
      if (own_rows)
        simt::Machine::get().run(
            {n_jobs + 2, 1}, 32 * kWideInputWarps, 0, simt::Order::scattered,
            [&] { wide_slots_kernel(from, all.in, jobs.data(), n_jobs, n_slots, n, true); });
      else
        simt::Machine::get().run({2, 1}, 32 * kWideInputWarps, 0, simt::Order::scattered,
                                 [&] { wide_input_kernel(from, all.in, n); });
      EXPECT_EQ(*all.in.taken, 0u);
      EXPECT_TRUE(room.intact(room_bytes));
      all.p.n_out = all.p.rows_per_group = n_out;
      all.p.n_in = n_in;
      all.p.y_stride = n_out;
      all.p.codes_in = true;
      all.one_slot = n_slots;
      all.n_tokens = n;
      for (int m = 0; m < 2; ++m)
        all.tiles[m] = a.matrix[m].tiles, all.scale[m] = a.matrix[m].scale,
        all.y[m] = a.matrix[m].y, all.one_tiles[m] = shared_one.w.tiles,
        all.one_scale[m] = shared_one.w.scale;
      all.jobs = jobs.data();
      all.row_of = a.row_of;
      all.n_matrices = 2;
      all.row_blocks = wide_row_blocks(n_out, n_out, 256);
      all.n_work = n_jobs * 2 * all.row_blocks;
      const auto kernel = [&](Format f) {
        if (f == Format::fp4)
          own_rows ? wide_experts_kernel<Format::fp4, 2, WideFrom::planes>(all)
                   : wide_experts_kernel<Format::fp4, 2, WideFrom::pieces>(all);
        else
          own_rows ? wide_experts_kernel<Format::fp8, 2, WideFrom::planes>(all)
                   : wide_experts_kernel<Format::fp8, 2, WideFrom::pieces>(all);
      };
      const auto routed = in_all_orders(
          2, wide_shared(format, 2), [&] { y0.poison(), y1.poison(), *all.in.taken = 0; },
          [&] { kernel(format); }, [&] { return std::pair(y0.values(), y1.values()); });
      const auto upto = static_cast<std::ptrdiff_t>(n_slots) * n_out;
      EXPECT_TRUE(
          std::equal(routed.first.begin(), routed.first.begin() + upto, want.first.begin()));
      EXPECT_TRUE(
          std::equal(routed.second.begin(), routed.second.begin() + upto, want.second.begin()));
      EXPECT_TRUE(std::all_of(routed.first.begin() + upto, routed.first.end(),
                              [](std::uint16_t v) { return v == 0xFFFF; }));
      all.jobs = nullptr;
      all.n_work = 2 * 2 * all.row_blocks;
      simt::Machine::get().run({3}, kWideThreads,
                               static_cast<std::size_t>(wide_shared(Format::fp8, 2).bytes),
                               simt::Order::scattered, [&] { kernel(Format::fp8); });
      EXPECT_EQ(y0.values(), want.first);
      EXPECT_EQ(y1.values(), want.second);
    }
  }
}

}  // namespace
}  // namespace lares::kernels::cuda
