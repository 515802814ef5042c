#include "engine/bench/samples.h"

#include <algorithm>

namespace lares::engine::bench {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

namespace {

struct Reading {
  double value, lost;  // lost: the part of its time, the worst of what it was read from
};

// Keeps the clean ones, or the kCleanMin least disturbed; true when it came to that.
bool keep_clean(std::vector<Reading>& readings) {
  const auto by_loss = [](const Reading& a, const Reading& b) { return a.lost < b.lost; };
  std::stable_sort(readings.begin(), readings.end(), by_loss);
  const auto clean = std::find_if(readings.begin(), readings.end(),
                                  [](const Reading& r) { return r.lost > kLostMax; });
  const bool disturbed = clean - readings.begin() < kCleanMin;
  if (!disturbed) {
    readings.erase(clean, readings.end());
  } else if (readings.size() > kCleanMin) {
    readings.resize(kCleanMin);
  }
  return disturbed;
}

double median(const std::vector<Reading>& readings) {
  std::vector<double> values;
  for (const Reading& r : readings) values.push_back(r.value);
  return bench::median(std::move(values));
}

}  // namespace

Summary summarise(std::span<const Sample> samples) {
  std::vector<Reading> readings;
  for (const Sample& s : samples) readings.push_back({s.seconds, s.lost_part()});
  const bool disturbed = keep_clean(readings);
  return {.median_s = median(readings),
          .samples = static_cast<int>(samples.size()),
          .dropped = static_cast<int>(samples.size() - readings.size()),
          .disturbed = disturbed};
}

double paired_speed(std::span<const Pair> pairs) {
  std::vector<Reading> readings;
  for (const Pair& p : pairs) {
    if (p.work.seconds <= 0) continue;
    readings.push_back({p.reference.seconds / p.work.seconds,
                        std::max(p.work.lost_part(), p.reference.lost_part())});
  }
  keep_clean(readings);
  return median(readings);
}

}  // namespace lares::engine::bench
