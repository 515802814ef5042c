// Bodies of the router's and experts' launches, emulated: choices and sums as the CPU makes them,
// every slot once, products as linear() makes them.
#include <numeric>

#include "kernels/cuda/products/experts_kernels.h"
#include "kernels/cuda/products/experts_stream.h"
#include "kernels/cuda/products/linear_kernels.h"
#include "kernels/moe.h"
#include "tests/kernels/cuda_few.h"
#include "tests/kernels/cuda_mixes.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;

void streamed(const ExpertLinearArgs& a, int blocks, simt::Order order) {
  const StreamArgs args = stream_of(a);
  ASSERT_GT(args.plan.slots, 0);
  simt::Machine::get().run({blocks}, kStreamThreads, static_cast<std::size_t>(args.plan.bytes),
                           order, [&, n = divisor(static_cast<std::uint32_t>(blocks))] {
                             experts_stream_kernel<kFp4 | kFp8Codes>(args, n);
                           });
}

struct Routes {
  std::vector<std::int32_t> expert;
  std::vector<float> weight;
};
Routes routed(int n, int E, int k, const std::int64_t* given, const std::int32_t* tokens,
              std::uint64_t seed) {
  auto u = normals(static_cast<std::size_t>(n) * E, seed, 4);
  const auto bias = normals(static_cast<std::size_t>(E), seed + 1);
  // Ties in token 0, where biases agree
  for (int e = 0; e + 1 < E; e += 2)
    u[static_cast<std::size_t>(e)] = u[static_cast<std::size_t>(e + 1)] = 3;
  std::vector<float> flat = bias;
  for (int e = 0; e + 1 < E; e += 2)
    flat[static_cast<std::size_t>(e + 1)] = flat[static_cast<std::size_t>(e)];
  Guarded<std::int32_t> expert(static_cast<std::size_t>(n) * k);
  Guarded<float> weight(static_cast<std::size_t>(n) * k);
  const RouteArgs a{.u = u.data(),
                    .bias = given ? nullptr : flat.data(),
                    .given = given,
                    .tokens = tokens,
                    .expert = expert.data(),
                    .weight = weight.data(),
                    .n_tokens = n,
                    .n_experts = E,
                    .k = k,
                    .factor = 1.5f};
  in_every_order(
      {n}, 32, static_cast<std::size_t>(E) * 4, [&] { expert.poison(), weight.poison(); },
      [&] { route_kernel(a); }, [&] { return std::pair(expert.values(), weight.values()); });
  Routes got{expert.values(), weight.values()}, want = got;
  std::vector<float> scratch(static_cast<std::size_t>(E));
  for (int t = 0; t < n; ++t)
    kernels::route({.u = u.data() + t * E,
                    .bias = a.bias,
                    .given = given ? given + tokens[t] * k : nullptr,
                    .expert = want.expert.data() + t * k,
                    .weight = want.weight.data() + t * k,
                    .scratch = scratch.data(),
                    .n_experts = E,
                    .k = k,
                    .factor = 1.5f});
  EXPECT_EQ(got.expert, want.expert);
  EXPECT_EQ(got.weight, want.weight);
  return got;
}

TEST(CudaExperts, RouteChoosesAndWeighsAsTheCpu) {
  for (const auto& [n, E, k] : {std::tuple{3, 8, 2}, {5, 256, 6}, {2, 384, 6}, {1, 3, 3}})
    routed(n, E, k, nullptr, nullptr, 41);
  const std::vector<std::int64_t> given{0, 5, 7, 7, 1, 2};
  const std::vector<std::int32_t> tokens{2, 0};
  EXPECT_EQ(routed(2, 8, 2, given.data(), tokens.data(), 42).expert,
            (std::vector<std::int32_t>{1, 2, 0, 5}));
}

