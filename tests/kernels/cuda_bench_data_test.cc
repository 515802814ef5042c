// kernels_cuda_bench's data takes the ways through the kernels that a model's does.
#include "tests/kernels/cuda_bench_data.h"

#include <cmath>

#include "kernels/cells.h"
#include "kernels/cuda/attention/attention_cells.h"
#include "kernels/cuda/indexer/index_score_kernels.h"
#include "kernels/cuda/products/wide_input.h"
#include "kernels/cuda/products/wide_tile.h"
#include "kernels/indexer.h"
#include "tests/kernels/cuda_emulation.h"

namespace lares::kernels::cuda {
namespace {

// Products with many tokens have a slow way for scales that do not go into f16 values.
TEST(CudaBenchData, ScalesOfCodesGoIntoValues) {
  EXPECT_EQ(wide_scale(bench::kCodeScale).left, 0);
  EXPECT_EQ(wide_scale(bench::kCodeScale, kWideLeastFp4).left, 0);
}

// Sums of scores are one where a head's groups, and a key's, have nearly one scale.
TEST(CudaBenchData, QueriesAndKeysAreLevel) {
  const std::uint32_t scale = bits_of(bench::kQueryScale);
  const Vec16 of_groups{{scale, scale, scale, scale}};
  EXPECT_TRUE(head_level(&of_groups, 0, 1));
  const auto page = bench::pages(1, 3);
  ASSERT_EQ(bench::kKey, index_key_bytes(kIndexDim));
  for (int layer = 0; layer < bench::kCsaLayers; ++layer)
    for (int j = 0; j < bench::kCsaRows; ++j) {
      const std::uint8_t* const e = page.data() + bench::index_keys_at(layer) +
                                    static_cast<std::size_t>(j) * bench::kKey + 64;
      ASSERT_TRUE(exponents_level(*std::min_element(e, e + 4), *std::max_element(e, e + 4)));
    }
}

// A cell's values are codes times a factor where its scales are at most 1, and are numbers.
TEST(CudaBenchData, CellsAreOfNumbersWithScalesUpToOne) {
  const auto page = bench::pages(1, 3);
  ASSERT_EQ(bench::kCell, cell_bytes(512, 64));
  const auto looks = [&](std::size_t at) {
    const std::uint8_t* const cell = page.data() + at;
    for (int i = 448; i < 456; ++i) ASSERT_LT(cell[i], 0x80);
    std::vector<std::uint16_t> row(512);
    const void* const one = cell;
    unpack_cells_cpu({.cells = &one, .rows = row.data(), .n = 1, .head_dim = 512, .rope_dim = 64});
    for (const std::uint16_t v : row) ASSERT_LT(std::fabs(bf16_value(v)), 8) << "or is no number";
  };
  for (int layer = 0; layer < bench::kCsaLayers; ++layer)
    for (int j = 0; j < bench::kCsaRows; ++j)
      looks(bench::csa_entries_at(layer) + static_cast<std::size_t>(j) * bench::kCell);
  for (int layer = 0; layer < bench::kHcaLayers; ++layer)
    for (int j = 0; j < bench::kHcaRows; ++j)
      looks(bench::hca_entries_at(layer) + static_cast<std::size_t>(j) * bench::kCell);
}

TEST(CudaBenchData, NumbersAreOfOrdinarySize) {
  const auto block = bench::halves(1 << 16, 1);
  for (std::size_t i = 0; i < block.size(); i += 4) {
    std::uint32_t u;
    std::memcpy(&u, block.data() + i, 4);
    for (const float v : {bf16_value(u & 0xFFFF), bf16_value(u >> 16), float_of(u)})
      ASSERT_TRUE(std::fabs(v) >= 0x1p-8f && std::fabs(v) < 2) << v;
    for (int b = 0; b < 4; ++b) ASSERT_NE(u >> 8 * b & 0x7F, 0x7Fu) << "no number as e4m3";
  }
}

TEST(CudaBenchData, ATokenHasNoExpertTwice) {
  const auto expert = bench::routes(64, 256, 6, 3);
  for (std::size_t t = 0; t < 64; ++t)
    EXPECT_EQ(bench::distinct({expert.begin() + static_cast<std::ptrdiff_t>(6 * t),
                               expert.begin() + static_cast<std::ptrdiff_t>(6 * t + 6)}),
              6);
}

}  // namespace
}  // namespace lares::kernels::cuda
