// Bodies of attention(), emulated: against float64, blocks apart against one block a token, and
// every order of threads.
#include "kernels/cuda/elementwise_kernels.h"
#include "kernels/cuda/attention/attention_wgmma_kernels.h"
#include "tests/kernels/cuda_places.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;

struct Case {
  int head_dim, n_heads, ratio, k, window;
  std::vector<std::pair<std::int64_t, int>> chunks;
  bool block = false;  // its tokens see to the last one
};

enum class Shared {
  apart,
  apart_more,
  narrow,
  wide,
  wgmma
};  // a block of rows of 16 or of 32 heads a block; all rows of 32 heads, or of 64; by wgmma

template <int C, int heads, bool apart>
void run_rows(const AttentionArgs& a, int blocks, int n_blocks, simt::Order order) {
  const int groups = (a.n_heads + heads - 1) / heads;
  simt::Machine::get().run({blocks, a.places.n_tokens, groups}, kAttentionThreads,
                           static_cast<std::size_t>(attention_shared<C, heads, apart>()), order,
                           [&] { attention_kernel<C, heads, apart>(a, n_blocks); });
}
template <int C>
void run_as(const AttentionArgs& a, Shared shared, int n_blocks, simt::Order order) {
  if (shared == Shared::wgmma)  // two blocks, so that each has several tokens
    return simt::Machine::get().run({2}, kWgmmaThreads, static_cast<std::size_t>(kWgmmaShared),
                                    order, [&] { attention_wgmma_kernel(a); });
  if (shared == Shared::wide) return run_rows<C, kHeadsWide, false>(a, 1, n_blocks, order);
  if (shared == Shared::narrow) return run_rows<C, kHeadsNarrow, false>(a, 1, n_blocks, order);
  if (C == 512 && shared == Shared::apart)
    run_rows<512, 16, true>(a, n_blocks, n_blocks, order);
  else
    run_rows<C, 32, true>(a, n_blocks, n_blocks, order);
  simt::Machine::get().run({a.n_heads, a.places.n_tokens, (C + kFoldColumns - 1) / kFoldColumns},
                           kFoldThreads, static_cast<std::size_t>(fold_shared(n_blocks)), order,
                           [&] { attention_fold_kernel(a, n_blocks); });
}

// A cell's values, by one warp.
template <int C>
LARES_KERNEL(32, 1)
cell_kernel(const std::uint8_t* cell, std::uint16_t* out) {
  CellWords<C> words;
  load_cell(words, cell, true);
  put_values(words, out);
}
TEST(CudaAttentionCells, AreTheCpusValues) {
  constexpr int C = 512, R = 64;
  // Scales of a cell's groups below 1, up to 1, beyond it in one group, far beyond, next to
  // nothing; and none.
  for (const float size : {1.0f, 0x1p-20f, 448.0f, 0x1p20f, 0x1p100f, 0x1p-120f, 0.0f})
    for (const int wide : {-1, 0, 3, 6}) {
      auto row = floats(halves(normals(C, 7)));
      for (int i = 0; i < C; ++i)
        row[static_cast<std::size_t>(i)] *= i / 64 == wide ? 0x1p10f * size : size;
      find("cpu")->quantise({.x = row.data(), .stride = C, .n_rows = 1, .n = C - R, .block = 64});
      std::vector<std::uint8_t> cell(cell_bytes(C, R));
      pack_cell(row.data(), C, R, cell.data());
      std::vector<std::uint16_t> want(C);
      const void* const cells[] = {cell.data()};
      find("cpu")->unpack_cells(
          {.cells = cells, .rows = want.data(), .n = 1, .head_dim = C, .rope_dim = R});
      Guarded<std::uint16_t> got(C);
      simt::Machine::get().run({}, 32, 0, simt::Order::ascending,
                               [&] { cell_kernel<C>(cell.data(), got.data()); });
      EXPECT_EQ(got.values(), want) << size << " and group " << wide;
    }
}

// An H100 has room for all blocks of one token's selection of 512 entries, of 16 heads each, but
// not of 8,192 entries.
static_assert(attention_heads_apart(1, 64, attention_blocks(128, 512)) == 16);
static_assert(attention_heads_apart(1, 64, attention_blocks(128, 8192)) == 32);
static_assert(2 * attention_blocks(128, 8192) <= kBlocksAtOnce &&
              attention_blocks(128, 8192) <= kFoldRows);

class CudaAttention : public testing::TestWithParam<Case> {};

