// Bodies of what works on rows, emulated, against the CPU's kernels: the same bits.
#include "kernels/cuda/elementwise_kernels.h"
#include "tests/kernels/cuda_places.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;
const Kernels& cpu() { return *find("cpu"); }

// Ordinary numbers, zeros, tiny ones, and one that is none.
std::vector<std::uint16_t> awkward(std::size_t n, std::uint64_t seed) {
  auto x = normals(n, seed);
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 11 == 3) x[i] = i % 2 ? 0.0f : -0.0f;
    if (i % 13 == 5) x[i] *= 0x1p-60f;
    if (i % 17 == 2) x[i] *= 100;
  }
  return halves(x);
}

TEST(CudaElementwise, QuantiseGivesTheCpusValuesAsCodes) {
  for (const auto& [rows, n] : {std::pair{3, 128}, {5, 384}, {2, 160}}) {
    auto x = awkward(static_cast<std::size_t>(rows) * n, 3);
    const Quantised want = quantised(x, rows, n);
    const int blocks = (n + 127) / 128;
    Guarded<std::uint8_t> codes(x.size());
    Guarded<float> scale(static_cast<std::size_t>(rows) * blocks);
    const QuantiseArgs a{.x = x.data(),
                         .codes = codes.data(),
                         .scale = scale.data(),
                         .x_stride = n,
                         .codes_stride = n,
                         .scale_stride = blocks,
                         .n_rows = rows,
                         .n = n};
    in_every_order(
        {quantise_blocks(rows, n)}, 256, 0, [&] { codes.poison(), scale.poison(); },
        [&] { quantise_kernel(a); }, [&] { return std::pair(codes.values(), scale.values()); });
    EXPECT_EQ(codes.values(), want.codes);
    EXPECT_EQ(scale.values(), want.scale);
    for (int r = 0; r < rows; ++r)
      for (int k = 0; k < n; ++k)
        ASSERT_EQ(bits_of(e4m3_value(codes.values()[static_cast<std::size_t>(r) * n + k]) *
                          scale.values()[static_cast<std::size_t>(r) * blocks + k / 128]),
                  bits_of(want.values[static_cast<std::size_t>(r) * n + k]))
            << r << " " << k;
    x[static_cast<std::size_t>(n) + 7] = 0x7FC0;
    simt::Machine::get().run({quantise_blocks(rows, n)}, 256, 0, simt::Order::ascending,
                             [&] { quantise_kernel(a); });
    for (int i = 0; i < rows * blocks; ++i)
      EXPECT_EQ(std::isnan(scale.values()[static_cast<std::size_t>(i)]), i == blocks) << i;
  }
}

TEST(CudaElementwise, RopeTableIsTheCpus) {
  const auto f = frequencies(64);
  const std::vector<std::int64_t> position{0, 1, 127, 1048575};
  Guarded<double> table(position.size() * 64);
  const RopeTableArgs a{.frequencies = f.data(),
                        .position = position.data(),
                        .table = table.data(),
                        .n = 4,
                        .dim = 64};
  simt::Machine::get().run({1}, 128, 0, simt::Order::scattered, [&] { rope_table_kernel(a); });
  EXPECT_EQ(table.values(), angles(position, f));
}

TEST(CudaElementwise, RmsNormHasTheCpusBits) {
  for (const auto& [rows, dim] : {std::pair{1, 32}, {3, 512}, {2, 1000}, {2, 4096}}) {
    const auto x = awkward(static_cast<std::size_t>(rows) * dim, 4);
    const auto w = normals(static_cast<std::size_t>(dim), 5);
    std::vector<float> want(x.size());
    const auto from = floats(x);
    cpu().rms_norm({.x = from.data(),
                    .w = w.data(),
                    .y = want.data(),
                    .x_stride = dim,
                    .y_stride = dim,
                    .n_rows = rows,
                    .dim = dim,
                    .eps = 1e-6f,
                    .round_bf16 = true});
    const int blocks = (dim + 127) / 128;
    Guarded<std::uint16_t> y(x.size());
    Guarded<std::uint8_t> codes(x.size());
    Guarded<float> scale(static_cast<std::size_t>(rows) * blocks);
    const RmsNormArgs a{.x = x.data(),
                        .w = w.data(),
                        .y = y.data(),
                        .codes = codes.data(),
                        .code_scale = scale.data(),
                        .x_stride = dim,
                        .y_stride = dim,
                        .codes_stride = dim,
                        .code_scale_stride = blocks,
                        .n_rows = rows,
                        .dim = dim,
                        .eps = 1e-6f};
    in_every_order(
        {rows}, kNormThreads, static_cast<std::size_t>(rms_norm_shared(dim)),
        [&] { y.poison(), codes.poison(), scale.poison(); }, [&] { rms_norm_kernel(a); },
        [&] { return std::tuple(y.values(), codes.values(), scale.values()); });
    EXPECT_EQ(y.values(), halves(want)) << dim;
    const Quantised q = quantised(halves(want), rows, dim);
    EXPECT_EQ(codes.values(), q.codes) << dim;
    EXPECT_EQ(scale.values(), q.scale) << dim;
  }
}

