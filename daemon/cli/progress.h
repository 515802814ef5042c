// The status line's text: what is being waited for, how far it is, how fast, and how long it may
// still take.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

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

 private:
  // Seconds as a function of what was counted, a n + b n^2 with a, b >= 0: a token costs the more
  // to read the more stand before it. Least squares; n is in units of `total`, so the sums stay
  // small.
  class Trend {
   public:
    void add(double n, double seconds);
    double seconds(double n) const;           // 0: nothing is known yet
    double seconds_per_unit(double n) const;  // at n

   private:
    struct Fit {
      double a = 0, b = 0;
    };
    Fit fit() const;
    int points_ = 0;
    double n2_ = 0, n3_ = 0, n4_ = 0, nt_ = 0, n2t_ = 0;
  };

  std::string label_, unit_, detail_;
  Clock::time_point began_{}, first_{}, last_{};  // first_, last_: the first count, and the last
                                                  // that was another
  std::int64_t done_ = 0, total_ = 0, limit_ = 0;
  std::int64_t first_done_ = 0;  // the rate is measured from the first count on: what was cached
                                 // cost no time
  bool counted_ = false;
  Trend trend_;
};

}  // namespace lares::cli
