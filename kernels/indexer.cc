#include "kernels/indexer.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace lares::kernels {
namespace {

// Larger float, larger word; -0 counts as 0. NaN sorts by its bits: deterministic is all one can ask.
std::uint32_t sortable(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x == 0 ? 0.0f : x);
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}

}  // namespace

int top_k(const float* score, int n, int k, std::uint32_t* scratch, std::int32_t* chosen) {
  if (k >= n) {
    for (int i = 0; i < n; ++i) chosen[i] = i;
    return n;
  }
  if (k <= 0) return 0;
  for (int i = 0; i < n; ++i) scratch[i] = sortable(score[i]);
  std::nth_element(scratch, scratch + k - 1, scratch + n, std::greater<>());
  const std::uint32_t last = scratch[k - 1];
  int above = 0;
  for (int i = 0; i < k; ++i) above += scratch[i] > last;
  int ties = k - above, taken = 0;
  for (int i = 0; i < n && taken < k; ++i) {
    const std::uint32_t key = sortable(score[i]);
    if (key > last || (key == last && ties-- > 0)) chosen[taken++] = i;
  }
  return taken;
}

}  // namespace lares::kernels
