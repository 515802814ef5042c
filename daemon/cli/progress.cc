#include "daemon/cli/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "daemon/cli/text.h"

namespace lares::cli {
namespace {

constexpr double kRateAfterSeconds = 0.5;  // before that a rate is noise
constexpr int kTrendPointsLeast = 4;       // and before that its growth is

double seconds(Progress::Clock::duration d) { return std::chrono::duration<double>(d).count(); }

std::string rate_text(double rate) {
  return rate < 10 ? fmt::format("{:.1f}/s", rate)
                   : fmt::format("{}/s", grouped(static_cast<long long>(rate + 0.5)));
}

double share(std::int64_t n, std::int64_t total) {
  return static_cast<double>(n) / static_cast<double>(total);
}

}  // namespace

void Progress::Trend::add(double n, double t) {
  ++points_;
  n2_ += n * n, n3_ += n * n * n, n4_ += n * n * n * n;
  nt_ += n * t, n2t_ += n * n * t;
}

Progress::Trend::Fit Progress::Trend::fit() const {
  if (n2_ <= 0) return {};
  const double det = n2_ * n4_ - n3_ * n3_;
  if (points_ >= kTrendPointsLeast && det > 1e-9 * n2_ * n4_) {  // else the points are nearly one
    const Fit both{(nt_ * n4_ - n2t_ * n3_) / det, (n2t_ * n2_ - nt_ * n3_) / det};
    if (both.a >= 0 && both.b >= 0) return both;
    if (both.a < 0) return {0, n2t_ / n4_};
  }
  return {nt_ / n2_, 0};
}

double Progress::Trend::seconds(double n) const {
  const Fit f = fit();
  return f.a * n + f.b * n * n;
}

double Progress::Trend::seconds_per_unit(double n) const {
  const Fit f = fit();
  return f.a + 2 * f.b * n;
}

void Progress::begin(std::string_view label, Clock::time_point now) {
  if (label == label_) return;
  *this = Progress();
  label_ = label;
  began_ = now;
}

void Progress::count(std::int64_t done, std::int64_t total, std::string_view unit,
                     Clock::time_point now) {
  if (!counted_ || done < done_ || total != total_) {  // the first, or it began again
    counted_ = true;
    first_ = last_ = now;
    first_done_ = done;
    trend_ = {};
  } else if (done > done_) {
    last_ = now;
    if (total > 0) trend_.add(share(done - first_done_, total), seconds(last_ - first_));
  }
  done_ = done;
  total_ = total;
  unit_ = unit;
}

std::string Progress::text(Clock::time_point now, bool utf8) const {
  if (label_.empty()) return "";
  const std::string dot = utf8 ? " · " : " - ";
  std::string out = label_;
  // Rates are as of the last count: between two of them nothing is known that could change the
  // line.
  const double elapsed = seconds(now - began_), counting = seconds(last_ - first_);
  const bool measured = counting >= kRateAfterSeconds;
  double rate = measured ? static_cast<double>(done_ - first_done_) / counting : 0, left = 0;
  if (measured && total_ > 0) {
    const double n = share(done_ - first_done_, total_), all = share(total_ - first_done_, total_);
    if (const double cost = trend_.seconds_per_unit(n); cost > 0)
      rate = static_cast<double>(total_) / cost;
    left = std::round(trend_.seconds(all) - trend_.seconds(n) - seconds(now - last_));
  }
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
    out += fmt::format("{}{} left", dot, duration(std::max(1.0, left)));
  } else if (rate > 0 && total_ == 0 && limit_ > done_) {
    out += fmt::format("{}at most {} more", dot,
                       duration(static_cast<double>(limit_ - done_) / rate));
  }
  if (!detail_.empty()) out += dot + detail_;
  return out;
}

}  // namespace lares::cli
