// One call's positions: its tokens' range and the rotations of every position in it.
#pragma once

#include "engine/model/forward.h"

namespace lares::engine {

struct Forward::Chunk {
  Chunk(const Forward& forward, const LayerWeights& w, std::int64_t begin, int n_tokens, std::optional<std::int64_t> sees_from = {});

  std::int64_t position;
  int n;
  std::optional<std::int64_t> seen_from;  // all tokens see all positions from there; none: each its own window
  const std::vector<float>& frequencies;
  int pairs;
  std::vector<double> cos, sin;  // [n, R / 2]

  const double* cos_of(int t) const { return cos.data() + static_cast<std::size_t>(t) * pairs; }
  const double* sin_of(int t) const { return sin.data() + static_cast<std::size_t>(t) * pairs; }
};

// Whether released numerics quantise what enters it.
inline bool quantises(const kernels::Matrix& w) { return w.format == kernels::Format::fp8 || w.format == kernels::Format::fp4; }

}  // namespace lares::engine
