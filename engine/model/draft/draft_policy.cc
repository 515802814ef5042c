#include "engine/model/draft/draft_policy.h"

#include <algorithm>

namespace lares::engine {
namespace {

// What disturbs a measurement makes it longer
constexpr double kRise = 1.0 / 32, kFall = 1.0 / 4, kJump = 3;
// Before enough was measured: a further token costs this share of the first, a pass of the draft
// blocks that. Low enough that they get tried where weights are what costs, high enough that the
// first tries are short: at 0.1 a short answer never got its loss back.
constexpr double kTokenShare = 0.4, kGuessShare = 0.1;
constexpr int kEnough = 4;
constexpr double kCatchUp = 8;  // evaluations, before it was measured

}  // namespace

void Duration::add(double seconds) {
  if (count_ == 0)
    value_ = seconds;
  else
    value_ += seconds < value_ ? kFall * (seconds - value_)
                               : kRise * (std::min(seconds, kJump * value_) - value_);
  count_ = std::min(count_ + 1, kEnough);
}

void DraftPolicy::evaluated(int n_tokens, double seconds) {
  without_ = n_tokens == 1 ? without_ + 1 : 0;
  if (n_tokens == 1)
    one_.add(seconds);
  else if (one_.count() > 0)
    more_[size_of(n_tokens)].add(std::max(0.01 * one_.value(), seconds - one_.value()) /
                                 (n_tokens - 1));
}

void DraftPolicy::guessed(int n_passes, double seconds) { guess_.add(seconds / n_passes); }

void DraftPolicy::caught_up(double seconds) { catch_up_.add(seconds); }

bool DraftPolicy::worth_catching_up(double seconds) const {
  return seconds >= (catch_up_.count() > 0 ? catch_up_.value() : kCatchUp * one_.value());
}

double DraftPolicy::seconds(int n_tokens) const {
  double share = kTokenShare * one_.value();
  for (int size = 0; size <= size_of(n_tokens); ++size)
    if (more_[size].count() >= kEnough) share = more_[size].value();
  return one_.value() + share * (n_tokens - 1);
}

DraftPolicy::Plan DraftPolicy::plan(std::span<const double> chances, Cost cost) const {
  const double one = seconds(1), pass = cost == Cost::none   ? 0
                                        : guess_.count() > 0 ? guess_.value()
                                                             : kGuessShare * one;
  Plan best;
  if (!(one > 0)) return best;
  double tokens = 1, all = 1, longest = one;  // more tokens take no less, whatever was measured
  for (int n = 1; n <= std::min<int>(kDraftMax, static_cast<int>(chances.size())); ++n) {
    all *= chances[n - 1];
    tokens += all;
    longest = std::max(longest, seconds(n + 1));
    const double gain = tokens * one / (longest + (cost == Cost::once ? 1 : n) * pass);
    if (gain > best.gain && gain >= kWorthwhile) best = {n, gain};
  }
  return best;
}

}  // namespace lares::engine