TEST(CudaExperts, RouteTakesTheLowerOfEqualExpertsAndNoNumberLast) {
  const auto chosen = [](const std::vector<float>& u, int k) {
    const std::vector<float> bias(u.size(), 0.5f);
    std::vector<std::int32_t> expert(static_cast<std::size_t>(k));
    std::vector<float> weight(static_cast<std::size_t>(k));
    const RouteArgs a{.u = u.data(),
                      .bias = bias.data(),
                      .given = nullptr,
                      .tokens = nullptr,
                      .expert = expert.data(),
                      .weight = weight.data(),
                      .n_tokens = 1,
                      .n_experts = static_cast<int>(u.size()),
                      .k = k,
                      .factor = 1};
    simt::Machine::get().run({1}, 32, u.size() * 4, simt::Order::scattered,
                             [&] { route_kernel(a); });
    return expert;
  };
  std::vector<float> u(70, 1.0f);  // a lane has as many as three of them
  EXPECT_EQ(chosen(u, 4), (std::vector<std::int32_t>{0, 1, 2, 3}));
  u[37] = u[5] = u[69] = 2;
  EXPECT_EQ(chosen(u, 4), (std::vector<std::int32_t>{5, 37, 69, 0}));
  u = {NAN, -2, NAN, -3, NAN};
  EXPECT_EQ(chosen(u, 5), (std::vector<std::int32_t>{1, 3, 0, 2, 4}));
}

struct Groups {
  std::vector<std::int32_t> begin, slot_of, token_of, jobs;
  std::vector<float> factor;
  bool operator==(const Groups&) const = default;
};
Groups grouped(const Routes& r, int n, int E, int k) {
  const std::size_t slots = static_cast<std::size_t>(n) * k;
  Guarded<std::int32_t> begin(static_cast<std::size_t>(E) + 1), slot_of(slots), token_of(slots + n),
      jobs(3 * static_cast<std::size_t>(expert_jobs(n, E, k)));
  Guarded<float> factor(slots + n);
  const GroupArgs a{.expert = r.expert.data(),
                    .weight = r.weight.data(),
                    .begin = begin.data(),
                    .slot_of = slot_of.data(),
                    .token_of = token_of.data(),
                    .factor = factor.data(),
                    .jobs = jobs.data(),
                    .n_tokens = n,
                    .n_experts = E,
                    .k = k};
  return in_every_order(
      {E + 1}, kGroupThreads, static_cast<std::size_t>(group_shared(E)),
      [&] { begin.poison(), slot_of.poison(), token_of.poison(), jobs.poison(), factor.poison(); },
      [&] { group_kernel(a); },
      [&] {
        return Groups{begin.values(), slot_of.values(), token_of.values(), jobs.values(),
                      factor.values()};
      });
}

TEST(CudaExperts, FewTokensAreRoutedAndGroupedInOneLaunch) {
  for (const auto& [n, E, k] : {std::tuple{1, 256, 6}, {8, 256, 6}, {8, 8, 2}, {5, 3, 3}}) {
    const Routes apart = routed(n, E, k, nullptr, nullptr, 43);
    const Groups want = grouped(apart, n, E, k);
    auto u = normals(static_cast<std::size_t>(n) * E, 43, 4);
    auto bias = normals(static_cast<std::size_t>(E), 44);
    for (int e = 0; e + 1 < E; e += 2) {  // as routed() has them
      u[static_cast<std::size_t>(e)] = u[static_cast<std::size_t>(e + 1)] = 3;
      bias[static_cast<std::size_t>(e + 1)] = bias[static_cast<std::size_t>(e)];
    }
    const std::size_t slots = static_cast<std::size_t>(n) * k;
    Guarded<std::int32_t> expert(slots), begin(static_cast<std::size_t>(E) + 1), slot_of(slots),
        token_of(slots + n), jobs(3 * static_cast<std::size_t>(expert_jobs(n, E, k)));
    Guarded<float> weight(slots), factor(slots + n);
    const RouteArgs a{.u = u.data(),
                      .bias = bias.data(),
                      .given = nullptr,
                      .tokens = nullptr,
                      .expert = expert.data(),
                      .weight = weight.data(),
                      .n_tokens = n,
                      .n_experts = E,
                      .k = k,
                      .factor = 1.5f};
    const GroupArgs b{.expert = expert.data(),
                      .weight = weight.data(),
                      .begin = begin.data(),
                      .slot_of = slot_of.data(),
                      .token_of = token_of.data(),
                      .factor = factor.data(),
                      .jobs = jobs.data(),
                      .n_tokens = n,
                      .n_experts = E,
                      .k = k};
    const auto got = in_every_order(
        {1}, kGroupThreads, static_cast<std::size_t>(route_and_group_shared(n, E, k)),
        [&] {
          expert.poison(), weight.poison(), begin.poison(), slot_of.poison(), token_of.poison(),
              jobs.poison(), factor.poison();
        },
        [&] { route_and_group_kernel(a, b); },
        [&] {
          return Groups{begin.values(), slot_of.values(), token_of.values(), jobs.values(),
                        factor.values()};
        });
    EXPECT_EQ(got, want) << n << " tokens of " << E;
    EXPECT_EQ(expert.values(), apart.expert);
    EXPECT_EQ(weight.values(), apart.weight);
  }
}

