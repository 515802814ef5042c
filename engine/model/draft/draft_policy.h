// How many tokens to guess ahead: as many as measured times and measured acceptance say give the
// most tokens per second.
#pragma once

#include <array>
#include <span>

namespace lares::engine {

inline constexpr int kDraftMax = 15;  // guesses evaluated with the waiting token
// Evaluations without a guess until one is tried again, because times and texts change
inline constexpr int kProbeEvery = 128;
inline constexpr double kWorthwhile = 1.03;  // gain in tokens per second that guessing must promise

// Seconds, as a moving average near the shortest, which one late wake-up cannot move far.
class Duration {
 public:
  void add(double seconds);
  double value() const { return value_; }
  int count() const { return count_; }

 private:
  double value_ = 0;
  int count_ = 0;
};

class DraftPolicy {
 public:
  struct Plan {
    int n = 0;
    double gain = 1;  // expected tokens per second over those without a guess
  };

  void evaluated(int n_tokens, double seconds);  // 1 to kDraftMax + 1 tokens
  void guessed(int n_passes, double seconds);    // by the checkpoint's draft blocks

  void caught_up(double seconds);  // by the draft blocks, many rows of theirs

  // Whether catching up pays, after `seconds` of evaluations since the blocks fell behind: not
  // before as long has passed as it takes, so that all of it costs no more than the evaluations
  // did.
  bool worth_catching_up(double seconds) const;

  // What guesses cost to make: nothing (copied, or made already), a pass of the draft block each,
  // one pass for all.
  enum class Cost { none, each, once };
  // The best number of guesses; chances[i] that guess i is right when those before it were.
  Plan plan(std::span<const double> chances, Cost cost) const;
  bool probe() const { return without_ >= kProbeEvery; }

  double seconds(int n_tokens) const;  // expected of an evaluation

 private:
  static constexpr int kSizes = 3;  // 2 to 4 tokens, 5 to 8, more
  static int size_of(int n_tokens) { return n_tokens <= 4 ? 0 : n_tokens <= 8 ? 1 : 2; }

  Duration one_;  // an evaluation of one token
  // Each further token, by how many there were: few lengths share many measurements
  std::array<Duration, kSizes> more_;
  Duration guess_;     // a pass of the draft blocks
  Duration catch_up_;  // of theirs with what was evaluated without them
  int without_ = 0;
};

}  // namespace lares::engine
