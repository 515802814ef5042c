#include "kernels/indexer.h"

#include <algorithm>
#include <numeric>

#include "tests/kernels/kernel_rows.h"

namespace lares::kernels {
namespace {

using namespace test;

// [n, dim] on the grid of Q4_32.
std::vector<float> on_grid(std::vector<float> x, int dim) {
  find("cpu")->quantise({.x = x.data(),
                         .stride = dim,
                         .n_rows = static_cast<std::int32_t>(x.size()) / dim,
                         .n = dim,
                         .block = 32,
                         .fp4 = true});
  return x;
}

std::vector<std::uint8_t> packed(const std::vector<float>& keys, int dim) {
  std::vector<std::uint8_t> out(keys.size() / static_cast<std::size_t>(dim) * index_key_bytes(dim));
  for (std::size_t i = 0; i < keys.size() / static_cast<std::size_t>(dim); ++i)
    pack_index_key(keys.data() + i * dim, dim, out.data() + i * index_key_bytes(dim));
  return out;
}

void unpack_index_key(const std::uint8_t* key, int dim, float* x) {
  for (int i = 0; i < dim; ++i)
    x[i] = e2m1_value(key[i / 2] >> (i % 2 * 4) & 15) * e8m0_value(key[dim / 2 + i / kGroup]);
}

std::vector<double> score64(const std::vector<float>& q, const std::vector<float>& w,
                            const std::vector<float>& keys, int dim) {
  std::vector<double> out;
  for (std::size_t j = 0; j < keys.size() / dim; ++j) {
    double sum = 0;
    for (std::size_t h = 0; h < w.size(); ++h) {
      double dot = 0;
      for (int c = 0; c < dim; ++c) dot += static_cast<double>(q[h * dim + c]) * keys[j * dim + c];
      sum += std::max(dot, 0.0) * w[h];
    }
    out.push_back(sum);
  }
  return out;
}

// Of keys [first, first + n), which lie in runs of `run`, none behind the other.
std::vector<float> scores(const Kernels& row, const std::vector<float>& q,
                          const std::vector<float>& w, const void* keys, Format cell, int n,
                          int dim, int run = 64, int first = 0) {
  constexpr std::size_t kOffset = 12;
  const std::size_t key = cell == Format::f32 ? sizeof(float) * static_cast<std::size_t>(dim)
                                              : index_key_bytes(dim);
  std::vector<std::vector<std::uint8_t>> runs;
  std::vector<const std::uint8_t*> at;
  for (int j = 0; j < first + n; j += run) {
    const auto take = static_cast<std::size_t>(std::min(run, first + n - j)) * key;
    const auto* from = static_cast<const std::uint8_t*>(keys) + static_cast<std::size_t>(j) * key;
    runs.emplace_back(kOffset + take, 0xEE);  // no byte more: what reads past a run is seen
    std::copy(from, from + take, runs.back().data() + kOffset);
  }
  for (const auto& r : runs) at.push_back(r.data());
  Output score(static_cast<std::size_t>(n)),
      scratch(index_scratch(static_cast<int>(w.size()), dim));
  row.index_scores({.q = q.data(),
                    .w = w.data(),
                    .keys = at.data(),
                    .cell = cell,
                    .score = score.data(),
                    .scratch = scratch.data(),
                    .n_keys = n,
                    .n_heads = static_cast<int>(w.size()),
                    .dim = dim,
                    .run = run,
                    .first = first,
                    .offset = kOffset});
  EXPECT_TRUE(score.guards_intact() && scratch.guards_intact()) << row.name;
  return score.values();
}

TEST(Indexer, ScoresOfFloatKeysMatchFloat64) {
  constexpr int heads = 16, dim = 128;
  for (const int n : {1, 5, 300, 520}) {
    const auto q = normals(heads * dim, 4), w = normals(heads, 5),
               keys = normals(static_cast<std::size_t>(n) * dim, 6);
    std::vector<float> first;
    for (const Kernels* row : available_rows()) {
      const auto got = scores(*row, q, w, keys.data(), Format::f32, n, dim);
      // Sums of 16 products of magnitude 10
      EXPECT_TRUE(close(got, score64(q, w, keys, dim), 2e-3, 0)) << row->name;
      if (first.empty()) first = got;
      EXPECT_TRUE(same_bits(got, first)) << row->name;
      for (const int run : {7, 64, n})
        EXPECT_TRUE(same_bits(scores(*row, q, w, keys.data(), Format::f32, n, dim, run), first))
            << row->name << ": runs of " << run;
    }
  }
}

TEST(Indexer, KeysKeepEveryValueOfTheirGrid) {
  for (const int dim : {32, 64, 128, 512}) {
    auto keys = normals(static_cast<std::size_t>(50) * dim, 1);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (i / 32 % 7 == 3) keys[i] *= 0x1p40f;
      if (i / 32 % 7 == 4) keys[i] *= 0x1p-60f;
      if (i / 32 % 11 == 5) keys[i] = 0;
    }
    keys = on_grid(keys, dim);
    const auto cells = packed(keys, dim);
    std::vector<float> back(keys.size());
    for (int i = 0; i < 50; ++i)
      unpack_index_key(cells.data() + i * index_key_bytes(dim), dim, back.data() + i * dim);
    for (std::size_t i = 0; i < keys.size(); ++i)
      ASSERT_EQ(back[i], keys[i]) << "value " << i << " of keys of " << dim;
  }
  const std::vector<float> tiny(32, 0x1p-110f), nothing{on_grid(tiny, 32)};
  std::vector<float> back(32, 1);
  unpack_index_key(packed(nothing, 32).data(), 32, back.data());
  EXPECT_EQ(back, std::vector<float>(32, 0.0f));
}

// Groups alike, apart as far as one sum of integers allows, further apart, without values; and
// weights out of the common range.
TEST(Indexer, ScoresOfCodedKeysMatchFloat64) {
  struct Case {
    int n, heads, dim;
  };
  for (const auto [n, heads, dim] :
       {Case{1, 16, 128}, Case{17, 1, 32}, Case{31, 3, 64}, Case{33, 8, 128}, Case{300, 64, 128},
        Case{70, 9, 256}, Case{40, 5, 512}})
    for (int kind = 0; kind < 6; ++kind) {
      auto q = normals(static_cast<std::size_t>(heads) * dim, 4),
           w = normals(static_cast<std::size_t>(heads), 5),
           keys = normals(static_cast<std::size_t>(n) * dim, 6);
      const auto spread = [&](std::vector<float>& x, std::size_t every) {
        for (std::size_t i = 0; i < x.size(); ++i)
          if (i / dim % every == 1)
            x[i] = std::ldexp(x[i], static_cast<int>(i / 32 % 4) * (kind == 1 ? 1 : 3));
      };
      if (kind == 1 || kind == 2) spread(keys, kind == 1 ? 2 : 37);
      if (kind == 1 || kind == 3) spread(q, 2);
      if (kind == 4) {
        for (std::size_t i = 0; i < keys.size(); ++i)
          if (i / 32 % 3 == 1 || i / static_cast<std::size_t>(dim) % 5 == 4) keys[i] = 0;
        std::fill_n(q.begin(), 32, 0.0f);
      }
      if (kind == 5) w[0] = 0x1p-70f;
      for (float& v : w) v = bf16(v);
      q = on_grid(q, dim);
      keys = on_grid(keys, dim);
      const auto cells = packed(keys, dim);
      auto want = score64(q, w, keys, dim);
      double size = 0;
      for (const double v : want) size = std::max(size, std::fabs(v));
      std::vector<float> first;
      for (const Kernels* row : available_rows()) {
        const auto got = scores(*row, q, w, cells.data(), Format::fp4, n, dim);
        EXPECT_TRUE(close(got, want, 0.02 * size + 1e-30, 0))
            << row->name << " kind " << kind;  // 64 roundings to 8 bits
        if (first.empty()) first = got;
        EXPECT_TRUE(same_bits(got, first)) << row->name << " kind " << kind << ": " << n
                                           << " keys, " << heads << " heads of " << dim;
        for (const int run : {7, 16, 48, n})  // wherever keys lie
          EXPECT_TRUE(same_bits(scores(*row, q, w, cells.data(), Format::fp4, n, dim, run), first))
              << row->name << ": runs of " << run;
        for (const int from : {1, n / 3, n - 1})
          EXPECT_TRUE(
              same_bits(scores(*row, q, w, cells.data(), Format::fp4, n - from, dim, 16, from),
                        {first.begin() + from, first.end()}))
              << row->name;
        const int from = n / 2;  // a key alone gets what it gets in company
        EXPECT_TRUE(same_bits(
            scores(*row, q, w, cells.data() + from * index_key_bytes(dim), Format::fp4, 1, dim),
            {got[from]}))
            << row->name;
      }
    }
}

// Two heads that nearly cancel leave what would be a denormal before the keys' powers of two come
// in. Instructions that lose denormals may not be used then.
TEST(Indexer, SumsOfTheSmallestWeightsAreNotLost) {
  constexpr int n = 200, heads = 3, dim = 64;
  auto q = normals(heads * dim, 4), keys = normals(static_cast<std::size_t>(n) * dim, 6);
  std::copy_n(q.begin(), dim, q.begin() + dim);
  for (float& v : q) v *= 0x1p-61f;
  for (float& v : keys) v *= 0x1p60f;
  q = on_grid(q, dim);
  keys = on_grid(keys, dim);
  const std::vector<float> w{0x1p-60f, -0x1.02p-60f, 0};
  const auto cells = packed(keys, dim);
  const auto want = scores(*find("cpu"), q, w, cells.data(), Format::fp4, n, dim);
  EXPECT_GT(std::count_if(want.begin(), want.end(), [](float v) { return v != 0; }), n / 4);
  for (const Kernels* row : available_rows())
    EXPECT_TRUE(same_bits(scores(*row, q, w, cells.data(), Format::fp4, n, dim), want))
        << row->name;
}

// A sum that takes head 3 before head 2 would keep what head 2's small weight loses beside head
// 0's.
TEST(Indexer, HeadsAreAddedInTheirOrder) {
  constexpr int n = 50, heads = 8, dim = 64;
  auto q = normals(heads * dim, 4);
  for (int h = 1; h < heads; ++h) std::copy_n(q.begin(), dim, q.begin() + h * dim);
  q = on_grid(q, dim);
  const auto cells = packed(on_grid(normals(static_cast<std::size_t>(n) * dim, 6), dim), dim);
  const std::vector<float> w{0x1p20f, 0, 1, -0x1p20f, 0, 0, 0, 0};
  const auto want = scores(*find("cpu"), q, w, cells.data(), Format::fp4, n, dim);
  const auto kept = scores(*find("cpu"), q, {0, 0, 1, 0, 0, 0, 0, 0}, cells.data(), Format::fp4, n,
                           dim);
  EXPECT_NE(want, kept);
  for (const Kernels* row : available_rows())
    EXPECT_TRUE(same_bits(scores(*row, q, w, cells.data(), Format::fp4, n, dim), want))
        << row->name;
}

TEST(Indexer, TopKTakesTheLowestOfEquals) {
  const auto pick = [](std::vector<float> score, int k) {
    std::vector<std::uint32_t> scratch(score.size());
    std::vector<std::int32_t> chosen(score.size());
    chosen.resize(
        top_k(score.data(), static_cast<int>(score.size()), k, scratch.data(), chosen.data()));
    return chosen;
  };
  EXPECT_EQ(pick({1, 5, 3, 5, 3, 3}, 4), (std::vector<std::int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(pick({0, -0.0f, 0, -1}, 2), (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(pick({-3, -1, -2}, 1), (std::vector<std::int32_t>{1}));
  EXPECT_EQ(pick({1, 2}, 5), (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(pick({1, 2}, 0), (std::vector<std::int32_t>{}));
  // Sizes around where a sample is taken first, and scores that mislead it: ties, runs, order,
  // zeros of both signs.
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
      std::stable_sort(order.begin(), order.end(),
                       [&](int a, int b) { return score[a] > score[b]; });
      for (const int k : {1, 512, n / 3}) {
        std::vector<std::int32_t> want(order.begin(), order.begin() + k);
        std::sort(want.begin(), want.end());
        EXPECT_EQ(pick(score, k), want) << "the best " << k << " of " << n << ", kind " << kind;
      }
    }
}

}  // namespace
}  // namespace lares::kernels
