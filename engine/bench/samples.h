// Statistics of timings on a machine that others use too: a sample whose thread was off the CPU is
// no measurement.
#pragma once

#include <span>
#include <vector>

namespace lares::engine::bench {

inline constexpr double kLostMax = 0.01;  // of a sample's time
// With fewer clean samples the least disturbed ones stand in, and the row says so
inline constexpr int kCleanMin = 3;

struct Sample {
  double seconds = 0;  // from the common start to the end of the last thread
  double lost = 0;     // of it, how long a thread that had work was off the CPU, at most
  double lost_part() const { return seconds > 0 ? lost / seconds : 0; }
  bool clean() const { return lost_part() <= kLostMax; }
};

// The work, and a reference loop run right before or after it.
struct Pair {
  Sample work, reference;
};

struct Summary {
  double median_s = 0;
  int samples = 0, dropped = 0;
  // Fewer than kCleanMin clean ones: the median is of the kCleanMin that lost the smallest part
  bool disturbed = false;
};

// The mean of the middle two of an even number; 0 of none
double median(std::vector<double> values);
Summary summarise(std::span<const Sample> samples);
// Median of reference / work over the pairs in which both are clean, or over all pairs when those
// are too few; 0 of none.
double paired_speed(std::span<const Pair> pairs);

}  // namespace lares::engine::bench