TEST(CudaExperts, GroupGivesEverySlotOnceInOrderOfTokens) {
  for (const auto& [n, E, k] :
       {std::tuple{1, 8, 2}, {8, 256, 6}, {200, 8, 6}, {300, 5, 1}, {1001, 7, 5}}) {
    Routes r;
    for (int t = 0; t < n; ++t) {
      const auto order = normals(static_cast<std::size_t>(E), static_cast<std::uint64_t>(t));
      std::vector<int> ids(static_cast<std::size_t>(E));
      std::iota(ids.begin(), ids.end(), 0);
      std::sort(ids.begin(), ids.end(), [&](int a, int b) {
        return order[static_cast<std::size_t>(a)] >
               order[static_cast<std::size_t>(b)] + (a < b ? 1 : 0);
      });  // some experts are liked
      for (int i = 0; i < k; ++i)
        r.expert.push_back(ids[static_cast<std::size_t>(i)]),
            r.weight.push_back(static_cast<float>(t * k + i));
    }
    const Groups g = grouped(r, n, E, k);
    // The forward pass's own way.
    std::vector<std::int32_t> count(static_cast<std::size_t>(E) + 1, 0);
    for (const auto e : r.expert) ++count[static_cast<std::size_t>(e) + 1];
    std::vector<std::int32_t> jobs;
    for (int e = 0; e < E; ++e) {
      count[static_cast<std::size_t>(e) + 1] += count[static_cast<std::size_t>(e)];
      for (int at = count[static_cast<std::size_t>(e)],
               end = count[static_cast<std::size_t>(e) + 1];
           at < end; at += kExpertRun)
        jobs.insert(jobs.end(), {e, at, std::min(kExpertRun, end - at)});
    }
    EXPECT_EQ(g.begin, count);
    ASSERT_LE(jobs.size(), g.jobs.size());
    jobs.resize(g.jobs.size(), 0);
    EXPECT_EQ(g.jobs, jobs);
    auto next = count;
    for (int t = 0; t < n; ++t)
      for (int i = 0; i < k; ++i) {
        const auto at = static_cast<std::size_t>(t) * k + i;
        const int slot = next[static_cast<std::size_t>(r.expert[at])]++;
        ASSERT_EQ(g.slot_of[at], slot);
        ASSERT_EQ(g.token_of[static_cast<std::size_t>(slot)], t);
        ASSERT_EQ(g.factor[static_cast<std::size_t>(slot)], r.weight[at]);
      }
    for (int t = 0; t < n; ++t) {
      EXPECT_EQ(g.token_of[static_cast<std::size_t>(n * k + t)], t);
      EXPECT_EQ(g.factor[static_cast<std::size_t>(n * k + t)], 1.0f);
    }
  }
}

