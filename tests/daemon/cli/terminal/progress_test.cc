// The status line's figures, at times that the test makes up.
#include "daemon/cli/terminal/progress.h"

#include <cmath>
#include <cstdio>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lares::cli {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

const Progress::Clock::time_point kBegin{};

Progress::Clock::time_point at(double seconds) {
  return kBegin + std::chrono::duration_cast<Progress::Clock::duration>(
                      std::chrono::duration<double>(seconds));
}

// Reading with a cost of a + 2 b n at token n, told every 100 tokens up to `done`.
Progress reading(double a, double b, int done, int total) {
  Progress p;
  p.begin("reading", kBegin);
  for (int n = 0; n <= done; n += 100) p.count(n, total, "tokens", at(a * n + b * n * n));
  return p;
}

TEST(Progress, TimeLeftFollowsTheGrowthOfTheCostPerToken) {
  // 10000 tokens in 110 s, the first 2000 of them in 6 s: at the rate until then the rest would
  // take 24 s.
  const double a = 1e-3, b = 1e-6;
  const auto seconds = [&](double n) { return a * n + b * n * n; };
  const double now = seconds(2000);
  const std::string line = reading(a, b, 2000, 10000).text(at(now), false);
  EXPECT_THAT(line, EndsWith(" - 1m44s left"));  // 110 - 6
  EXPECT_THAT(line, HasSubstr(" - 200/s - "));   // 1 / (a + 2 b n), the rate of now
}

TEST(Progress, TimeLeftOfASteadyRateIsTheRestAtThatRate) {
  EXPECT_THAT(reading(0.01, 0, 2000, 10000).text(at(20), false), EndsWith(" - 1m20s left"));
}

TEST(Progress, ARateThatGrowsPromisesNoMoreThanItsAverage) {
  Progress p;
  p.begin("reading", kBegin);
  for (int n = 0; n <= 2000; n += 100) p.count(n, 10000, "tokens", at(std::sqrt(n)));
  const std::string line = p.text(at(std::sqrt(2000)), false);
  EXPECT_THAT(line, HasSubstr("m"));  // minutes: nothing negative, nothing that rushes to zero
}

TEST(Progress, NoTimeIsLeftBeforeThePointsSaySo) {
  // A start of 4 s for what is fetched once, then 10 ms a token, a third more or less each time.
  Progress p;
  p.begin("reading", kBegin);
  double t = 0;
  for (int i = 0; i <= 1000; ++i) {
    p.count(i * 100, 100000, "tokens", at(t));
    const std::string line = p.text(at(t), false);
    const double told_at = t;
    t += i == 0 ? 4 : i % 3 == 0 ? 0.7 : i % 3 == 1 ? 1.0 : 1.3;
    const double left = 1.0 * (1000 - i);
    if (told_at < 3) {
      EXPECT_THAT(line, Not(HasSubstr("left"))) << i;
    }
    if (i > 0 && i < 990) {
      const auto end = line.find(" left");
      ASSERT_TRUE(i < 60 || end != std::string::npos) << i << ": " << line;
      if (end == std::string::npos) continue;
      const auto begin = line.rfind("- ", end) + 2;
      int minutes = 0, seconds = 0;
      if (std::sscanf(line.c_str() + begin, "%dm%ds", &minutes, &seconds) < 1 ||
          line.find('m', begin) > end)
        minutes = 0, std::sscanf(line.c_str() + begin, "%d", &seconds);
      EXPECT_NEAR(60 * minutes + seconds, left, 0.5 * left + 2) << i << ": " << line;
    }
  }
}

TEST(Progress, BetweenCountsOnlySecondsChangeTheLine) {
  Progress p;
  p.begin("writing a call of outline", kBegin);
  for (int n = 0; n <= 700; n += 7) p.count(n, 0, "tokens", at(n * 0.02));
  const std::string line = p.text(at(14.0), false);
  EXPECT_EQ(line, "writing a call of outline 700 tokens - 50/s - 14s");
  EXPECT_EQ(p.text(at(14.3), false), line);
  EXPECT_EQ(p.text(at(20.0), false), "writing a call of outline 700 tokens - 50/s - 20s");
}

TEST(Progress, AReadingThatBeganAgainIsMeasuredAnew) {
  Progress p = reading(0.01, 1e-5, 2000, 10000);
  for (int n = 0; n <= 1000; n += 100) p.count(n, 2000, "tokens", at(100 + 0.01 * n));
  EXPECT_THAT(p.text(at(110), false), EndsWith(" - 10s left"));
}

}  // namespace
}  // namespace lares::cli
