// Bodies of the indexer's launches, emulated, against the CPU's: the same scores and the same
// choices, bit for bit.
#include <algorithm>
#include <numeric>

#include "kernels/cuda/indexer/indexer_kernels.h"
#include "tests/kernels/cuda_places.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;
constexpr int D = kIndexDim;

struct Queries {
  std::vector<std::uint16_t> codes;
  std::vector<float> scale, weight;
  bool operator==(const Queries&) const = default;
};
Queries queries_of(const std::vector<std::uint16_t>& q, const std::vector<std::uint16_t>& w,
                   const std::vector<double>& table, int n, int heads) {
  const std::size_t rows = static_cast<std::size_t>(n) * heads;
  Guarded<std::uint16_t> codes(rows * D);
  Guarded<float> scale(rows * 4), weight(rows);
  const IndexQueryArgs a{.q = q.data(),
                         .w = w.data(),
                         .rope = table.data(),
                         .codes = codes.data(),
                         .scale = scale.data(),
                         .weight = weight.data(),
                         .n_tokens = n,
                         .n_heads = heads,
                         .rope_dim = 64,
                         .weight_scale = 0.011f};
  return in_every_order(
      {index_queries_blocks(n, heads)}, 128, 0,
      [&] { codes.poison(), scale.poison(), weight.poison(); }, [&] { index_queries_kernel(a); },
      [&] {
        return Queries{codes.values(), scale.values(), weight.values()};
      });
}

