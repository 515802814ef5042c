#include "engine/model/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/dispatch.h"
#include "kernels/exp.h"

namespace lares::engine {
namespace {

constexpr std::size_t kBlock = 64;  // ids a mask word covers
static_assert(kBlock == kernels::kExpBlock);
constexpr std::size_t kStretch = 64;  // blocks that a thread takes at a time
constexpr std::size_t kSortFew = 32;  // candidates cheaper to sort than to halve again

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
  const std::uint64_t b =
      mixed(a ^ (static_cast<std::uint64_t>(position) * 0x9E3779B97F4A7C15u + 0xD1B54A32D192ED03u));
  return static_cast<double>(b >> 11) * 0x1p-53;
}

std::uint64_t word_of(const TokenMask* mask, std::size_t block) {
  return !mask ? ~std::uint64_t{0} : block < mask->size() ? (*mask)[block] : 0;
}

// Of blocks [first, last).
template <class Best>
Best best_within(std::span<const float> logits, const TokenMask* mask, std::size_t first,
                 std::size_t last) {
  const std::size_t n = logits.size();
  Best best{n, n};
  for (std::size_t begin = first * kBlock; begin < std::min(n, last * kBlock); begin += kBlock) {
    const std::uint64_t word = word_of(mask, begin / kBlock);
    if (word == 0) continue;
    const std::size_t count = std::min(kBlock, n - begin);
    const float* x = logits.data() + begin;
    if (word == ~std::uint64_t{0} && count == kBlock && best.id < n) {
      float most[8];
      int nans = 0;
      std::copy(x, x + 8, most);
      for (std::size_t i = 0; i < kBlock; i += 8)
        for (std::size_t j = 0; j < 8; ++j) most[j] = x[i + j] > most[j] ? x[i + j] : most[j];
      for (std::size_t i = 0; i < kBlock; ++i) nans |= x[i] != x[i];
      float top = most[0];
      for (const float m : most) top = m > top ? m : top;
      if (!nans && !(top > logits[best.id])) continue;
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (!(word >> i & 1)) continue;
      if (std::isnan(x[i])) {
        best.nan = begin + i;
        return best;
      }
      if (best.id == n || x[i] > logits[best.id]) best.id = begin + i;
    }
  }
  return best;
}

}  // namespace

// f(begin, end) over all blocks, kStretch of them at a time.
void Sampler::each_blocks(std::size_t blocks,
                          const std::function<void(std::size_t, std::size_t)>& f) {
  if (!pool_ || blocks < 2 * kStretch) {
    for (std::size_t begin = 0; begin < blocks; begin += kStretch)
      f(begin, std::min(blocks, begin + kStretch));
    return;
  }
  const auto stretches = static_cast<std::int64_t>((blocks + kStretch - 1) / kStretch);
  pool_->run(stretches, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      f(i * kStretch, std::min(blocks, (i + 1) * kStretch));
  });
}

Sampler::Best Sampler::best_of(std::span<const float> logits, const TokenMask* mask) {
  const std::size_t n = logits.size(), blocks = (n + kBlock - 1) / kBlock;
  bests_.resize((blocks + kStretch - 1) / kStretch);
  each_blocks(blocks, [&](std::size_t begin, std::size_t end) {
    bests_[begin / kStretch] = best_within<Best>(logits, mask, begin, end);
  });
  Best best{n, n};
  for (const Best& of : bests_) {
    if (of.nan < n) return of;
    if (of.id < n && (best.id == n || logits[of.id] > logits[best.id])) best.id = of.id;
  }
  return best;
}

// Linear in the window, not in the vocabulary, beyond one copy of the logits.
std::span<const float> Sampler::penalised(std::span<const float> logits, const Sampling& s,
                                          const Context& context) {
  if (s.repetition_penalty == 1 && s.presence_penalty == 0 && s.frequency_penalty == 0)
    return logits;
  logits_.assign(logits.begin(), logits.end());
  generated_.resize(std::max(generated_.size(), logits.size()));
  seen_.resize(std::max(seen_.size(), logits.size()));
  distinct_.clear();
  const std::size_t end = context.tokens.size();
  for (std::size_t i = end - std::min(end, kPenaltyWindow); i < end; ++i) {
    const Token id = context.tokens[i];
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
    if (!seen_[id]) distinct_.push_back(id);
    seen_[id] = true;
    generated_[id] += i >= context.generated_from ? 1 : 0;
  }
  for (const Token id : distinct_) {
    float& x = logits_[id];
    x = x > 0 ? x / s.repetition_penalty : x * s.repetition_penalty;
    if (generated_[id] > 0)
      x -= s.presence_penalty + s.frequency_penalty * static_cast<float>(generated_[id]);
    generated_[id] = 0;
    seen_[id] = false;
  }
  return logits_;
}