TEST(CudaElementwise, QueriesHaveTheCpusBits) {
  const auto f = frequencies(64);
  for (const auto& [n, heads, dim] : {std::tuple{3, 5, 128}, {1, 8, 192}, {2, 64, 512}}) {
    const auto x = awkward(static_cast<std::size_t>(n) * heads * dim, 6);
    std::vector<std::int64_t> position;
    for (int t = 0; t < n; ++t) position.push_back(1000 + 77 * t);
    const auto table = angles(position, f);
    auto want = floats(x);
    for (int t = 0; t < n; ++t) {
      float* const rows = want.data() + static_cast<std::size_t>(t) * heads * dim;
      cpu().head_norm({.x = rows, .n_rows = heads, .dim = dim, .eps = 1e-6f, .released = true});
      turn_rows(rows + dim - 64, dim, heads, 64, table.data() + static_cast<std::size_t>(t) * 64,
                false);
      cpu().drop_small(rows, static_cast<std::int64_t>(heads) * dim);
    }
    Guarded<std::uint16_t> q(x.size());
    const QueryArgs a{.q = q.data(),
                      .rope = table.data(),
                      .n_tokens = n,
                      .n_heads = heads,
                      .head_dim = dim,
                      .rope_dim = 64,
                      .eps = 1e-6f};
    const auto got = in_every_order(
        {queries_blocks(n, heads)}, kRowThreads, static_cast<std::size_t>(queries_shared(dim)),
        [&] { q.poison(), std::copy(x.begin(), x.end(), q.data()); }, [&] { queries_kernel(a); },
        [&] { return q.values(); });
    EXPECT_EQ(got, halves(want)) << dim;
  }
}

TEST(CudaElementwise, WindowCellsHaveTheCpusBytes) {
  const int dim = 512, R = 64, capacity = 40;
  const auto bytes_of = cell_bytes(dim, R);
  const auto f = frequencies(R);
  const auto norm = normals(dim, 8);
  std::deque<TestSequence> sequences;
  for (int i = 0; i < 2; ++i) sequences.emplace_back(capacity * bytes_of, 0, 0, 0);
  TestPlaces places(sequences, {{37, 5}, {1000, 50}});  // the second is longer than its ring
  const int n = places.places.n_tokens;
  auto kv = awkward(static_cast<std::size_t>(n) * dim, 9);
  for (int i = 64; i < 128; ++i) kv[2 * dim + static_cast<std::size_t>(i)] = 0;  // a block of zeros
  for (int i = 0; i < 64; ++i)
    kv[3 * dim + static_cast<std::size_t>(i)] = bf16_bits(0x1p-3f * (i % 2 ? 1 : -1));
  kv[4 * dim + 70] = 0x7FC0;
  const auto table = angles(places.position, f);
  std::vector<std::vector<std::uint8_t>> want;
  for (auto& s : sequences) want.push_back(s.window);
  for (int t = 0; t < n; ++t) {
    auto row = floats({kv.begin() + t * dim, kv.begin() + (t + 1) * dim});
    cpu().rms_norm({.x = row.data(),
                    .w = norm.data(),
                    .y = row.data(),
                    .x_stride = dim,
                    .y_stride = dim,
                    .n_rows = 1,
                    .dim = dim,
                    .eps = 1e-6f,
                    .round_bf16 = true});
    turn_rows(row.data() + dim - R, dim, 1, R, table.data() + static_cast<std::size_t>(t) * R,
              false);
    cpu().quantise({.x = row.data(), .stride = dim, .n_rows = 1, .n = dim - R, .block = 64});
    cpu().drop_small(row.data(), dim);
    const auto part = static_cast<std::size_t>(places.part_of[static_cast<std::size_t>(t)]);
    pack_cell(row.data(), dim, R,
              want[part].data() + static_cast<std::size_t>(
                                      places.position[static_cast<std::size_t>(t)] % capacity) *
                                      bytes_of);
  }
  const WindowArgs a{.kv = kv.data(),
                     .norm = norm.data(),
                     .rope = table.data(),
                     .places = places.places,
                     .head_dim = dim,
                     .rope_dim = R,
                     .window_capacity = capacity,
                     .eps = 1e-6f};
  in_every_order(
      {n}, kRowThreads, dim * 4,
      [&] {
        for (auto& s : sequences)
          std::fill(s.window.begin(), s.window.end(), static_cast<std::uint8_t>(0xA5));
      },
      [&] { put_window_kernel(a); },
      [&] { return std::pair(sequences[0].window, sequences[1].window); });
  // Token 4 is no number throughout: what a NaN's payload is does not matter, so its cell is
  // compared unpacked.
  const auto slot = static_cast<std::size_t>(places.position[4] % capacity) * bytes_of;
  std::vector<std::uint16_t> rows(2 * dim);
  const void* cells[] = {want[0].data() + slot, sequences[0].window.data() + slot};
  cpu().unpack_cells({.cells = cells, .rows = rows.data(), .n = 2, .head_dim = dim, .rope_dim = R});
  for (int i = 0; i < dim; ++i)
    EXPECT_TRUE(std::isnan(bf16_value(rows[static_cast<std::size_t>(i)])) &&
                std::isnan(bf16_value(rows[static_cast<std::size_t>(dim + i)])))
        << i;
  std::copy_n(sequences[0].window.data() + slot, bytes_of, want[0].data() + slot);
  EXPECT_EQ(sequences[0].window, want[0]);
  EXPECT_EQ(sequences[1].window, want[1]);
}

