// The status line's text: what is being waited for, how far it is, how fast, and how long it may
// still take.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lares::cli {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // A new wait begins; the same label again is the same wait.
  void begin(std::string_view label, Clock::time_point now);
  // How far it is. `total` 0: unknown, or a count that only grows. `unit` empty: shown as a
  // percentage.
  void count(std::int64_t done, std::int64_t total, std::string_view unit, Clock::time_point now);
  // What `count` may reach at most, when there is no total but a limit.
  void limit(std::int64_t limit) { limit_ = limit; }
  // Shown behind the figures, such as a command's last line.
  void detail(std::string_view text) { detail_ = text; }

  std::string text(Clock::time_point now, bool utf8) const;

  const std::string& label() const { return label_; }
  Clock::time_point began() const { return began_; }  // the wait

 private:
  // What one more costs: a token the more, the more stand before it. Costs are those of stretches
  // of the way, without the first, which pays for what is fetched and mapped once. n is in units of
  // `total`.
  class Trend {
   public:
    void add(double n, double seconds);
    double seconds_per_unit() const;  // now; 0: nothing is known yet
    // What is left to `all`; none while the costs so far say too little of it.
    std::optional<double> left(double all) const;

   private:
    struct Point {
      double n = 0, seconds = 0;
    };
    // cost(n) = mean + slope (n - at), and the standard errors of both.
    struct Fit {
      int stretches = 0;
      double mean = 0, at = 0, slope = 0, mean_error = 0, slope_error = 0;
    };
    Fit fit() const;
    std::vector<Point> points_{{}};
    int every_ = 1, skipped_ = 0;  // points that are kept
  };

  std::string label_, unit_, detail_;
  // first_, last_: the first count, and the last that was another
  Clock::time_point began_{}, first_{}, last_{};
  std::int64_t done_ = 0, total_ = 0, limit_ = 0;
  // The rate is measured from the first count on: what was cached cost no time
  std::int64_t first_done_ = 0;
  bool counted_ = false;
  Trend trend_;
};

}  // namespace lares::cli