// Weights exp((logit - top) / temperature) of what the mask allows, their sum and those of each
// block.
void Sampler::weigh(std::span<const float> logits, const TokenMask* mask, double top,
                    double temperature) {
  const std::size_t blocks = (logits.size() + kBlock - 1) / kBlock;
  weights_.resize(blocks * kBlock);
  sums_.resize(blocks);
  tops_.resize(blocks);
  const auto exp_blocks = kernels::best().exp_blocks;
  const auto weigh_block = [&](std::size_t b) {
    double* w = weights_.data() + b * kBlock;
    const std::uint64_t word = word_of(mask, b);
    float x[kBlock];
    const std::size_t count = std::min(kBlock, logits.size() - b * kBlock);
    sums_[b] = tops_[b] = 0;
    if (word == 0) {
      std::fill(w, w + kBlock, 0);
      return;
    }
    std::fill(x + count, x + kBlock, -std::numeric_limits<float>::infinity());
    std::copy_n(logits.data() + b * kBlock, count, x);
    for (std::size_t i = 0; i < kBlock; ++i) w[i] = x[i] - top;
    if (temperature != 1)
      for (std::size_t i = 0; i < kBlock; ++i) w[i] /= temperature;
    exp_blocks(w, kBlock);
    if (word != ~std::uint64_t{0})
      for (std::size_t i = 0; i < kBlock; ++i)
        if (!(word >> i & 1)) w[i] = 0;
    double sum[4] = {}, most[4] = {};
    for (std::size_t i = 0; i < kBlock; i += 4)
      for (std::size_t j = 0; j < 4; ++j) {
        sum[j] += w[i + j];
        most[j] = w[i + j] > most[j] ? w[i + j] : most[j];
      }
    sums_[b] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    tops_[b] = std::max({most[0], most[1], most[2], most[3]});
  };
  each_blocks(blocks, [&](std::size_t begin, std::size_t end) {
    for (std::size_t b = begin; b < end; ++b) weigh_block(b);
  });
  total_ = 0;
  for (const double sum : sums_) total_ += sum;
}

Token Sampler::draw_ascending(double target) const {
  double sum = 0;
  std::size_t last = 0;
  for (std::size_t b = 0; b < sums_.size(); ++b) {
    if (sums_[b] == 0) continue;
    last = b;
    if (sum + sums_[b] > target) break;
    sum += sums_[b];
  }
  const double* w = weights_.data() + last * kBlock;
  std::size_t id = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    if (w[i] == 0) continue;
    id = i;
    sum += w[i];
    if (sum > target) break;
  }
  return static_cast<Token>(last * kBlock + id);
}

namespace {

constexpr auto kLikelier = [](const auto& a, const auto& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
};

// How many of the likeliest candidates it takes to hold more than `mass`, or as much when `reach`;
// they come first. At least one.
template <class Candidate>
std::size_t prefix_of(std::vector<Candidate>& all, double mass, bool reach) {
  std::size_t begin = 0, end = all.size();
  double before = 0;
  const auto enough = [&](double sum) { return reach ? sum >= mass : sum > mass; };
  const auto at = [&](std::size_t i) { return all.begin() + static_cast<std::ptrdiff_t>(i); };
  while (end - begin > kSortFew) {
    const std::size_t middle = begin + (end - begin) / 2;
    std::nth_element(at(begin), at(middle), at(end), kLikelier);
    const double sum = std::accumulate(at(begin), at(middle), before,
                                       [](double s, const Candidate& c) { return s + c.weight; });
    if (enough(sum)) {
      end = middle;
    } else {
      begin = middle;
      before = sum;
    }
  }
  std::sort(at(begin), at(end), kLikelier);
  while (begin < end) {
    before += all[begin++].weight;
    if (enough(before)) break;
  }
  return begin;
}

}  // namespace

void Sampler::filter(const Sampling& s) {
  // A weight below which no filter keeps anything. top_k: the k-th greatest block maximum is at
  // most the k-th greatest weight. top_p: tokens below (1 - top_p) of the mean hold less than 1 -
  // top_p together.
  const double top_p = std::clamp<double>(s.top_p, 0, 1);
  const auto k = static_cast<std::size_t>(std::max(0, s.top_k));
  double least = s.min_p;
  if (k > 0) {
    least = 0;
    if (k <= tops_.size()) {
      order_ = tops_;
      std::nth_element(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(k - 1),
                       order_.end(), std::greater<>());
      least = order_[k - 1];
    }
  } else if (top_p < 1) {
    least = std::max(least, (1 - top_p) * total_ / static_cast<double>(weights_.size()));
  }
  least = std::min(least, 1.0);  // the likeliest token weighs 1
  kept_.clear();
  for (std::size_t b = 0; b < tops_.size(); ++b) {
    if (tops_[b] < least || tops_[b] == 0) continue;
    const double* w = weights_.data() + b * kBlock;
    for (std::size_t i = 0; i < kBlock; ++i)
      if (w[i] >= least && w[i] > 0) kept_.push_back({w[i], static_cast<Token>(b * kBlock + i)});
  }
  double mass = total_;
  if (k > 0) {
    if (k < kept_.size()) {
      std::nth_element(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(k), kept_.end(),
                       kLikelier);
      kept_.resize(k);
    }
    mass = 0;
    for (const auto& c : kept_) mass += c.weight;
  }
  if (top_p < 1) kept_.resize(prefix_of(kept_, top_p * mass, true));
  const double min_p = std::min<double>(s.min_p, 1.0);
  std::erase_if(kept_, [&](const Candidate& c) { return c.weight < min_p; });
}