// With `near` the groups of all keys have nearly the same scale, and those of all heads but one of
// the second eight.
void scores_are_the_cpus(bool near) {
  const Kernels& cpu = *find("cpu");
  for (const int heads : {2, 16, 64}) {
    const std::vector<std::pair<std::int64_t, int>> chunks{{4 * 530 - 1, 2}, {9, 1}};
    const int per_page = 64, n_pages = 10;
    std::deque<TestSequence> sequences;
    for (std::size_t i = 0; i < chunks.size(); ++i)
      sequences.emplace_back(0, 0, n_pages, per_page * 68);
    TestPlaces places(sequences, chunks);
    const int n = places.places.n_tokens, most = 531;
    // Keys as compress() makes them; some with exponents far apart, some of nothing, one that is no
    // number.
    for (std::size_t i = 0; i < sequences.size(); ++i)
      for (int j = 0; j < most; ++j) {
        auto key = normals(D, 100 * i + static_cast<std::uint64_t>(j));
        if (near) {
          for (int k = 0; k < 32; ++k) key[static_cast<std::size_t>(32 * (j % 4) + k)] *= 4;
        } else if (j % 5 == 1) {
          for (int k = 0; k < 32; ++k) key[static_cast<std::size_t>(k)] *= 0x1p-20f;
        }
        if (j % 7 == 2) std::fill_n(key.begin() + 64, 32, 0.0f);
        if (j == 11 && !near) key[3] = std::nanf("");
        cpu.quantise({.x = key.data(), .stride = D, .n_rows = 1, .n = D, .block = 32, .fp4 = true});
        pack_index_key(key.data(), D,
                       sequences[i].bases[static_cast<std::size_t>(j / per_page)] +
                           TestSequence::kOffset + static_cast<std::size_t>(j % per_page) * 68);
      }
    auto q = halves(normals(static_cast<std::size_t>(n) * heads * D, 71));
    for (int k = 0; k < D; ++k) q[static_cast<std::size_t>(D + k)] = 0;
    if (heads > 9)  // the transform's second and last groups are small: what differs between dims k
                    // and k + 32
      for (int k = 0; k < D; ++k)
        q[static_cast<std::size_t>(9 * D + k)] =
            k >= 64 ? 0 : bf16_bits(static_cast<float>(k % 32 - 20) * (k < 32 ? 1.0f : 1.0078125f));
    const auto w = halves(normals(static_cast<std::size_t>(n) * heads, 72));
    const auto table = angles(places.position, frequencies(64));
    const Queries queries = queries_of(q, w, table, n, heads);
    const auto level = [&](int h) {
      return std::all_of(
          queries.scale.begin() + 4 * h, queries.scale.begin() + 4 * h + 4,
          [&](float v) { return v == queries.scale[static_cast<std::size_t>(4 * h)]; });
    };
    for (int h = 0; h < heads; ++h) EXPECT_EQ(level(h), h != 9) << h;
    Guarded<float> score(static_cast<std::size_t>(n) * 600);
    const IndexScoreArgs a{.codes = queries.codes.data(),
                           .scale = queries.scale.data(),
                           .weight = queries.weight.data(),
                           .places = places.places,
                           .keys = {TestSequence::kOffset, per_page},
                           .score = score.data(),
                           .score_stride = 600,
                           .n_heads = heads,
                           .n_keys_max = most};
    in_every_order(
        {2, n}, kScoreThreads, kScoreShared, [&] { score.poison(); },
        [&] { index_scores_kernel(a); },
        [&] {
          std::vector<std::uint32_t> bits;
          for (const float v : score.values()) bits.push_back(bits_of(v));
          return bits;
        });
    for (int t = 0; t < n; ++t) {
      auto rows = floats({q.begin() + static_cast<std::ptrdiff_t>(t) * heads * D,
                          q.begin() + static_cast<std::ptrdiff_t>(t + 1) * heads * D});
      turn_rows(rows.data() + D - 64, D, heads, 64, table.data() + static_cast<std::size_t>(t) * 64,
                false);
      cpu.hadamard({.x = rows.data(), .n_rows = heads, .dim = D, .round_bf16 = true});
      cpu.quantise(
          {.x = rows.data(), .stride = D, .n_rows = heads, .n = D, .block = 32, .fp4 = true});
      std::vector<float> weight;
      for (int h = 0; h < heads; ++h)
        weight.push_back(
            bf16_rounded(bf16_value(w[static_cast<std::size_t>(t * heads + h)]) * 0.011f));
      const int seen = static_cast<int>((places.position[static_cast<std::size_t>(t)] + 1) / 4);
      std::vector<float> want(static_cast<std::size_t>(seen)), scratch(index_scratch(heads, D));
      TestSequence& s =
          sequences[static_cast<std::size_t>(places.part_of[static_cast<std::size_t>(t)])];
      cpu.index_scores({.q = rows.data(),
                        .w = weight.data(),
                        .keys = s.bases.data(),
                        .cell = Format::fp4,
                        .score = want.data(),
                        .scratch = scratch.data(),
                        .n_keys = seen,
                        .n_heads = heads,
                        .dim = D,
                        .run = per_page,
                        .first = 0,
                        .offset = TestSequence::kOffset});
      const auto got = score.values();
      EXPECT_TRUE(same_bits({got.begin() + t * 600, got.begin() + t * 600 + seen}, want))
          << heads << " heads, token " << t;
      for (int j = seen; j < 600; ++j)
        ASSERT_EQ(bits_of(got[static_cast<std::size_t>(t * 600 + j)]), ~0u)
            << "beyond what token " << t << " sees";
    }
  }
}

TEST(CudaIndexer, ScoresAreTheCpus) { scores_are_the_cpus(false); }
TEST(CudaIndexer, ScoresOfGroupsWithNearlyTheSameScaleAreTheCpus) { scores_are_the_cpus(true); }

