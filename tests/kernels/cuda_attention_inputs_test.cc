// The body of attention_inputs(), emulated: what the launches one after the other make, bit for
// bit.
#include "kernels/cuda/attention/attention_inputs_kernels.h"
#include "kernels/cuda/attention/compress_kernels.h"
#include "kernels/cuda/elementwise_kernels.h"
#include "kernels/cuda/indexer/indexer_kernels.h"
#include "tests/kernels/cuda_places.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;

struct Case {
  int n, head_dim;
  std::int64_t position;
  bool indexes;
  int rope_dim = 64;
};
class CudaAttentionInputs : public testing::TestWithParam<Case> {};

struct Out {
  std::vector<std::uint16_t> q, index_codes;
  std::vector<float> index_scale, index_weight, raw, raw_index;
  std::vector<std::uint8_t> window, entries, keys;
  bool operator==(const Out&) const = default;
};

TEST_P(CudaAttentionInputs, AreThoseOfTheLaunchesOneByOne) {
  const Case c = GetParam();
  constexpr int heads = 64, index_heads = 3, capacity = 16, ratio = 4, raw_capacity = 2 * ratio + 5,
                per_page = 3;
  const int C = c.head_dim, R = c.rope_dim, n = c.n;
  const std::size_t cell = cell_bytes(C, R), key = index_key_bytes(kIndexDim),
                    rows = static_cast<std::size_t>(n);
  const auto f = frequencies(R), kv_norm = normals(static_cast<std::size_t>(C), 1);
  const auto q0 = halves(normals(rows * heads * C, 2)), kv = halves(normals(rows * C, 3)),
             iq = halves(normals(rows * index_heads * kIndexDim, 4)),
             iw = halves(normals(rows * index_heads, 5));
  struct Rows {
    std::vector<float> values, gates, ape, norm, raw;
  };
  const auto raw_rows = [&](int dim, std::uint64_t seed) {
    const std::size_t width = 2 * static_cast<std::size_t>(dim);
    return Rows{normals(rows * width, seed), normals(rows * width, seed + 1, 3),
                normals(ratio * width, seed + 2), normals(static_cast<std::size_t>(dim), seed + 3),
                normals(raw_capacity * 2 * width, seed + 4)};
  };
  const Rows entry_rows = raw_rows(C, 10), key_rows = raw_rows(kIndexDim, 20);
  // The same sequence, its cells of each kind in pages of their own
  std::deque<TestSequence> entries, keys;
  const int n_pages = static_cast<int>((c.position + n) / ratio / per_page) + 1;
  entries.emplace_back(capacity * cell, entry_rows.raw.size(), n_pages, cell * per_page);
  keys.emplace_back(0, key_rows.raw.size(), n_pages, key * per_page);
  TestPlaces entry_places(entries, {{c.position, n}}), key_places(keys, {{c.position, n}});
  const auto table = angles(entry_places.position, f);
  Guarded<std::uint16_t> q(q0.size()), codes(iq.size());
  Guarded<float> scale(rows * index_heads * 4), weight(iw.size());
  const auto compress_args = [&](const Rows& r, const Places& places, int dim, bool index) {
    return CompressArgs{.values = r.values.data(),
                        .gates = r.gates.data(),
                        .ape = r.ape.data(),
                        .norm = r.norm.data(),
                        .frequencies = f.data(),
                        .places = places,
                        .cells = {TestSequence::kOffset, per_page},
                        .ratio = ratio,
                        .dim = dim,
                        .rope_dim = R,
                        .raw_capacity = raw_capacity,
                        .index = index,
                        .eps = 1e-6f};
  };
  AttentionInputsArgs a{.queries = {.q = q.data(),
                                    .rope = table.data(),
                                    .n_tokens = n,
                                    .n_heads = heads,
                                    .head_dim = C,
                                    .rope_dim = R,
                                    .eps = 1e-6f},
                        .window = {.kv = kv.data(),
                                   .norm = kv_norm.data(),
                                   .rope = table.data(),
                                   .places = entry_places.places,
                                   .head_dim = C,
                                   .rope_dim = R,
                                   .window_capacity = capacity,
                                   .eps = 1e-6f}};
  a.compress[a.n_compress++] = compress_args(entry_rows, entry_places.places, C, false);
  if (c.indexes) {
    a.compress[a.n_compress++] = compress_args(key_rows, key_places.places, kIndexDim, true);
    a.index_queries = {.q = iq.data(),
                       .w = iw.data(),
                       .rope = table.data(),
                       .codes = codes.data(),
                       .scale = scale.data(),
                       .weight = weight.data(),
                       .n_tokens = n,
                       .n_heads = index_heads,
                       .rope_dim = R,
                       .weight_scale = 0.05f};
  }
  const auto fresh = [&] {
    q.poison(), codes.poison(), scale.poison(), weight.poison();
    std::copy(q0.begin(), q0.end(), q.data());
    std::copy(entry_rows.raw.begin(), entry_rows.raw.end(), entries[0].raw.begin());
    std::copy(key_rows.raw.begin(), key_rows.raw.end(), keys[0].raw.begin());
    std::ranges::fill(entries[0].window, static_cast<std::uint8_t>(0xA5));
    for (auto* const s : {&entries[0], &keys[0]})
      for (auto& page : s->pages) std::ranges::fill(page, static_cast<std::uint8_t>(0xA5));
  };
  const auto result = [&] {
    const auto joined = [](const TestSequence& s) {
      std::vector<std::uint8_t> out;
      for (const auto& page : s.pages) out.insert(out.end(), page.begin(), page.end());
      return out;
    };
    const auto floats_of = [&](const std::vector<float>& raw) {
      return std::vector<float>(raw.begin(), raw.end() - 1);
    };  // not the NaN behind
    Out out{q.values(),
            codes.values(),
            {},
            {},
            floats_of(entries[0].raw),
            floats_of(keys[0].raw),
            entries[0].window,
            joined(entries[0]),
            joined(keys[0])};
    if (c.indexes) out.index_scale = scale.values(), out.index_weight = weight.values();
    return out;
  };
  fresh();
  simt::Machine& machine = simt::Machine::get();
  const auto run = [&](int blocks, int threads, int shared, const std::function<void()>& body) {
    machine.run({blocks}, threads, static_cast<std::size_t>(shared), simt::Order::ascending, body);
  };
  run(queries_blocks(n, heads), kRowThreads, queries_shared(C), [&] { queries_kernel(a.queries); });
  run(n, kRowThreads, C * 4, [&] { put_window_kernel(a.window); });
  for (int i = 0; i < a.n_compress; ++i) {
    run(n, kCompressThreads, compress_shared(a.compress[i].dim),
        [&] { compress_kernel(a.compress[i]); });
    run(n, kCompressThreads, 0, [&] { put_raw_kernel(a.compress[i]); });
  }
  if (c.indexes)
    run(index_queries_blocks(n, index_heads), 128, 0,
        [&] { index_queries_kernel(a.index_queries); });
  const Out want = result();
  EXPECT_NE(want.q, q0);
  const Out got = in_every_order(
      {input_blocks(a).all()}, kRowThreads, static_cast<std::size_t>(inputs_shared(a)), fresh,
      [&] { attention_inputs_kernel(a); }, result);
  EXPECT_EQ(got.q, want.q);
  EXPECT_EQ(got.window, want.window);
  EXPECT_EQ(got.raw, want.raw);
  EXPECT_EQ(got.entries, want.entries);
  EXPECT_TRUE(got == want);
}

// A token that completes a group and one that does not; several that complete two; more than a
// warp's pairs that are turned.
INSTANTIATE_TEST_SUITE_P(, CudaAttentionInputs,
                         testing::Values(Case{1, 512, 11, true}, Case{1, 512, 13, true},
                                         Case{7, 128, 3, true}, Case{2, 192, 6, false, 128}));

}  // namespace
}  // namespace lares::kernels::cuda