// Two matrices of every expert and the shared one, few tokens and many: each slot's row is what
// linear() gives that token alone.
TEST(CudaExperts, EverySlotIsMultipliedByItsExpert) {
  constexpr int E = 3, k = 2, n_out = 144, n_in = 512;
  std::vector<Stored> stored_of;
  std::vector<Tiled> tiles;
  for (int i = 0; i < 2 * E; ++i) {
    Stored s = stored(Format::fp4, n_out, n_in);
    s.codes = bytes(s.codes.size(), static_cast<std::uint64_t>(50 + i));
    s.m.data = s.codes.data() + 1;
    s.m.scale = s.scales.data();
    tiles.push_back(tiled(s.m));
    stored_of.push_back(std::move(s));
  }
  const Stored shared_stored = stored(Format::fp8, n_out, n_in);
  const Tiled shared_tiles = tiled(shared_stored.m);
  const std::uint8_t* tables[2][E];
  for (int i = 0; i < 2 * E; ++i)
    tables[i / E][i % E] = tiles[static_cast<std::size_t>(i)].tiles.data();
  tables[1][2] = nullptr;  // w3 of the last one is elsewhere
  for (const int n : {1, 3, 8, 70}) {
    Routes r;
    for (int t = 0; t < n; ++t)
      r.expert.insert(r.expert.end(), {t % 5 == 0 ? 0 : 2, 1}),
          r.weight.insert(r.weight.end(), {1, 2});
    const Groups g = grouped(r, n, E, k);
    const auto x = halves(normals(static_cast<std::size_t>(n) * n_in, 60));
    const Quantised q = quantised(x, n, n_in);
    const std::size_t size = static_cast<std::size_t>(n) * (k + 1) * n_out;
    Guarded<std::uint16_t> y0(size), y1(size);
    ExpertLinearArgs a{.n_matrices = 2,
                       .format = Format::fp4,
                       .n_out = n_out,
                       .n_in = n_in,
                       .codes = q.codes.data(),
                       .code_scale = q.scale.data(),
                       .x_stride = n_in,
                       .code_scale_stride = n_in / 128,
                       .y_stride = n_out,
                       .row_of = g.token_of.data(),
                       .jobs = g.jobs.data(),
                       .n_tokens = n,
                       .n_experts = E,
                       .k = k};
    const LeftMixes left(std::min(n, kTokensFew));
    if (n <= kTokensFew) a.mixes = left.args();
    a.matrix[0] = {.tiles = tables[0], .shared = shared_tiles.w, .y = y0.data()};
    a.matrix[1] = {.tiles = tables[1], .shared = shared_tiles.w, .y = y1.data()};
    const ExpertPlan plan = expert_plan(a);
    EXPECT_EQ(plan.few, n <= kTokensFew);
    in_every_order(
        {plan.x, plan.y}, kLinearThreads, static_cast<std::size_t>(plan.shared_bytes),
        [&] { y0.poison(), y1.poison(); },
        [&] {
          plan.few ? experts_few_kernel(a, plan.n_jobs) : experts_many_kernel(a, plan.n_jobs);
        },
        [&] { return std::pair(y0.values(), y1.values()); });
    if (plan.few) {  // w2's way: what swiglu makes of its own slots' rows, by itself or before
      const auto gate = halves(normals(static_cast<std::size_t>(n) * (k + 1) * n_in, 71, 4)),
                 up = halves(normals(static_cast<std::size_t>(n) * (k + 1) * n_in, 72, 4));
      std::vector<std::uint8_t> h_codes(gate.size());
      std::vector<float> h_scale(gate.size() / 128);
      const SwigluArgs before{.gate = gate.data(),
                              .up = up.data(),
                              .factor = g.factor.data(),
                              .h = nullptr,
                              .codes = h_codes.data(),
                              .code_scale = h_scale.data(),
                              .stride = n_in,
                              .scale_stride = n_in / 128,
                              .n_rows = n * (k + 1),
                              .n = n_in,
                              .limit = 2};
      simt::Machine::get().run({swiglu_blocks(n * (k + 1), n_in)}, 256, 0, simt::Order::scattered,
                               [&] { swiglu_kernel(before); });
      ExpertLinearArgs in_two = a;
      in_two.row_of = nullptr;
      in_two.codes = h_codes.data();
      in_two.code_scale = h_scale.data();
      ExpertLinearArgs by_itself = in_two;
      by_itself.codes = nullptr;
      by_itself.x = gate.data();
      by_itself.up = up.data();
      by_itself.factor = g.factor.data();
      by_itself.limit = 2;
      by_itself.quantise = true;
      const auto made = [&](const ExpertLinearArgs& args, bool streams) {
        y0.poison();
        y1.poison();
        if (streams)
          streamed(args, 3, simt::Order::scattered);
        else
          simt::Machine::get().run(
              {plan.x, plan.y}, kLinearThreads, static_cast<std::size_t>(plan.shared_bytes),
              simt::Order::scattered, [&] { experts_few_kernel(args, plan.n_jobs); });
        return std::pair(y0.values(), y1.values());
      };
      const auto want = made(in_two, false);
      EXPECT_EQ(made(by_itself, false), want);
      EXPECT_EQ(made(by_itself, true), want);
      EXPECT_EQ(made(in_two, true), want);
      const auto mixes = left.wanted();
      in_every_order(
          {plan.x + 1, plan.y}, kLinearThreads, static_cast<std::size_t>(plan.shared_bytes),
          [&] { y0.poison(), y1.poison(), left.poison(); },
          [&] { experts_few_kernel(a, plan.n_jobs); },
          [&] { return std::pair(y0.values(), y1.values()); });
      EXPECT_EQ(left.made(), mixes);
      const std::pair blocks_each(y0.values(), y1.values());
      for (const bool own_rows : {false, true}) {  // w2's way: every slot has its own row
        ExpertLinearArgs b = a;
        std::vector<std::uint8_t> codes;
        std::vector<float> scale;
        if (own_rows) {
          for (const std::int32_t t : g.token_of) {
            codes.insert(codes.end(), q.codes.begin() + t * n_in, q.codes.begin() + (t + 1) * n_in);
            scale.insert(scale.end(), q.scale.begin() + t * (n_in / 128),
                         q.scale.begin() + (t + 1) * (n_in / 128));
          }
          b.codes = codes.data();
          b.code_scale = scale.data();
          b.row_of = nullptr;
        }
        std::vector<StreamScratch> scratch(40);
        for (const bool cut : {false, true})
          for (const int blocks : {1, 3, 5, 40}) {
            const StreamArgs args = stream_of(b, {cut ? scratch.data() : nullptr});
            EXPECT_EQ(in_every_order(
                          {blocks}, kStreamThreads, static_cast<std::size_t>(args.plan.bytes),
                          [&] { y0.poison(), y1.poison(), left.poison(); },
                          [&, n = divisor(static_cast<std::uint32_t>(blocks))] {
                            experts_stream_kernel<kFp4 | kFp8Codes>(args, n);
                          },
                          [&] { return std::pair(y0.values(), y1.values()); }),
                      blocks_each)
                << blocks << " blocks" << (cut ? ", rows cut" : "");
            EXPECT_EQ(left.made(), mixes) << blocks << " blocks";
          }
        EXPECT_TRUE(std::any_of(scratch.begin(), scratch.end(),
                                [](const StreamScratch& s) { return s.sums[0] != 0; }));
        EXPECT_TRUE(std::all_of(scratch.begin(), scratch.end(),
                                [](const StreamScratch& s) { return s.arrived == 0; }));
      }
    }
    for (int m = 0; m < 2; ++m) {
      const auto got = m == 0 ? y0.values() : y1.values();
      for (int slot = 0; slot<n*(k + 1); slot += n> 8 ? 17 : 1) {
        const int token = g.token_of[static_cast<std::size_t>(slot)];
        int expert = E;
        for (int e = 0; e < E; ++e)
          if (slot >= g.begin[static_cast<std::size_t>(e)] &&
              slot < g.begin[static_cast<std::size_t>(e) + 1])
            expert = e;
        Guarded<std::uint16_t> one(n_out);
        LinearArgs alone{
            .w = expert == E ? shared_tiles.w : tiles[static_cast<std::size_t>(m * E + expert)].w,
            .codes = q.codes.data() + static_cast<std::size_t>(token) * n_in,
            .code_scale = q.scale.data() + static_cast<std::size_t>(token) * (n_in / 128),
            .y = one.data(),
            .x_stride = n_in,
            .code_scale_stride = n_in / 128,
            .y_stride = n_out,
            .n_tokens = 1};
        Products all;
        ASSERT_TRUE(products({&alone, 1}, all).ok());
        simt::Machine::get().run({few_blocks(all.item[0])}, kLinearThreads,
                                 static_cast<std::size_t>(few_shared(1, n_in).bytes),
                                 simt::Order::ascending, [&] { few_kernel(all); });
        const std::vector<std::uint16_t> row(got.begin() + slot * n_out,
                                             got.begin() + (slot + 1) * n_out);
        if (expert < E) {  // the CPU's bits
          std::vector<float> of_cpu(n_out);
          find("cpu")->linear({.w = &stored_of[static_cast<std::size_t>(m * E + expert)].m,
                               .x = q.values.data() + token * n_in,
                               .y = of_cpu.data(),
                               .x_stride = n_in,
                               .y_stride = n_out,
                               .n_tokens = 1,
                               .row_begin = 0,
                               .row_end = n_out});
          EXPECT_EQ(one.values(), halves(of_cpu)) << "matrix " << m << " slot " << slot;
        }
        const bool elsewhere = m == 1 && expert == 2;
        EXPECT_EQ(row, elsewhere ? std::vector<std::uint16_t>(n_out, 0xFFFF) : one.values())
            << "matrix " << m << " slot " << slot;
      }
    }
  }
}

