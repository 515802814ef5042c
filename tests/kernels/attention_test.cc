// Attention, the router and the thread pool.
#include <algorithm>
#include <atomic>

#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_rows.h"

namespace lares::kernels {
namespace {

using namespace test;

TEST(Attention, MatchesFloat64) {
  struct Case {
    int rows, heads, dim;
  };
  for (const auto [n, heads, dim] : {Case{1, 4, 32}, Case{7, 5, 64}, Case{128, 8, 192},
                                     Case{141, 3, 512}, Case{70, 19, 96}, Case{1100, 33, 64}}) {
    const auto keys = normals(n * dim, 2), sink = normals(heads, 3);
    std::vector<std::uint16_t> small;
    for (const float v : keys) small.push_back(bf16_bits(v));
    auto zeros = activations(heads, dim, 1)[3];
    zeros.resize((zeros.size() + 31) / 32 * 32);
    available_rows().front()->drop_small(zeros.data(), static_cast<std::int64_t>(zeros.size()));
    for (const auto& [released, q] : {std::pair{false, activations(heads, dim, 1)[0]},
                                      {true, activations(heads, dim, 1)[1]},
                                      {true, zeros}}) {
      std::vector<double> want;
      const auto key = [&](int i, int c) -> double {
        return released ? bf16(keys[i * dim + c]) : keys[i * dim + c];
      };
      for (int h = 0; h < heads; ++h) {
        std::vector<double> s(n);
        double top = -1e300, total = 0;
        for (int i = 0; i < n; ++i) {
          for (int c = 0; c < dim; ++c) s[i] += q[h * dim + c] * key(i, c);
          top = std::max(top, s[i] /= std::sqrt(dim));
        }
        for (double& v : s) total += v = std::exp(v - top);
        total += std::exp(sink[h] - top);
        for (int c = 0; c < dim; ++c) {
          double sum = 0;
          for (int i = 0; i < n; ++i) sum += s[i] * key(i, c);
          want.push_back(sum / total);
        }
      }
      std::vector<const void*> rows;
      // Scattered in memory: last key first, order of the reference restored below
      for (int i = n; i-- > 0;)
        rows.push_back(released ? static_cast<const void*>(small.data() + i * dim)
                                : keys.data() + i * dim);
      std::reverse(rows.begin(), rows.end());
      std::vector<float> first;
      const Format cell = released ? Format::bf16 : Format::f32;
      for (const Kernels* row : available_rows()) {
        Output out(heads * dim), scratch(attention_scratch(n, heads, dim, cell));
        attention(*row, {.q = q.data(),
                         .rows = rows.data(),
                         .cell = cell,
                         .sink = sink.data(),
                         .out = out.data(),
                         .scratch = scratch.data(),
                         .n_rows = n,
                         .n_heads = heads,
                         .head_dim = dim,
                         .scale = 1 / std::sqrt(static_cast<float>(dim)),
                         .released = released});
        EXPECT_TRUE(out.guards_intact() && scratch.guards_intact());
        // Released: weights rounded to 8 bits and the output too; exact: a few ulps of values of
        // magnitude 3.
        EXPECT_TRUE(close(out.values(), want, released ? 2e-2 : 5e-6, 0))
            << row->name << " rows " << n;
        if (first.empty()) first = out.values();
        EXPECT_TRUE(same_bits(out.values(), first)) << row->name;
        // Shares of any size get what the whole gets.
        Output shared(heads * dim), apart(attention_scratch(n, heads, dim, cell));
        const AttentionArgs args{.q = q.data(),
                                 .rows = rows.data(),
                                 .cell = cell,
                                 .sink = sink.data(),
                                 .out = shared.data(),
                                 .scratch = apart.data(),
                                 .n_rows = n,
                                 .n_heads = heads,
                                 .head_dim = dim,
                                 .scale = 1 / std::sqrt(static_cast<float>(dim)),
                                 .released = released};
        for (int i = 0; i < n; i += kAttentionRows)
          row->attention_scores(args, i, std::min(n, i + kAttentionRows));
        for (int i = 0; i < heads; i += kAttentionHeads)
          row->attention_weights(args, i, std::min(heads, i + kAttentionHeads));
        for (int i = 0; i < dim; i += kAttentionColumns)
          row->attention_values(args, i, i + kAttentionColumns);
        EXPECT_TRUE(shared.guards_intact() && apart.guards_intact());
        EXPECT_TRUE(same_bits(shared.values(), first)) << row->name;
        // A head alone gets what it gets in company.
        Output one(dim);
        attention(*row, {.q = q.data() + (heads - 1) * dim,
                         .rows = rows.data(),
                         .cell = cell,
                         .sink = sink.data() + heads - 1,
                         .out = one.data(),
                         .scratch = scratch.data(),
                         .n_rows = n,
                         .n_heads = 1,
                         .head_dim = dim,
                         .scale = 1 / std::sqrt(static_cast<float>(dim)),
                         .released = released});
        EXPECT_TRUE(same_bits(one.values(), {first.end() - dim, first.end()})) << row->name;
      }
    }
  }
}

TEST(Attention, DropsWhatIsTooSmallToMatter) {
  for (const Kernels* row : available_rows()) {
    std::vector<float> x(32, 1);
    x[3] = kAttentionLeast;
    x[4] = -kAttentionLeast;
    x[5] = 0x1.fp-47f;
    x[6] = -0x1p-120f;
    x[7] = std::nanf("");
    row->drop_small(x.data(), 32);
    EXPECT_EQ(x[3], kAttentionLeast);
    EXPECT_EQ(x[4], -kAttentionLeast);
    EXPECT_EQ(x[5], 0);
    EXPECT_EQ(x[6], 0);
    EXPECT_TRUE(std::isnan(x[7]));
  }
}

TEST(Attention, AHugeSinkTakesAllTheWeight) {
  const auto q = normals(32, 1), key = normals(32, 2);
  const float sink = 500;
  const void* rows[] = {key.data()};
  for (const Kernels* row : available_rows()) {
    Output out(32), scratch(attention_scratch(1, 1, 32, Format::f32));
    attention(*row, {.q = q.data(),
                     .rows = rows,
                     .cell = Format::f32,
                     .sink = &sink,
                     .out = out.data(),
                     .scratch = scratch.data(),
                     .n_rows = 1,
                     .n_heads = 1,
                     .head_dim = 32,
                     .scale = 1,
                     .released = false});
    for (const float v : out.values()) EXPECT_NEAR(v, 0, 1e-6) << row->name;
  }
}

TEST(Route, WeighsWithoutTheBiasAndBreaksTiesLow) {
  constexpr int E = 8, k = 3;
  const std::vector<float> u{0, 1, 2, 2, -30, 40, 1, 0}, bias{0, 0, 0, 0, 50, -50, 0.5f, 0};
  std::int32_t expert[k];
  float weight[k], scratch[E];
  route({.u = u.data(),
         .bias = bias.data(),
         .given = nullptr,
         .expert = expert,
         .weight = weight,
         .scratch = scratch,
         .n_experts = E,
         .k = k,
         .factor = 2.5f});
  EXPECT_EQ(expert[0], 4);  // by its bias alone
  EXPECT_EQ(expert[1], 6);
  EXPECT_EQ(expert[2], 2);  // equal to 3, which comes later
  const auto score = [](double x) { return std::sqrt(std::log1p(std::exp(x))); };
  const double total = score(-30) + score(1) + score(2);
  EXPECT_NEAR(weight[1], score(1) / total * 2.5, 1e-6);
  EXPECT_NEAR(weight[0], score(-30) / total * 2.5, 1e-9);
  const std::int64_t given[k] = {5, 0, 7};
  route({.u = u.data(),
         .bias = nullptr,
         .given = given,
         .expert = expert,
         .weight = weight,
         .scratch = scratch,
         .n_experts = E,
         .k = k,
         .factor = 1});
  EXPECT_EQ(expert[0], 5);
  EXPECT_NEAR(weight[0], std::sqrt(40.0) / (std::sqrt(40.0) + 2 * score(0)), 1e-6);
  EXPECT_NEAR(weight[0] + weight[1] + weight[2], 1, 1e-6);
}

TEST(ThreadPool, EveryItemOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (int round = 0; round < 300; ++round) {
      const int n = round % 37;
      std::vector<std::atomic<int>> seen(n);
      pool.run(n, 1 + round % 3, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i) ++seen[i];
      });
      for (int i = 0; i < n; ++i)
        ASSERT_EQ(seen[i], 1) << "threads " << threads << ", item " << i << " of " << n;
    }
  }
}

TEST(ThreadPool, AsManyThreadsAsItMayRunOn) {
  cpu_set_t before, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_LE(usable_cpus(), CPU_COUNT(&before));
  CPU_ZERO(&one);
  for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usable_cpus(), 1);
  ::sched_setaffinity(0, sizeof before, &before);
}

TEST(Dispatch, BestRunsHereAndCpuAlways) {
  EXPECT_TRUE(best().available());
  ASSERT_NE(find("cpu"), nullptr);
  EXPECT_EQ(find("nothing"), nullptr);
}

}  // namespace
}  // namespace lares::kernels
