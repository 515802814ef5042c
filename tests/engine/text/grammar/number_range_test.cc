// What a number has room for is what trying every digit on says.
#include "engine/text/grammar/number_range.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

namespace lares::engine {
namespace {

// Of the ways to go on with n digits, how many are or can become one of the range.
int n_reachable(const NumberRange& range, const NumberPrefix& begun, bool fraction, int n) {
  if (n == 0) return range.reachable(begun, !fraction, fraction) ? 1 : 0;
  int out = 0;
  for (std::uint64_t digit = 0; digit < 10; ++digit) {
    out += n_reachable(range,
                       {begun.negative, begun.digits * 10 + digit, begun.n_digits + 1,
                        begun.n_fraction + (fraction ? 1 : 0)},
                       fraction, n - 1);
  }
  return out;
}

TEST(NumberRange, RoomIsWhatTryingEveryDigitSays) {
  std::mt19937_64 random(4);
  int n_all = 0, n_none = 0;
  for (int n = 0; n < 4000; ++n) {
    NumberRange range{.whole = random() % 2 == 0};
    const auto bound = [&] {
      std::int64_t size = 1;
      for (std::size_t digits = random() % 19; digits-- > 0;) size *= 10;
      return Decimal{WideInteger(random() % std::uint64_t(2 * size + 1)) - size,
                     range.whole ? 0 : int(random() % 20)};
    };
    if (random() % 3) range.low = bound();
    if (random() % 3) range.high = bound();
    range.low_open = random() % 2, range.high_open = random() % 2;
    if (range.whole && random() % 2) range.step = 1 + std::int64_t(random() % 130);
    if (!range.bounded()) continue;
    NumberPrefix begun{.negative = random() % 3 == 0, .digits = 1 + random() % 9, .n_digits = 1};
    for (std::size_t more = random() % 17; more-- > 0;)
      begun.digits = begun.digits * 10 + random() % 10, ++begun.n_digits;
    const bool fraction = !range.whole && random() % 2;
    if (fraction) begun.n_fraction = int(random() % std::uint64_t(begun.n_digits));
    const DigitRoom room = range.room(begun, fraction);
    int combinations = 1;
    for (int digits = 1; digits <= 2 && digits <= kNumberDigitsMax - begun.n_digits; ++digits) {
      combinations *= 10;
      const int reached = n_reachable(range, begun, fraction, digits);
      ASSERT_TRUE(digits > room.all || reached == combinations) << n;
      ASSERT_TRUE(digits <= room.some || reached == 0) << n;
      n_all += reached == combinations && digits <= room.all ? 1 : 0;
      n_none += reached == 0 && digits > room.some ? 1 : 0;
    }
  }
  EXPECT_GT(n_all, 200);
  EXPECT_GT(n_none, 200);
}

}  // namespace
}  // namespace lares::engine
