// Where the tokens of a launch are, as the device sees it. All of it is read when a kernel runs, so
// that a recorded graph serves for the next token once these have changed.
#pragma once

#include "kernels/cuda/device.h"

namespace lares::kernels::cuda {

// Consecutive tokens of one sequence, and where its caches are for one layer.
struct Part {
  std::uint8_t* window = nullptr;  // cells (kernels/cells.h), position p at p mod window_capacity
  // [raw_capacity, 2, width] the compressor's values, then gates with their bias; position p at p
  // mod raw_capacity
  float* raw = nullptr;
  float* raw_index = nullptr;  // the same of the indexer's
  // [n_pages], device memory; cell j of a kind is cell j % per_page of page j / per_page
  std::uint8_t* const* pages = nullptr;
  std::int64_t position = 0;      // of the first token
  std::int32_t begin = 0, n = 0;  // its tokens are [begin, begin + n) of the launch
};

// Of tokens [0, n_tokens).
struct Places {
  const std::int64_t* position = nullptr;  // [n_tokens]
  const std::int32_t* part = nullptr;      // [n_tokens]
  const Part* parts = nullptr;
  int n_tokens = 0;
};

// One kind of a layer's cells in a page.
struct PageCells {
  std::uint64_t offset = 0;  // bytes, of the first; a multiple of 4
  int per_page = 0;
};

}  // namespace lares::kernels::cuda