TEST(CudaExperts, SwigluHasTheCpusBits) {
  constexpr int rows = 5, n = 320;
  const auto gate = halves(normals(rows * n, 61, 8)), up = halves(normals(rows * n, 62, 8));
  const auto factor = normals(rows, 63);
  for (const float limit : {10.0f, 0.0f}) {
    std::vector<float> want(rows * n);
    const auto g = floats(gate), u = floats(up);
    find("cpu")->swiglu({.gate = g.data(),
                         .up = u.data(),
                         .h = want.data(),
                         .weight = factor.data(),
                         .stride = n,
                         .n_rows = rows,
                         .n = n,
                         .limit = limit,
                         .round_bf16 = true});
    Guarded<std::uint16_t> h(rows * n);
    Guarded<std::uint8_t> codes(rows * n);
    Guarded<float> scale(rows * 3);
    const SwigluArgs a{.gate = gate.data(),
                       .up = up.data(),
                       .factor = factor.data(),
                       .h = h.data(),
                       .codes = codes.data(),
                       .code_scale = scale.data(),
                       .stride = n,
                       .scale_stride = 3,
                       .n_rows = rows,
                       .n = n,
                       .limit = limit};
    in_every_order(
        {swiglu_blocks(rows, n)}, 256, 0, [&] { h.poison(), codes.poison(), scale.poison(); },
        [&] { swiglu_kernel(a); }, [&] { return std::pair(h.values(), codes.values()); });
    EXPECT_EQ(h.values(), halves(want));
    const Quantised q = quantised(halves(want), rows, n);
    EXPECT_EQ(codes.values(), q.codes);
    EXPECT_EQ(scale.values(), q.scale);
  }
}

