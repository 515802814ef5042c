// Generated weights: random codes of a trained checkpoint's kind (no NaN, no denormals, sums of
// order one), as fast as memory takes them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear.h"

namespace lares::engine::bench {

// Random codes into [to, to + bytes); bytes a multiple of 8. The same bytes for the same arguments.
// bf16 and f32 values have magnitudes of about 1 / sqrt(n_in); fp8 and fp4 codes get theirs from
// the scales.
void fill_codes(kernels::Format format, int n_in, std::uint64_t seed, std::uint8_t* to,
                std::size_t bytes);

// The matrix in stored_bytes() at `base`: its codes, then its scales. Writes the scales.
kernels::Matrix lay_out(kernels::Format format, int n_out, int n_in, std::uint8_t* base);

// Values as activations have them: 1/64 steps, of order one. The same for the same seed.
void fill_activations(std::uint64_t seed, float* to, std::size_t n);

}  // namespace lares::engine::bench
