// Bodies of compress() and put_raw(), emulated, against the CPU's kernels: the bytes of entries and
// index keys, whatever the chunks.
#include "kernels/cuda/attention/compress_kernels.h"
#include "tests/kernels/cuda_places.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;

struct Case {
  int ratio, dim;
  bool index;
  std::vector<int> chunks;
};
class CudaCompress : public testing::TestWithParam<Case> {};

TEST_P(CudaCompress, MakesTheCpusBytes) {
  const Case c = GetParam();
  const Kernels& cpu = *find("cpu");
  const int width = c.ratio == 4 ? 2 * c.dim : c.dim, R = 64, raw_capacity = 2 * c.ratio + 5,
            per_page = 3;
  int n_tokens = 0;
  for (const int n : c.chunks) n_tokens += n;
  const int entries = n_tokens / c.ratio;
  const std::size_t bytes = c.index ? index_key_bytes(c.dim) : cell_bytes(c.dim, R),
                    page = bytes * per_page;
  auto values = normals(static_cast<std::size_t>(n_tokens) * width, 31),
       gates = normals(static_cast<std::size_t>(n_tokens) * width, 32, 3);
  auto ape = normals(static_cast<std::size_t>(c.ratio) * width, 33),
       norm = normals(static_cast<std::size_t>(c.dim), 34);
  if (c.index) {  // entry 0 is the same in every dim, so after the transform three of its groups
                  // hold nothing
    std::fill_n(values.begin(), 4 * width, 1.0f);
    std::fill(norm.begin(), norm.end(), 1.0f);
  }
  const auto f = frequencies(R);
  // All at once, as the forward pass does it.
  std::vector<std::vector<std::uint8_t>> want;
  for (int j = 0; j < entries; ++j) {
    std::deque<std::vector<float>> rows;
    std::vector<const float*> v, g;
    for (int t = c.ratio == 4 && j > 0 ? 4 * (j - 1) : c.ratio * j; t < c.ratio * (j + 1); ++t) {
      const std::size_t half = c.ratio == 4 && t >= 4 * j ? static_cast<std::size_t>(c.dim) : 0,
                        at = static_cast<std::size_t>(t) * width + half;
      auto& row = rows.emplace_back(static_cast<std::size_t>(c.dim));
      for (int i = 0; i < c.dim; ++i)
        row[static_cast<std::size_t>(i)] =
            gates[at + i] + ape[static_cast<std::size_t>(t % c.ratio) * width + half + i];
      v.push_back(values.data() + at);
      g.push_back(row.data());
    }
    std::vector<float> e(static_cast<std::size_t>(c.dim));
    cpu.pool({.values = v.data(),
              .gates = g.data(),
              .out = e.data(),
              .n_rows = static_cast<int>(v.size()),
              .dim = c.dim,
              .round_bf16 = true});
    cpu.rms_norm({.x = e.data(),
                  .w = norm.data(),
                  .y = e.data(),
                  .x_stride = c.dim,
                  .y_stride = c.dim,
                  .n_rows = 1,
                  .dim = c.dim,
                  .eps = 1e-6f,
                  .round_bf16 = true});
    const auto table = angles({static_cast<std::int64_t>(j) * c.ratio}, f);
    turn_rows(e.data() + c.dim - R, c.dim, 1, R, table.data(), false);
    auto& cell = want.emplace_back(bytes);
    if (c.index) {
      cpu.hadamard({.x = e.data(), .n_rows = 1, .dim = c.dim, .round_bf16 = true});
      cpu.quantise(
          {.x = e.data(), .stride = c.dim, .n_rows = 1, .n = c.dim, .block = 32, .fp4 = true});
      pack_index_key(e.data(), c.dim, cell.data());
    } else {
      cpu.quantise({.x = e.data(), .stride = c.dim, .n_rows = 1, .n = c.dim - R, .block = 64});
      cpu.drop_small(e.data(), c.dim);
      pack_cell(e.data(), c.dim, R, cell.data());
    }
  }
  std::deque<TestSequence> sequences;
  sequences.emplace_back(0, static_cast<std::size_t>(raw_capacity) * 2 * width,
                         (entries + per_page) / per_page, page);
  TestSequence& s = sequences[0];
  std::int64_t position = 0;
  for (const int n : c.chunks) {
    TestPlaces places(sequences, {{position, n}});
    const CompressArgs a{.values = values.data() + position * width,
                         .gates = gates.data() + position * width,
                         .ape = ape.data(),
                         .norm = norm.data(),
                         .frequencies = f.data(),
                         .places = places.places,
                         .cells = {TestSequence::kOffset, per_page},
                         .ratio = c.ratio,
                         .dim = c.dim,
                         .rope_dim = R,
                         .raw_capacity = raw_capacity,
                         .index = c.index,
                         .eps = 1e-6f};
    const auto pages = s.pages;
    in_every_order(
        {n}, kCompressThreads, static_cast<std::size_t>(compress_shared(c.dim)),
        [&] { std::copy(pages.begin(), pages.end(), s.pages.begin()); },
        [&] { compress_kernel(a); }, [&] { return s.pages; });
    simt::Machine::get().run({n}, kCompressThreads, 0, simt::Order::scattered,
                             [&] { put_raw_kernel(a); });
    position += n;
  }
  for (int i = 0; i < static_cast<int>(s.pages.size()) * per_page; ++i) {
    const auto* const at = s.bases[static_cast<std::size_t>(i / per_page)] + TestSequence::kOffset +
                           static_cast<std::size_t>(i % per_page) * bytes;
    EXPECT_EQ(
        std::vector<std::uint8_t>(at, at + bytes),
        i < entries ? want[static_cast<std::size_t>(i)] : std::vector<std::uint8_t>(bytes, 0xA5))
        << "entry " << i << " of " << entries;
  }
  for (const auto& p : s.pages)
    EXPECT_TRUE(std::all_of(p.begin(), p.begin() + TestSequence::kOffset,
                            [](std::uint8_t v) { return v == 0xA5; }));
}

INSTANTIATE_TEST_SUITE_P(, CudaCompress,
                         testing::Values(Case{4, 512, false, {11}},
                                         Case{4, 128, false, {1, 1, 3, 2, 8, 1}},
                                         Case{4, 576, false, {5, 4}}, Case{4, 128, true, {7, 9}},
                                         Case{4, 128, true, {1, 1, 1, 1, 1, 1, 1, 1}},
                                         Case{128, 128, false, {100, 28, 1, 130}}));

}  // namespace
}  // namespace lares::kernels::cuda
