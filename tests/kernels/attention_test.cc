// Attention, the indexer, the router and the thread pool.
#include <algorithm>
#include <atomic>
#include <numeric>

#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_rows.h"

namespace lares::kernels {
namespace {

using namespace test;

TEST(Attention, MatchesFloat64) {
  struct Case {
    int rows, heads, dim;
  };
  for (const auto [n, heads, dim] : {Case{1, 4, 32}, Case{7, 5, 64}, Case{128, 8, 192}, Case{141, 3, 512}, Case{70, 19, 96}}) {
    const auto keys = normals(n * dim, 2), sink = normals(heads, 3);
    std::vector<std::uint16_t> small;
    for (const float v : keys) small.push_back(bf16_bits(v));
    for (const auto& [released, q] : {std::pair{false, activations(heads, dim, 1)[0]}, {true, activations(heads, dim, 1)[0]}, {true, activations(heads, dim, 1)[1]}}) {
      std::vector<double> want;
      const auto key = [&](int i, int c) -> double { return released ? bf16(keys[i * dim + c]) : keys[i * dim + c]; };
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
      for (int i = n; i-- > 0;)  // scattered in memory: last key first, order of the reference restored below
        rows.push_back(released ? static_cast<const void*>(small.data() + i * dim) : keys.data() + i * dim);
      std::reverse(rows.begin(), rows.end());
      std::vector<float> first;
      for (const Kernels* row : available_rows()) {
        Output out(heads * dim), scratch(attention_scratch(n, heads, dim));
        row->attention({.q = q.data(), .rows = rows.data(), .cell = released ? Format::bf16 : Format::f32, .sink = sink.data(), .out = out.data(),
                        .scratch = scratch.data(), .n_rows = n, .n_heads = heads, .head_dim = dim, .scale = 1 / std::sqrt(static_cast<float>(dim)),
                        .released = released});
        EXPECT_TRUE(out.guards_intact() && scratch.guards_intact());
        // Released: weights rounded to 8 bits and the output too; exact: a few ulps of values of magnitude 3.
        EXPECT_TRUE(close(out.values(), want, released ? 2e-2 : 5e-6, 0)) << row->name << " rows " << n;
        if (first.empty()) first = out.values();
        EXPECT_TRUE(same_bits(out.values(), first)) << row->name;
        // A head alone gets what it gets in company.
        Output one(dim);
        row->attention({.q = q.data() + (heads - 1) * dim, .rows = rows.data(), .cell = released ? Format::bf16 : Format::f32,
                        .sink = sink.data() + heads - 1, .out = one.data(), .scratch = scratch.data(), .n_rows = n, .n_heads = 1,
                        .head_dim = dim, .scale = 1 / std::sqrt(static_cast<float>(dim)), .released = released});
        EXPECT_TRUE(same_bits(one.values(), {first.end() - dim, first.end()})) << row->name;
      }
    }
  }
}

TEST(Attention, AHugeSinkTakesAllTheWeight) {
  const auto q = normals(32, 1), key = normals(32, 2);
  const float sink = 500;
  const void* rows[] = {key.data()};
  for (const Kernels* row : available_rows()) {
    Output out(32), scratch(attention_scratch(1, 1, 32));
    row->attention({.q = q.data(), .rows = rows, .cell = Format::f32, .sink = &sink, .out = out.data(), .scratch = scratch.data(), .n_rows = 1,
                    .n_heads = 1, .head_dim = 32, .scale = 1, .released = false});
    for (const float v : out.values()) EXPECT_NEAR(v, 0, 1e-6) << row->name;
  }
}

TEST(Indexer, ScoresMatchFloat64) {
  for (const auto& [n, cell] : {std::pair{1, Format::f32}, {5, Format::f32}, {300, Format::f32}, {520, Format::f32}, {3, Format::bf16}, {530, Format::bf16}}) {
    constexpr int heads = 16, dim = 128;
    const auto q = activations(heads, dim, 4)[cell == Format::bf16], w = normals(heads, 5);
    const auto keys = activations(n, dim, 6)[cell == Format::bf16];
    std::vector<std::uint16_t> small;
    for (const float v : keys) small.push_back(bf16_bits(v));
    std::vector<double> want;
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int h = 0; h < heads; ++h) {
        double dot = 0;
        for (int c = 0; c < dim; ++c) dot += static_cast<double>(q[h * dim + c]) * keys[j * dim + c];
        sum += std::max(dot, 0.0) * w[h];
      }
      want.push_back(sum);
    }
    for (const bool released : {false, true}) {
      std::vector<float> first;
      for (const Kernels* row : available_rows()) {
        Output score(n), scratch(index_scratch(heads));
        row->index_scores({.q = q.data(), .w = w.data(), .keys = cell == Format::bf16 ? static_cast<const void*>(small.data()) : keys.data(), .cell = cell, .score = score.data(), .scratch = scratch.data(),
                           .n_keys = n, .n_heads = heads, .dim = dim, .released = released});
        EXPECT_TRUE(score.guards_intact() && scratch.guards_intact());
        EXPECT_TRUE(close(score.values(), want, released ? 1.5 : 2e-3, 0)) << row->name;  // sums of 16 products of magnitude 10
        if (first.empty()) first = score.values();
        EXPECT_TRUE(same_bits(score.values(), first)) << row->name;
      }
    }
  }
}

