// What kernels_cuda_bench gives kernels to work on. Several take a shorter way where a model's
// numbers allow it, which random bytes do not: scales that are powers of two, groups of nearly one
// scale, cells whose scales are at most 1. tests/kernels/cuda_bench_data_test.cc asks the kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace lares::kernels::cuda::bench {

// Q8_128 of what a norm gives: its largest of 128 is near 4, and a code's 448
inline constexpr float kCodeScale = 0x1p-6f;
// Of all groups of a query's head, as index_queries() gives them: exponent 127, times 1/4
inline constexpr float kQueryScale = 0.25f;
// By which streams stay what they are however often a boundary is repeated
inline constexpr float kPost = 1.0f, kComb = 0.125f;
inline constexpr std::size_t kTileFp4 = 1088, kTileScales = 1024;  // bytes of a tile, of its codes
inline constexpr std::size_t kBlockBytes = kTileFp4 * 65536;

// As bf16 and as the upper half of a float: 2^-8 to 2 of both signs; as e4m3: numbers.
inline std::vector<std::uint8_t> halves(std::size_t bytes, std::uint64_t seed) {
  std::vector<std::uint8_t> block(bytes);
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i + 1 < block.size(); i += 2) {
    const auto r = random();
    block[i] = static_cast<std::uint8_t>(r & 0x7E);
    block[i + 1] = static_cast<std::uint8_t>((r >> 8 & 0x83) | 0x3C);
  }
  return block;
}

// Tiles of fp4, scales near 1.
inline std::vector<std::uint8_t> fp4_tiles(std::size_t bytes, std::uint64_t seed) {
  std::vector<std::uint8_t> block(bytes);
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i < block.size(); ++i)
    block[i] = i % kTileFp4 < kTileScales ? static_cast<std::uint8_t>(random())
                                          : static_cast<std::uint8_t>(120 + random() % 8);
  return block;
}

// V4-Flash's pages of 256 tokens: of every CSA layer 64 entries and 64 index keys, of every HCA
// layer two entries. A launch of one layer reads a piece of each page, and the next one's another,
// so that in a graph of several nothing of a long context is still in L2.
inline constexpr std::size_t kCell = 584, kKey = 68;
inline constexpr int kCsaLayers = 21, kHcaLayers = 22, kCsaRows = 64, kHcaRows = 2;
inline constexpr std::size_t kCsaBytes = kCsaRows * (kCell + kKey), kHcaBytes = 1216;
inline constexpr std::size_t kPageBytes = kCsaLayers * kCsaBytes + kHcaLayers * kHcaBytes;
static_assert(kHcaBytes >= kHcaRows * kCell && kHcaBytes % 64 == 0 && kCsaBytes % 64 == 0);
constexpr std::size_t csa_entries_at(int i) {
  return static_cast<std::size_t>(i % kCsaLayers) * kCsaBytes;
}
constexpr std::size_t index_keys_at(int i) { return csa_entries_at(i) + kCsaRows * kCell; }
constexpr std::size_t hca_entries_at(int i) {
  return kCsaLayers * kCsaBytes + static_cast<std::size_t>(i % kHcaLayers) * kHcaBytes;
}

// Cells as kernels/cells.h has them: 448 codes, seven scales and a zero, 64 bf16. Their scales are
// 2^-7: what is normed is at most a few.
inline void make_cells(std::uint8_t* at, int n) {
  for (int i = 0; i < n; ++i, at += kCell) {
    std::memset(at + 448, 120, 7);
    at[455] = 0;
  }
}
// Index keys: 64 bytes of codes and four exponents, which a Hadamard transform makes nearly equal.
inline void make_index_keys(std::uint8_t* at, int n) {
  for (int i = 0; i < n; ++i, at += kKey)
    for (int c = 64; c < 68; ++c) at[c] = static_cast<std::uint8_t>(126 + (at[c] >> 1 & 1));
}
inline std::vector<std::uint8_t> pages(int n, std::uint64_t seed) {
  std::vector<std::uint8_t> all = halves(static_cast<std::size_t>(n) * kPageBytes, seed);
  std::mt19937_64 random(seed + 1);
  for (std::uint8_t* page = all.data(); page < all.data() + all.size(); page += kPageBytes) {
    for (int i = 0; i < kCsaLayers; ++i) {
      std::uint8_t* const keys = page + index_keys_at(i);
      for (std::size_t b = 0; b < kCsaRows * kKey; b += 8) {
        const auto r = random();  // any bytes are codes
        std::memcpy(keys + b, &r, 8);
      }
      make_index_keys(keys, kCsaRows);
      make_cells(page + csa_entries_at(i), kCsaRows);
    }
    for (int i = 0; i < kHcaLayers; ++i) make_cells(page + hca_entries_at(i), kHcaRows);
  }
  return all;
}

// The experts of n tokens, k of n_experts each, no two of a token the same.
inline std::vector<std::int32_t> routes(int n, int n_experts, int k, std::uint32_t seed) {
  std::vector<std::int32_t> expert;
  std::mt19937 random(seed);
  for (int t = 0; t < n; ++t)
    for (int i = 0, first = static_cast<int>(random() % static_cast<unsigned>(n_experts)); i < k;
         ++i)
      expert.push_back((first + i * 37) % n_experts);
  return expert;
}
inline int distinct(std::vector<std::int32_t> of) {
  std::sort(of.begin(), of.end());
  return static_cast<int>(std::unique(of.begin(), of.end()) - of.begin());
}

}  // namespace lares::kernels::cuda::bench
