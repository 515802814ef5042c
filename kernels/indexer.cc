#include "kernels/indexer.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <functional>

#include "kernels/index_codes.h"

namespace lares::kernels {
namespace {

// Larger float, larger number; -0 counts as 0. NaN sorts by its bits: deterministic is all one can
// ask.
std::int32_t sortable(float x) {
  const auto u = std::bit_cast<std::int32_t>(x + 0.0f);
  return u ^ ((u >> 31) & 0x7FFFFFFF);
}

// From here on a sample tells which scores need not be looked at twice.
constexpr int kSampledFrom = 1 << 13, kSamples = 1 << 12;
constexpr int kTogether = 16;  // scores compared before one of them is asked for

// A number that somewhat more than k scores reach, by what a sample says; the least one where a
// sample says nothing.
std::int32_t likely_floor(const float* score, int n, int k, std::int32_t* scratch) {
  const std::int64_t wanted =
      static_cast<std::int64_t>(k) * kSamples * 3 / (2 * static_cast<std::int64_t>(n)) + 8;
  if (n < kSampledFrom || wanted >= kSamples / 4) return INT32_MIN;
  for (int i = 0; i < kSamples; ++i)
    scratch[i] = sortable(score[static_cast<std::int64_t>(i) * n / kSamples]);
  std::nth_element(scratch, scratch + wanted, scratch + kSamples, std::greater<>());
  return scratch[wanted];
}

// The indices of all scores that reach `floor`, ascending, at most n_max of them; n_max + 1 when
// there are more.
int reaching(const float* score, int n, std::int32_t floor, std::int32_t* to, int n_max) {
  int count = 0;
  int i = 0;
  for (; i + kTogether <= n; i += kTogether) {
    int any = 0;
    for (int j = 0; j < kTogether; ++j) any |= sortable(score[i + j]) >= floor ? -1 : 0;
    if (!any) continue;
    if (count + kTogether > n_max) return n_max + 1;
    for (int j = 0; j < kTogether; ++j) {
      to[count] = i + j;
      count += sortable(score[i + j]) >= floor;
    }
  }
  for (; i < n; ++i) {
    if (count == n_max) return n_max + 1;
    to[count] = i;
    count += sortable(score[i]) >= floor;
  }
  return count;
}

// |twice an e2m1 value| -> code.
constexpr std::uint8_t kCodeOf[13] = {0, 1, 2, 3, 4, 0, 5, 0, 6, 0, 0, 0, 7};

}  // namespace

void pack_index_key(const float* x, int dim, std::uint8_t* key) {
  const int groups = dim / kGroup;
  const Exponents e = group_exponents(x, groups);
  for (int g = 0; g < groups; ++g) {
    std::int8_t code[kGroup];
    group_codes(x, e, g, code);
    const auto nibble = [&](int i) { return kCodeOf[std::abs(code[i])] | (code[i] < 0 ? 8 : 0); };
    for (int i = 0; i < kGroup; i += 2)
      key[(g * kGroup + i) / 2] = static_cast<std::uint8_t>(nibble(i) | nibble(i + 1) << 4);
    key[dim / 2 + g] = static_cast<std::uint8_t>(e.of[g]);
  }
}

int top_k(const float* score, int n, int k, std::uint32_t* words, std::int32_t* chosen) {
  if (k >= n) {
    for (int i = 0; i < n; ++i) chosen[i] = i;
    return n;
  }
  if (k <= 0) return 0;
  auto* const scratch = reinterpret_cast<std::int32_t*>(words);
  const std::int32_t floor = likely_floor(score, n, k, scratch);
  // Candidates in the first half of the scratch, their scores in the second; or all scores, when
  // the sample was no help.
  int count = floor == INT32_MIN ? 0 : reaching(score, n, floor, scratch, n / 2);
  const bool sampled = count >= k && count <= n / 2;
  std::int32_t* const keys = sampled ? scratch + count : scratch;
  if (!sampled) count = n;
  const auto index = [&](int i) { return sampled ? scratch[i] : i; };
  for (int i = 0; i < count; ++i) keys[i] = sortable(score[index(i)]);
  std::nth_element(keys, keys + k - 1, keys + count, std::greater<>());
  const std::int32_t last = keys[k - 1];
  int above = 0;
  for (int i = 0; i < k; ++i) above += keys[i] > last;
  int ties = k - above, taken = 0;
  for (int i = 0; i < count && taken < k; ++i) {
    const std::int32_t key = sortable(score[index(i)]);
    if (key > last || (key == last && ties-- > 0)) chosen[taken++] = index(i);
  }
  return taken;
}

}  // namespace lares::kernels
