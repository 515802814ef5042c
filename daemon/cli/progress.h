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
  std::string label_, unit_, detail_;
  Clock::time_point began_{}, first_{};
  std::int64_t done_ = 0, total_ = 0, limit_ = 0;
  std::int64_t first_done_ =
      0;  // the rate is measured from the first count on: what was cached cost no time
  bool counted_ = false;
};

}  // namespace lares::cli
