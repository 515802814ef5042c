// Rotary positions on the last `dim` components of each row, as interleaved pairs, and the
// Walsh-Hadamard transform.
//   y[2i] = x[2i] cos - x[2i+1] sin,  y[2i+1] = x[2i] sin + x[2i+1] cos;  inverse: sin negated
//   hadamard: butterflies of stride 1, 2, 4, ... then * dim^-1/2 (Sylvester order)
// The angle is the float product position * frequency, as in the release; its cosine and sine are
// double, and so is the rotation. Source: DeepSeek-V4 inference/model.py, apply_rotary_emb and
// rotate_activation. Floor: the rows once in and out.
#pragma once

#include <cstdint>

namespace lares::kernels {

struct RopeArgs {
  float* x;  // the first rotary component of row 0; rows `stride` apart, in place
  std::int64_t stride;
  int n_rows, dim;    // dim even
  const double* cos;  // [dim / 2] of the rows' position
  const double* sin;
  bool inverse, round_bf16;
};

struct HadamardArgs {
  float* x;         // [n_rows, dim], in place
  int n_rows, dim;  // dim a power of two >= 8
  bool round_bf16;
};

// Angular frequency of each pair [dim / 2]; original_len 0 switches YaRN off.
void rope_frequencies(int dim, double base, double original_len, double factor, double beta_fast,
                      double beta_slow, float* out);

// cos and sin [dim / 2] of one position.
void rope_angles(const float* frequencies, int dim, std::int64_t position, double* cos,
                 double* sin);

}  // namespace lares::kernels