TEST(CudaTopK, ChoosesAsTheCpu) {
  const int n_max = 2 * kTopSlice + 700;
  std::vector<std::vector<float>> scores;
  auto ordinary = normals(static_cast<std::size_t>(n_max), 81);
  for (float& v : ordinary) v = bf16_rounded(v);
  scores.push_back(ordinary);
  auto ties = ordinary;  // most are zero, of both signs, and the rest few values
  for (std::size_t i = 0; i < ties.size(); ++i)
    ties[i] = i % 3 ? (i % 2 ? 0.0f : -0.0f) : std::floor(ordinary[i] * 2);
  scores.push_back(ties);
  scores.push_back(std::vector<float>(static_cast<std::size_t>(n_max), -3.5f));  // all the same
  auto rising = ordinary;
  for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = bf16_rounded(static_cast<float>(i));
  scores.push_back(rising);
  for (float& v : rising) v = -v;
  scores.push_back(rising);
  const int rows = static_cast<int>(scores.size());
  std::vector<float> flat;
  for (const auto& s : scores) flat.insert(flat.end(), s.begin(), s.end());
  Guarded<std::uint32_t> bins(static_cast<std::size_t>(rows) * kTopKBins),
      scratch(static_cast<std::size_t>(rows) * top_words(n_max));
  std::fill_n(bins.data(), static_cast<std::size_t>(rows) * kTopKBins, 0u);
  for (const auto& [n, k] : {std::pair{n_max, 512},
                             {n_max, 1},
                             {kTopSlice, 1024},
                             {kTopSlice + 1, kTopSlice},
                             {600, 512},
                             {512, 512},
                             {300, 512},
                             {7, 3}}) {
    if (k > kTopKMax && n > k) continue;
    std::deque<TestSequence> sequences;
    for (int i = 0; i < rows; ++i) sequences.emplace_back(0, 0, 0, 0);
    TestPlaces places(sequences, std::vector<std::pair<std::int64_t, int>>(
                                     static_cast<std::size_t>(rows), {4 * n - 1, 1}));
    for (const simt::Order order : in_turn({simt::Order::ascending, simt::Order::scattered})) {
      Guarded<std::int32_t> chosen(static_cast<std::size_t>(rows) * k);
      const TopKArgs a{.score = flat.data(),
                       .score_stride = n_max,
                       .places = places.places,
                       .chosen = chosen.data(),
                       .bins = bins.data(),
                       .scratch = scratch.data(),
                       .ratio = 4,
                       .k = k,
                       .n_max = n_max};
      const simt::Dim grid{top_slices(n_max), rows};
      simt::Machine::get().run(grid, kTopThreads, kTopBinsShared, order,
                               [&] { top_bins_kernel(a); });
      simt::Machine::get().run(grid, kTopThreads, kTopFineShared, order,
                               [&] { top_fine_kernel(a); });
      simt::Machine::get().run(grid, kTopThreads, kTopChooseShared, order,
                               [&] { top_choose_kernel(a); });
      for (int r = 0; r < rows; ++r) {
        std::vector<std::uint32_t> words(static_cast<std::size_t>(n));
        std::vector<std::int32_t> want(static_cast<std::size_t>(k), -1);
        kernels::top_k(flat.data() + static_cast<std::ptrdiff_t>(r) * n_max, n, k, words.data(),
                       want.data());
        const auto all = chosen.values();
        EXPECT_EQ(std::vector<std::int32_t>(all.begin() + r * k, all.begin() + (r + 1) * k), want)
            << n << " scores of row " << r << ", k " << k;
      }
      if (n <= kTopWhole) {  // the same of one block
        const auto apart = chosen.values();
        chosen.poison();
        simt::Machine::get().run({rows}, kTopWholeThreads, kTopWholeShared, order,
                                 [&] { top_whole_kernel<kTopWholeMany>(a); });
        EXPECT_EQ(chosen.values(), apart) << n << " scores, k " << k;
        if (n > kTopWholeThreads * kTopWholeFew) continue;
        chosen.poison();
        simt::Machine::get().run({rows}, kTopWholeThreads, kTopWholeShared, order,
                                 [&] { top_whole_kernel<kTopWholeFew>(a); });
        EXPECT_EQ(chosen.values(), apart) << n << " scores, k " << k;
      }
      const auto left = bins.values();
      EXPECT_TRUE(std::all_of(left.begin(), left.end(), [](std::uint32_t v) { return v == 0; }));
    }
  }
}

}  // namespace
}  // namespace lares::kernels::cuda