Token Sampler::draw_filtered(double u) {
  double mass = 0;
  for (const auto& c : kept_) mass += c.weight;
  return kept_[prefix_of(kept_, u * mass, false) - 1].id;
}

Result<Token> Sampler::draw(std::span<const float> raw, const Sampling& s, const TokenMask* mask,
                            std::int64_t position, const Context& context) {
  const auto refused = [&](Errc code, std::string why) {
    return tl::unexpected(Error{code, fmt::format("sample position {}: {}", position, why)});
  };
  if (!(s.repetition_penalty > 0))
    return refused(Errc::bad_argument,
                   fmt::format("the repetition penalty {} is not above 0", s.repetition_penalty));
  const auto logits = penalised(raw, s, context);
  const Best best = best_of(logits, mask);
  if (best.nan < logits.size())
    return refused(
        Errc::malformed,
        fmt::format("the logit of token {} is not a number; the weights are damaged", best.nan));
  if (best.id == logits.size()) return refused(Errc::bad_argument, "the mask allows no token");
  if (!(s.temperature > 0) || !std::isfinite(logits[best.id])) return static_cast<Token>(best.id);
  weigh(logits, mask, logits[best.id], s.temperature);
  const double u = uniform(s.seed, position);
  if (s.top_k <= 0 && !(s.top_p < 1) && !(s.min_p > 0)) return draw_ascending(u * total_);
  filter(s);
  return draw_filtered(u);
}

namespace {

// The block that begins at id `b`, none of it NaN; behind the end of the logits -inf.
void block_of(std::span<const float> logits, std::size_t b, float* x) {
  const std::size_t count = std::min(kBlock, logits.size() - b);
  std::fill(x + count, x + kBlock, -std::numeric_limits<float>::infinity());
  std::copy_n(logits.data() + b, count, x);
}

float most_of(const float* x) {
  float most[8];
  std::copy(x, x + 8, most);
  for (std::size_t i = 8; i < kBlock; i += 8)
    for (std::size_t j = 0; j < 8; ++j) most[j] = x[i + j] > most[j] ? x[i + j] : most[j];
  return *std::max_element(most, most + 8);
}

}  // namespace

Logprobs logprobs(std::span<const float> logits, Token token, int n) {
  Logprobs out;
  if (token < 0 || static_cast<std::size_t>(token) >= logits.size()) return out;
  float x[kBlock], top = -std::numeric_limits<float>::infinity();
  for (std::size_t b = 0; b < logits.size(); b += kBlock) {
    block_of(logits, b, x);
    top = std::max(top, most_of(x));
  }
  const auto likelier = [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  };
  const auto keep = static_cast<std::size_t>(
      std::clamp(n, 0, std::min<int>(kLogprobsMax, static_cast<int>(logits.size()))));
  double sums[4] = {};
  const auto exp_blocks = kernels::best().exp_blocks;
  for (std::size_t b = 0; b < logits.size(); b += kBlock) {
    block_of(logits, b, x);
    double w[kBlock];
    for (std::size_t i = 0; i < kBlock; ++i) w[i] = static_cast<double>(x[i]) - top;
    exp_blocks(w, kBlock);
    for (std::size_t i = 0; i < kBlock; i += 4)
      for (std::size_t j = 0; j < 4; ++j) sums[j] += w[i + j];
    if (keep == 0 || (out.top.size() == keep && !(most_of(x) > out.top.back().second))) continue;
    for (std::size_t i = 0; i < std::min(kBlock, logits.size() - b); ++i) {
      if (out.top.size() == keep && !(x[i] > out.top.back().second)) continue;
      if (out.top.size() == keep) out.top.pop_back();
      const std::pair<Token, float> entry{static_cast<Token>(b + i), x[i]};
      out.top.insert(std::upper_bound(out.top.begin(), out.top.end(), entry, likelier), entry);
    }
  }
  const double norm = top + std::log((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (auto& [id, value] : out.top) value = static_cast<float>(value - norm);
  out.drawn = static_cast<float>(logits[token] - norm);
  return out;
}

}  // namespace lares::engine
