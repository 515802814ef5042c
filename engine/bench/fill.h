// Generated weights: random codes of a trained checkpoint's kind (no NaN, no denormals, sums of
// order one), as fast as memory takes them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear.h"
#include "kernels/tiles.h"

namespace lares::engine::bench {

// Random codes into [to, to + bytes); bytes a multiple of 8. The same bytes for the same arguments.
// bf16 and f32 values have magnitudes of about 1 / sqrt(n_in); fp8 and fp4 codes get theirs from
// the scales.
void fill_codes(kernels::Format format, int n_in, std::uint64_t seed, std::uint8_t* to,
                std::size_t bytes);

// Whole index keys (kernels/indexer.h); exponents of a key differ by one at most.
void fill_index_keys(int dim, std::uint64_t seed, std::uint8_t* to, std::size_t bytes);

// One entry (kernels/cells.h).
void fill_cell(int head_dim, int rope_dim, std::uint64_t seed, std::uint8_t* to);

// The matrix in stored_bytes() at `base`: its codes, then its scales. Writes the scales.
kernels::Matrix lay_out(kernels::Format format, int n_out, int n_in, std::uint8_t* base);

// The same as tiles, which is how the engine reads bf16, fp8 and fp4. fill_tiles() takes whole
// tiles and writes fp4's scales too; lay_out_tiles() finds fp8's scales behind the tiles and writes
// those.
std::size_t laid_bytes(kernels::Format format, int n_out, int n_in);
void fill_tiles(kernels::Format format, int n_in, std::uint64_t seed, std::uint8_t* to,
                std::size_t bytes);
kernels::Tiles lay_out_tiles(kernels::Format format, int n_out, int n_in, std::uint8_t* base);

// Values as activations have them: 1/64 steps, of order one. The same for the same seed.
void fill_activations(std::uint64_t seed, float* to, std::size_t n);

}  // namespace lares::engine::bench