TEST(Indexer, TopKTakesTheLowestOfEquals) {
  const auto pick = [](std::vector<float> score, int k) {
    std::vector<std::uint32_t> scratch(score.size());
    std::vector<std::int32_t> chosen(score.size());
    chosen.resize(top_k(score.data(), static_cast<int>(score.size()), k, scratch.data(), chosen.data()));
    return chosen;
  };
  EXPECT_EQ(pick({1, 5, 3, 5, 3, 3}, 4), (std::vector<std::int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(pick({0, -0.0f, 0, -1}, 2), (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(pick({-3, -1, -2}, 1), (std::vector<std::int32_t>{1}));
  EXPECT_EQ(pick({1, 2}, 5), (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(pick({1, 2}, 0), (std::vector<std::int32_t>{}));
  // Sizes around where a sample is taken first, and scores that mislead it: ties, runs, order, zeros of both signs.
  for (const int n : {5000, 8191, 8192, 8200, 100'003})
    for (int kind = 0; kind < 6; ++kind) {
      auto score = normals(static_cast<std::size_t>(n), 7);
      for (int i = 0; i < n; ++i) {
        float& v = score[i];
        if (kind == 1) v = std::round(v * 4);
        if (kind == 2) v = std::max(0.0f, v - 2);
        if (kind == 3) v = static_cast<float>(i);
        if (kind == 4) v = static_cast<float>(-i);
        if (kind == 5) v = i % 2 ? -0.0f : 0.0f;
      }
      std::vector<std::int32_t> order(score.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return score[a] > score[b]; });
      for (const int k : {1, 512, n / 3}) {
        std::vector<std::int32_t> want(order.begin(), order.begin() + k);
        std::sort(want.begin(), want.end());
        EXPECT_EQ(pick(score, k), want) << "the best " << k << " of " << n << ", kind " << kind;
      }
    }
}

TEST(Route, WeighsWithoutTheBiasAndBreaksTiesLow) {
  constexpr int E = 8, k = 3;
  const std::vector<float> u{0, 1, 2, 2, -30, 40, 1, 0}, bias{0, 0, 0, 0, 50, -50, 0.5f, 0};
  std::int32_t expert[k];
  float weight[k], scratch[E];
  route({.u = u.data(), .bias = bias.data(), .given = nullptr, .expert = expert, .weight = weight, .scratch = scratch, .n_experts = E, .k = k, .factor = 2.5f});
  EXPECT_EQ(expert[0], 4);  // by its bias alone
  EXPECT_EQ(expert[1], 6);
  EXPECT_EQ(expert[2], 2);  // equal to 3, which comes later
  const auto score = [](double x) { return std::sqrt(std::log1p(std::exp(x))); };
  const double total = score(-30) + score(1) + score(2);
  EXPECT_NEAR(weight[1], score(1) / total * 2.5, 1e-6);
  EXPECT_NEAR(weight[0], score(-30) / total * 2.5, 1e-9);
  const std::int64_t given[k] = {5, 0, 7};
  route({.u = u.data(), .bias = nullptr, .given = given, .expert = expert, .weight = weight, .scratch = scratch, .n_experts = E, .k = k, .factor = 1});
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
      for (int i = 0; i < n; ++i) ASSERT_EQ(seen[i], 1) << "threads " << threads << ", item " << i << " of " << n;
    }
  }
  EXPECT_GE(usable_cpus(), 1);
}

TEST(Dispatch, BestRunsHereAndCpuAlways) {
  EXPECT_TRUE(best().available());
  ASSERT_NE(find("cpu"), nullptr);
  EXPECT_EQ(find("nothing"), nullptr);
}

}  // namespace
}  // namespace lares::kernels
