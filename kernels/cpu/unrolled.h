// Loops whose every index is a constant, so that arrays of registers stay registers. Everything is
// in an unnamed namespace: see lanes.h.
#pragma once

#include <utility>

#define INLINE [[gnu::always_inline]] inline

namespace lares::kernels {
namespace {

template <int n, class F>
INLINE void each(F&& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, i>{}), ...);
  }
  (std::make_integer_sequence<int, n>{});
}

}  // namespace
}  // namespace lares::kernels

#define EACH(i, n, ...) each<n>([&](auto i) __attribute__((always_inline)) __VA_ARGS__)
