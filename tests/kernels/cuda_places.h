// Sequences in memory as kernels/cuda/places.h describes them: rings, pages, and the places of a
// chunk's tokens.
#pragma once

#include <deque>

#include "kernels/cells.h"
#include "kernels/cuda/places.h"
#include "kernels/indexer.h"
#include "tests/kernels/cuda_emulation.h"

namespace lares::kernels::cuda::test {

// Pages hold `per_page` cells of one kind, behind some bytes of others.
struct TestSequence {
  static constexpr std::size_t kOffset = 64;
  std::vector<std::uint8_t> window;
  std::vector<float> raw;
  std::deque<std::vector<std::uint8_t>> pages;
  std::vector<std::uint8_t*> bases;
  Part part;

  TestSequence(std::size_t window_bytes, std::size_t raw_floats, int n_pages,
               std::size_t page_bytes)
      : window(window_bytes + 8, 0xA5), raw(raw_floats + 1, std::nanf("")) {
    for (int i = 0; i < n_pages; ++i)
      pages.emplace_back(kOffset + page_bytes, static_cast<std::uint8_t>(0xA5));
    for (auto& p : pages) bases.push_back(p.data());
  }
  TestSequence(const TestSequence&) = delete;  // others point into it
};

struct TestPlaces {
  std::vector<std::int64_t> position;
  std::vector<std::int32_t> part_of;
  std::vector<Part> parts;
  Places places;

  TestPlaces(std::deque<TestSequence>& sequences,
             const std::vector<std::pair<std::int64_t, int>>& chunks) {
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      TestSequence& s = sequences[i];
      s.part = {.window = s.window.data(),
                .raw = s.raw.data(),
                .raw_index = s.raw.data(),
                .pages = s.bases.data(),
                .position = chunks[i].first,
                .begin = static_cast<std::int32_t>(position.size()),
                .n = chunks[i].second};
      parts.push_back(s.part);
      for (int t = 0; t < chunks[i].second; ++t) {
        position.push_back(chunks[i].first + t);
        part_of.push_back(static_cast<std::int32_t>(i));
      }
    }
    places = {.position = position.data(),
              .part = part_of.data(),
              .parts = parts.data(),
              .n_tokens = static_cast<int>(position.size())};
  }
  TestPlaces(const TestPlaces&) = delete;
};

// Cosine and sine of each position, as the CPU has them.
inline std::vector<double> angles(const std::vector<std::int64_t>& position,
                                  const std::vector<float>& frequencies) {
  std::vector<double> table;
  for (const auto p : position) {
    std::vector<double> c(frequencies.size()), s(frequencies.size());
    kernels::rope_angles(frequencies.data(), 2 * static_cast<int>(frequencies.size()), p, c.data(),
                         s.data());
    for (std::size_t i = 0; i < c.size(); ++i) table.insert(table.end(), {c[i], s[i]});
  }
  return table;
}
inline std::vector<float> frequencies(int dim) {
  std::vector<float> f(static_cast<std::size_t>(dim / 2));
  kernels::rope_frequencies(dim, 160000, 65536, 16, 32, 1, f.data());
  return f;
}
// Turns the last `dim` of each of n rows by a position's angles, as the forward pass does.
inline void turn_rows(float* x, std::int64_t stride, int n, int dim, const double* table,
                      bool inverse) {
  std::vector<double> c, s;
  for (int i = 0; i < dim / 2; ++i) c.push_back(table[2 * i]), s.push_back(table[2 * i + 1]);
  find("cpu")->rope({.x = x,
                     .stride = stride,
                     .n_rows = n,
                     .dim = dim,
                     .cos = c.data(),
                     .sin = s.data(),
                     .inverse = inverse,
                     .round_bf16 = true});
}

}  // namespace lares::kernels::cuda::test