TEST(CudaExperts, CombineAddsRanksInOrderThenTheSharedExpert) {
  constexpr int n = 3, k = 4, dim = 264;
  const auto out = halves(normals(n * (k + 1) * dim, 64, 100));
  std::vector<std::int32_t> slot_of{7, 0, 3, 11, 1, 2, 10, 9, 4, 5, 6, 8};
  Guarded<std::uint16_t> y(n * dim);
  const CombineArgs a{.out = out.data(),
                      .slot_of = slot_of.data(),
                      .y = y.data(),
                      .stride = dim,
                      .n_tokens = n,
                      .k = k,
                      .dim = dim};
  simt::Machine::get().run({(dim + 1023) / 1024, n}, 256, 0, simt::Order::scattered,
                           [&] { combine_kernel(a); });
  std::vector<std::uint16_t> want;
  for (int t = 0; t < n; ++t)
    for (int d = 0; d < dim; ++d) {
      float sum = bf16_value(
          out[static_cast<std::size_t>(slot_of[static_cast<std::size_t>(t * k)]) * dim + d]);
      for (int i = 1; i <= k; ++i)
        sum += bf16_value(
            out[static_cast<std::size_t>(i < k ? slot_of[static_cast<std::size_t>(t * k + i)]
                                               : n * k + t) *
                    dim +
                d]);
      want.push_back(bf16_bits(sum));
    }
  EXPECT_EQ(y.values(), want);
}

}  // namespace
}  // namespace lares::kernels::cuda
