// What a draw weighs tokens by.
#pragma once

namespace lares::kernels {

// Of less the exponential is 2e-22 at most: beyond the resolution of a draw
inline constexpr double kExpLeast = -50;
inline constexpr int kExpBlock = 64;

}  // namespace lares::kernels