TEST(CudaElementwise, EmbedCopiesTheRowIntoEveryStream) {
  const auto table = halves(normals(10 * 64, 10));
  const std::vector<std::int32_t> tokens{3, 9, 0};
  Guarded<std::uint16_t> x(3 * 4 * 64);
  const EmbedArgs a{.table = table.data(),
                    .tokens = tokens.data(),
                    .x = x.data(),
                    .n_tokens = 3,
                    .n_streams = 4,
                    .dim = 64};
  simt::Machine::get().run({3}, 256, 0, simt::Order::scattered, [&] { embed_kernel(a); });
  std::vector<std::uint16_t> want;
  for (const int t : tokens)
    for (int s = 0; s < 4; ++s)
      want.insert(want.end(), table.begin() + t * 64, table.begin() + (t + 1) * 64);
  EXPECT_EQ(x.values(), want);
}

TEST(CudaElementwise, ArgmaxTakesTheFirstOfTheLargestThatIsAllowed) {
  constexpr int n = 1000;
  std::vector<float> logits = normals(4 * n, 11);
  logits[500] = logits[77] = logits[900] = 9;  // row 0: a tie
  logits[n + 3] = std::nanf("");               // row 1: no number is never the largest
  logits[n + 4] = 20;
  std::fill_n(logits.begin() + 3 * n, n, -1e30f);  // row 3: all equal
  logits[3 * n] = -2e30f;
  std::vector<std::uint32_t> allowed(4 * 32, ~0u);
  logits[2 * n + 40] = 50;  // row 2: the largest is not allowed
  logits[2 * n + 41] = 30;
  allowed[2 * 32 + 1] &= ~(1u << 8);
  Guarded<std::int32_t> token(4);
  Guarded<float> value(4);
  std::vector<std::uint64_t> scratch(4 * kArgmaxParts);
  ArgmaxArgs a{.logits = logits.data(),
               .allowed = allowed.data(),
               .token = token.data(),
               .value = value.data(),
               .scratch = scratch.data(),
               .n_rows = 4,
               .n = n};
  const auto run = [&] {
    simt::Machine::get().run({kArgmaxParts, 4}, 256, 256 * 8, simt::Order::scattered,
                             [&] { argmax_parts_kernel(a); });
    simt::Machine::get().run({4}, kArgmaxParts, kArgmaxParts * 8, simt::Order::descending,
                             [&] { argmax_kernel(a); });
    return token.values();
  };
  EXPECT_EQ(run(), (std::vector<std::int32_t>{77, 4, 41, 1}));
  EXPECT_EQ(value.values(), (std::vector<float>{9, 20, 30, -1e30f}));
  std::fill(allowed.begin(), allowed.begin() + 32, 0u);
  EXPECT_EQ(run()[0], -1);
  a.allowed = nullptr;
  EXPECT_EQ(run(), (std::vector<std::int32_t>{77, 4, 40, 1}));
}

}  // namespace
}  // namespace lares::kernels::cuda
