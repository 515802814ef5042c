// One layer's call: whose tokens it has, their positions, and the rotations of every one of them.
#pragma once

#include "engine/model/forward.h"

namespace lares::engine {

struct Forward::Chunk {
  Chunk(const Forward& forward, const LayerWeights& w, std::span<const Part> parts_of,
        std::optional<std::int64_t> sees_from = {});

  std::vector<Part> parts;
  std::vector<int> begin;  // of each part's tokens
  int n = 0;               // tokens
  // All tokens of the one part see all positions from there; none: each its own window
  std::optional<std::int64_t> seen_from;
  const std::vector<float>& frequencies;
  int pairs;
  struct Place {
    std::int64_t position;
    int part;
  };
  std::vector<Place> places;     // [n]
  std::vector<double> cos, sin;  // [n, R / 2]

  std::int64_t position(int t) const { return places[static_cast<std::size_t>(t)].position; }
  const Part& part(int t) const {
    return parts[static_cast<std::size_t>(places[static_cast<std::size_t>(t)].part)];
  }
  const double* cos_of(int t) const { return cos.data() + static_cast<std::size_t>(t) * pairs; }
  const double* sin_of(int t) const { return sin.data() + static_cast<std::size_t>(t) * pairs; }
};

// Whether released numerics quantise what enters it.
inline bool quantises(const kernels::Matrix& w) {
  return w.format == kernels::Format::fp8 || w.format == kernels::Format::fp4;
}

}  // namespace lares::engine
