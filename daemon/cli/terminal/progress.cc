#include "daemon/cli/terminal/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr double kRateAfterSeconds = 0.5;  // before that a rate is noise
constexpr std::size_t kPointsMax = 256, kStretches = 8;
// Of seven costs a third apart, 2 promised thrice the time by chance
constexpr double kSlopeErrors = 4;
constexpr double kLeftAfterSeconds = 3;    // a wait that is nearly over needs no estimate
constexpr double kLeftErrorMax = 0.5;      // of itself: what is less sure is no help ...
constexpr double kLeftAnywaySeconds = 60;  // ... but after a minute one wants to know: minutes,
                                           // hours?

double seconds(Progress::Clock::duration d) { return std::chrono::duration<double>(d).count(); }

std::string rate_text(double rate) {
  return rate < 10 ? fmt::format("{:.1f}/s", rate)
                   : fmt::format("{}/s", grouped(static_cast<long long>(rate + 0.5)));
}

double share(std::int64_t n, std::int64_t total) {
  return static_cast<double>(n) / static_cast<double>(total);
}

}  // namespace

void Progress::Trend::add(double n, double seconds) {
  if (++skipped_ < every_) {
    if (points_.size() > 1 && every_ > 1) points_.back() = {n, seconds};
    return;
  }
  skipped_ = 0;
  points_.push_back({n, seconds});
  if (points_.size() <= kPointsMax) return;
  for (std::size_t i = 1; 2 * i < points_.size(); ++i) points_[i] = points_[2 * i];
  points_.resize((points_.size() + 1) / 2);
  every_ *= 2;
}

// Of costs, not of times: the times of a sum are not independent of each other.
Progress::Trend::Fit Progress::Trend::fit() const {
  const std::size_t n_steps = points_.size() - 1, n_groups = std::min(n_steps, kStretches);
  std::vector<Point> costs;  // n: the middle of the stretch
  for (std::size_t g = n_groups > 1 ? 1 : 0; g < n_groups; ++g) {
    const Point &from = points_[g * n_steps / n_groups],
                &to = points_[(g + 1) * n_steps / n_groups];
    costs.push_back({(from.n + to.n) / 2, (to.seconds - from.seconds) / (to.n - from.n)});
  }
  Fit f{.stretches = static_cast<int>(costs.size())};
  if (costs.empty()) return f;
  const auto n = static_cast<double>(costs.size());
  for (const Point& c : costs) f.at += c.n / n, f.mean += c.seconds / n;
  double nn = 0, nc = 0, rest = 0;
  for (const Point& c : costs)
    nn += (c.n - f.at) * (c.n - f.at), nc += (c.n - f.at) * (c.seconds - f.mean);
  if (costs.size() > 2) f.slope = nc / nn;
  for (const Point& c : costs) {
    const double r = c.seconds - f.mean - f.slope * (c.n - f.at);
    rest += r * r;
  }
  if (costs.size() > 2) {
    f.mean_error = std::sqrt(rest / (n - 2) / n);
    f.slope_error = std::sqrt(rest / (n - 2) / nn);
  }
  // One that cannot be told from none, or that would promise a standstill of the clock.
  if (f.slope < kSlopeErrors * f.slope_error) f.slope = 0;
  return f;
}

double Progress::Trend::seconds_per_unit() const {
  const Fit f = fit();
  return f.stretches == 0 ? 0 : f.mean + f.slope * (points_.back().n - f.at);
}

std::optional<double> Progress::Trend::left(double all) const {
  const Fit f = fit();
  const Point& last = points_.back();
  if (last.seconds < kLeftAfterSeconds || f.stretches == 0) return std::nullopt;
  const double ahead = (last.n + all) / 2 - f.at;  // the middle of what is left, from what is known
  const double cost = f.mean + f.slope * ahead;
  const double error = std::hypot(f.mean_error, f.slope_error * ahead);
  if (last.seconds < kLeftAnywaySeconds && (f.stretches < 3 || error > kLeftErrorMax * cost))
    return std::nullopt;
  return cost * (all - last.n);
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
  double rate = measured ? static_cast<double>(done_ - first_done_) / counting : 0;
  std::optional<double> left;
  if (measured && total_ > 0) {
    if (const double cost = trend_.seconds_per_unit(); cost > 0)
      rate = static_cast<double>(total_) / cost;
    left = trend_.left(share(total_ - first_done_, total_));
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
  if (left && total_ > done_) {
    out += fmt::format("{}{} left", dot,
                       duration(std::max(1.0, std::round(*left - seconds(now - last_)))));
  } else if (rate > 0 && total_ == 0 && limit_ > done_) {
    out += fmt::format("{}at most {} more", dot,
                       duration(static_cast<double>(limit_ - done_) / rate));
  }
  if (!detail_.empty()) out += dot + detail_;
  return out;
}

}  // namespace lares::cli