TEST_P(CudaAttention, AgreesWithFloat64HoweverItIsShared) {
  const Case c = GetParam();
  const int C = c.head_dim, R = 64, capacity = c.window + 37, per_page = 24;
  const std::size_t bytes_of = cell_bytes(C, R);
  std::int64_t last = 0;
  for (const auto& [p, n] : c.chunks) last = std::max(last, p + n - 1);
  const int n_entries = c.ratio ? static_cast<int>((last + 1) / c.ratio) : 0;
  std::deque<TestSequence> sequences;
  for (std::size_t i = 0; i < c.chunks.size(); ++i)
    sequences.emplace_back(capacity * bytes_of, 0, n_entries / per_page + 1, per_page * bytes_of);
  TestPlaces places(sequences, c.chunks);
  const int n = places.places.n_tokens;
  // Cells as they are stored, and their values.
  const auto make = [&](std::uint8_t* cell, std::uint64_t seed) {
    auto row = floats(halves(normals(static_cast<std::size_t>(C), seed)));
    find("cpu")->quantise({.x = row.data(), .stride = C, .n_rows = 1, .n = C - R, .block = 64});
    find("cpu")->drop_small(row.data(), C);
    pack_cell(row.data(), C, R, cell);
  };
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::int64_t newest = c.chunks[i].first + c.chunks[i].second - 1;
    for (std::int64_t p = std::max<std::int64_t>(0, newest + 1 - capacity); p <= newest; ++p)
      make(sequences[i].window.data() + static_cast<std::size_t>(p % capacity) * bytes_of,
           1000 * (i + 1) + static_cast<std::uint64_t>(p));
    for (int j = 0; j < n_entries; ++j)
      make(sequences[i].bases[static_cast<std::size_t>(j / per_page)] + TestSequence::kOffset +
               static_cast<std::size_t>(j % per_page) * bytes_of,
           500000 * (i + 1) + static_cast<std::uint64_t>(j));
  }
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(n) * std::max(1, c.k));
  for (int t = 0; t < n; ++t)  // ascending, some of each
    for (int i = 0; i < c.k; ++i) chosen[static_cast<std::size_t>(t * c.k + i)] = i * 2 + t % 2;
  const auto q = halves(normals(static_cast<std::size_t>(n) * c.n_heads * C, 91));
  const auto sink = normals(static_cast<std::size_t>(c.n_heads), 92);
  const auto table = angles(places.position, frequencies(R));
  if (c.block) std::ranges::fill(places.position, places.position.back());
  const int n_blocks = attention_blocks(c.window, n_entries);
  Guarded<std::uint16_t> out(q.size());
  Guarded<float> workspace(attention_workspace(n, c.n_heads, C, n_blocks));
  const AttentionArgs a{.q = q.data(),
                        .sink = sink.data(),
                        .rope = table.data(),
                        .out = out.data(),
                        .workspace = workspace.data(),
                        .places = places.places,
                        .entries = {TestSequence::kOffset, per_page},
                        .chosen = c.k ? chosen.data() : nullptr,
                        .k = c.k,
                        .ratio = c.ratio,
                        .n_heads = c.n_heads,
                        .head_dim = C,
                        .rope_dim = R,
                        .window = c.window,
                        .window_capacity = capacity,
                        .n_entries_max = n_entries,
                        .scale = 1 / std::sqrt(static_cast<float>(C))};
  const auto run = [&](Shared shared, simt::Order order) {
    out.poison();
    workspace.poison();
    if (C == 128)
      run_as<128>(a, shared, n_blocks, order);
    else if (C == 192)
      run_as<192>(a, shared, n_blocks, order);
    else
      run_as<512>(a, shared, n_blocks, order);
    EXPECT_TRUE(workspace.guards_intact());
    return out.values();
  };
  const auto whole = run(Shared::wide, simt::Order::ascending);
  EXPECT_EQ(run(Shared::wide, simt::Order::scattered), whole);
  EXPECT_EQ(run(Shared::narrow, simt::Order::descending), whole) << "32 heads a block";
  EXPECT_EQ(run(Shared::apart, simt::Order::ascending), whole) << "a block of rows a block";
  EXPECT_EQ(run(Shared::apart_more, simt::Order::descending), whole);
  if (C == kWgmmaDim) {
    for (const auto order : in_turn({simt::Order::ascending, simt::Order::descending,
                                     simt::Order::scattered, simt::Order::greedy}))
      EXPECT_EQ(run(Shared::wgmma, order), whole) << "by wgmma";
  }
  if (C == kWgmmaDim) {
    // Heads as wq_b gives them, one of nothing, turned before and on their way.
    auto raw = q;
    std::fill_n(raw.begin() + C, C, std::uint16_t{0});
    for (int i = 0; i < C; i += 3)  // what attention need not see
      raw[static_cast<std::size_t>(i)] = bf16_bits(0x1p-47f * static_cast<float>(i % 5));
    auto turned = raw;
    const QueryArgs before{turned.data(), table.data(), n, c.n_heads, C, R, 1e-6f};
    simt::Machine::get().run({queries_blocks(n, c.n_heads)}, kRowThreads,
                             static_cast<std::size_t>(queries_shared(C)), simt::Order::scattered,
                             [&] { queries_kernel(before); });
    const auto by = [&](const AttentionArgs& args, simt::Order order) {
      out.poison();
      run_as<512>(args, Shared::wgmma, n_blocks, order);
      return out.values();
    };
    AttentionArgs of = a;
    of.q = turned.data();
    const auto turned_before = by(of, simt::Order::scattered);
    of.q = nullptr, of.raw_q = raw.data(), of.query_eps = 1e-6f;
    for (const auto order : in_turn({simt::Order::ascending, simt::Order::descending,
                                     simt::Order::scattered, simt::Order::greedy}))
      EXPECT_EQ(by(of, order), turned_before) << "turned on their way";
    EXPECT_NE(turned_before, whole);
  }
  std::vector<double> want;
  for (int t = 0; t < n; ++t) {
    const TestSequence& s =
        sequences[static_cast<std::size_t>(places.part_of[static_cast<std::size_t>(t)])];
    const std::int64_t p = places.position[static_cast<std::size_t>(t)];
    std::vector<const void*> cells;
    for (std::int64_t i = std::max<std::int64_t>(0, p + 1 - c.window); i <= p; ++i)
      cells.push_back(s.window.data() + static_cast<std::size_t>(i % capacity) * bytes_of);
    const int seen = c.ratio ? static_cast<int>((p + 1) / c.ratio) : 0;
    for (int i = 0; i < (c.k && seen > c.k ? c.k : seen); ++i) {
      const int j = c.k && seen > c.k ? chosen[static_cast<std::size_t>(t * c.k + i)] : i;
      cells.push_back(s.bases[static_cast<std::size_t>(j / per_page)] + TestSequence::kOffset +
                      static_cast<std::size_t>(j % per_page) * bytes_of);
    }
    std::vector<std::uint16_t> rows(cells.size() * C);
    find("cpu")->unpack_cells({.cells = cells.data(),
                               .rows = rows.data(),
                               .n = static_cast<int>(cells.size()),
                               .head_dim = C,
                               .rope_dim = R});
    for (int h = 0; h < c.n_heads; ++h) {
      std::vector<double> weight(cells.size()), o(static_cast<std::size_t>(C), 0.0);
      double top = -1e300, total = 0;
      for (std::size_t i = 0; i < cells.size(); ++i) {
        double sum = 0;
        for (int d = 0; d < C; ++d)
          sum += static_cast<double>(
                     bf16_value(q[(static_cast<std::size_t>(t) * c.n_heads + h) * C + d])) *
                 bf16_value(rows[i * C + d]);
        top = std::max(top, weight[i] = sum * a.scale);
      }
      for (double& w : weight) total += w = std::exp(w - top);
      total += std::exp(sink[static_cast<std::size_t>(h)] - top);
      for (std::size_t i = 0; i < cells.size(); ++i)
        for (int d = 0; d < C; ++d)
          o[static_cast<std::size_t>(d)] += weight[i] * bf16_value(rows[i * C + d]) / total;
      for (int d = C - R; d < C; d += 2) {
        const double cosine = table[static_cast<std::size_t>(t) * R + (d - (C - R))],
                     sine = -table[static_cast<std::size_t>(t) * R + (d - (C - R)) + 1];
        const double re = o[static_cast<std::size_t>(d)], im = o[static_cast<std::size_t>(d) + 1];
        o[static_cast<std::size_t>(d)] = re * cosine - im * sine;
        o[static_cast<std::size_t>(d) + 1] = re * sine + im * cosine;
      }
      want.insert(want.end(), o.begin(), o.end());
    }
  }
  // Each weight is rounded by up to 2^-9 of itself, so the sum by that of about one value, and
  // pairs are turned; the output is rounded twice.
  EXPECT_TRUE(close(floats(whole), want, 2 * 0x1p-9, 2 * 0x1p-8));
}

INSTANTIATE_TEST_SUITE_P(
    , CudaAttention,
    // Window only: fewer rows than it, and across a boundary of blocks
    testing::Values(Case{128, 4, 0, 0, 32, {{0, 2}, {100, 1}}},
                    // Chosen; and one that sees all it has
                    Case{128, 16, 4, 20, 128, {{300, 2}, {5, 1}}},
                    Case{192, 8, 128, 0, 128, {{128 * 70 + 126, 2}}},  // 70 and 71 entries
                    Case{512, 64, 4, 64, 128, {{600, 1}}},
                    Case{512, 70, 0, 0, 70, {{129, 1}}},  // two groups of heads
                    // Tokens of several blocks of rows, and of one
                    Case{512, 66, 4, 20, 128, {{330, 3}, {5, 2}}},
                    // More blocks than the fold takes at a time
                    Case{128, 4, 4, 0, 64, {{4 * 64 * 140 + 70, 1}}},
                    Case{128, 4, 0, 0, 33, {{40, 3}}, true}));

}  // namespace
}  // namespace lares::kernels::cuda
