// Float weights and one token, as hyper-connections have them when they decode: 24 rows that are
// long. A lane is a 32-group of one row, so a row is read from its beginning to its end, and the
// few rows that a thread gets cost no more each than many. The groups' sums are then added up in
// their order, several rows side by side. Bits as linear_cpu's. Of more tokens, 16 rows are as
// cheap in the panels of linear_avx2.cc and linear_avx512.cc.
#pragma once

#include "kernels/linear.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/unrolled.h"
#include "kernels/scratch.h"

namespace lares::kernels {
namespace {

inline constexpr int kRowsNear = 8;  // rows whose sums are added up side by side

// r[i]: offset `at` + i of each of n groups; zeros where there is none.
template <class V, class Transpose>
INLINE void gather(const float* from, int n, int at, V (&r)[V::lanes]) {
  if (n >= V::lanes)
    EACH(g, V::lanes, { load(r[g], from + g * kGroup + at); });
  else
    EACH(g, V::lanes, { r[g] = g < n ? loaded<V>(from + g * kGroup + at) : all<V>(0); });
  Transpose()(r);
}

// Rows [row, row + n), n <= kRowsNear; sums: [kRowsNear, apart].
template <class V, class Transpose>
void few_rows(const LinearArgs& a, int row, int n, float* sums, std::int64_t apart) {
  constexpr int lanes = V::lanes;
  const Matrix& m = *a.w;
  const float* const weights = static_cast<const float*>(m.data) +
                               static_cast<std::int64_t>(row) * m.n_in;
  const int groups = m.n_in / kGroup;
  alignas(64) float x[kGroup][lanes];
  for (int g = 0; g < groups; g += lanes) {
    EACH(c, kGroup / lanes, {
      V r[lanes];
      gather<V, Transpose>(a.x + g * kGroup, groups - g, c * lanes, r);
      EACH(i, lanes, { store(x[c * lanes + i], r[i]); });
    });
    for (int k = 0; k < n; ++k) {
      V part = all<V>(0);
      EACH(c, kGroup / lanes, {
        V r[lanes];
        gather<V, Transpose>(weights + static_cast<std::int64_t>(k) * m.n_in + g * kGroup,
                             groups - g, c * lanes, r);
        EACH(i, lanes, {
          constexpr int next = ordered(Format::f32, i);
          part = fma(r[next], loaded<V>(x[c * lanes + next]), part);
        });
      });
      store(sums + k * apart + g, part);
    }
  }
  float acc[kRowsNear] = {};
  for (int g = 0; g < groups; ++g)
    for (int k = 0; k < kRowsNear; ++k) acc[k] += sums[k * apart + g];
  float* const y = a.y + row - a.y_row;
  for (int k = 0; k < n; ++k) y[k] = a.round_bf16 ? bf16_rounded(acc[k]) : acc[k];
}

template <class V, class Transpose>
void one_token_of_floats(const LinearArgs& a) {
  // A line more from row to row, so that they do not share the sets of a cache.
  const std::int64_t apart = (a.w->n_in / kGroup + 15) / 16 * 16 + 16;
  auto* const sums =
      reinterpret_cast<float*>(scratch_words(static_cast<std::size_t>(kRowsNear * apart)));
  for (int row = a.row_begin; row < a.row_end; row += kRowsNear)
    few_rows<V, Transpose>(a, row, a.row_end - row < kRowsNear ? a.row_end - row : kRowsNear, sums,
                           apart);
}

}  // namespace
}  // namespace lares::kernels
