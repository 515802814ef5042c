#include "engine/model/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace lares::engine {
namespace {

std::uint64_t mixed(std::uint64_t x) {  // splitmix64's finaliser
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9u;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// Uniform in [0, 1), a function of (seed, position).
double uniform(std::uint64_t seed, std::int64_t position) {
  const std::uint64_t a = mixed(seed + 0x9E3779B97F4A7C15u);
  const std::uint64_t b = mixed(a ^ (static_cast<std::uint64_t>(position) * 0x9E3779B97F4A7C15u + 0xD1B54A32D192ED03u));
  return static_cast<double>(b >> 11) * 0x1p-53;
}

bool allowed(const TokenMask* mask, std::size_t id) { return !mask || (id / 64 < mask->size() && ((*mask)[id / 64] >> (id % 64) & 1)); }

}  // namespace

Result<Token> sample(std::span<const float> logits, const Sampling& sampling, const TokenMask* mask, std::int64_t position) {
  std::size_t best = logits.size();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!allowed(mask, i)) continue;
    if (std::isnan(logits[i]))
      return tl::unexpected(Error{Errc::malformed, fmt::format("sample position {}: the logit of token {} is not a number; the weights are damaged",
                                                               position, i)});
    if (best == logits.size() || logits[i] > logits[best]) best = i;
  }
  if (best == logits.size())
    return tl::unexpected(Error{Errc::bad_argument, fmt::format("sample position {}: the mask allows no token", position)});
  if (!(sampling.temperature > 0) || !std::isfinite(logits[best])) return static_cast<Token>(best);

  const double top = logits[best], temperature = sampling.temperature;
  std::vector<std::pair<double, std::size_t>> p;
  double total = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!allowed(mask, i)) continue;
    const double scaled = (logits[i] - top) / temperature;
    if (scaled < -50) continue;  // 2e-22 of the best: beyond the resolution of the draw
    const double e = std::exp(scaled);
    total += e;
    p.emplace_back(e, i);
  }
  if (sampling.top_p < 1) {
    std::stable_sort(p.begin(), p.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    const double keep = std::max(0.0, static_cast<double>(sampling.top_p)) * total;
    double sum = 0;
    std::size_t n = 0;
    while (n < p.size() && (n == 0 || sum < keep)) sum += p[n++].first;
    p.resize(n);
    total = sum;
  }
  const double target = uniform(sampling.seed, position) * total;
  double sum = 0;
  for (const auto& [probability, id] : p) {
    sum += probability;
    if (sum > target) return static_cast<Token>(id);
  }
  return static_cast<Token>(p.back().second);
}

}  // namespace lares::engine
