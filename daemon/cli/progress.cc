#include "daemon/cli/progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/cli/text.h"

namespace lares::cli {
namespace {

constexpr double kRateAfterSeconds = 0.5;  // before that a rate is noise

double seconds(Progress::Clock::duration d) { return std::chrono::duration<double>(d).count(); }

std::string rate_text(double rate) {
  return rate < 10 ? fmt::format("{:.1f}/s", rate)
                   : fmt::format("{}/s", grouped(static_cast<long long>(rate + 0.5)));
}

}  // namespace

void Progress::begin(std::string_view label, Clock::time_point now) {
  if (label == label_) return;
  *this = Progress();
  label_ = label;
  began_ = now;
}

void Progress::count(std::int64_t done, std::int64_t total, std::string_view unit,
                     Clock::time_point now) {
  if (!counted_ || done < done_) {  // the first, or it began again
    counted_ = true;
    first_ = now;
    first_done_ = done;
  }
  done_ = done;
  total_ = total;
  unit_ = unit;
}

std::string Progress::text(Clock::time_point now, bool utf8) const {
  if (label_.empty()) return "";
  const std::string dot = utf8 ? " · " : " - ";
  std::string out = label_;
  const double elapsed = seconds(now - began_), counting = counted_ ? seconds(now - first_) : 0;
  const double rate =
      counting >= kRateAfterSeconds ? static_cast<double>(done_ - first_done_) / counting : 0;
  if (counted_ && total_ > 0) {
    const std::int64_t percent = std::clamp<std::int64_t>(done_ * 100 / total_, 0, 100);
    out += fmt::format(" {}%", percent);
    if (!unit_.empty())
      out += fmt::format("{}{}/{} {}", dot, grouped(done_), grouped(total_), unit_);
  } else if (counted_ && !unit_.empty()) {
    out += fmt::format(" {} {}", grouped(done_), unit_);
  }
  if (rate > 0 && !unit_.empty()) out += dot + rate_text(rate);
  out += dot + (elapsed < 10 ? fmt::format("{}s", static_cast<int>(elapsed)) : duration(elapsed));
  if (rate > 0 && total_ > done_) {
    out += fmt::format("{}{} left", dot,
                       duration(std::max(1.0, static_cast<double>(total_ - done_) / rate)));
  } else if (rate > 0 && total_ == 0 && limit_ > done_) {
    out +=
        fmt::format("{}at most {} more", dot, duration(static_cast<double>(limit_ - done_) / rate));
  }
  if (!detail_.empty()) out += dot + detail_;
  return out;
}

}  // namespace lares::cli
