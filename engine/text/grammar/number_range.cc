#include "engine/text/grammar/number_range.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

namespace lares::engine {
namespace {

using Wide = WideInteger;

static_assert(2 * kNumberDigitsMax <= 38);  // of 128 bits
constexpr std::array<Wide, 2 * kNumberDigitsMax + 1> kPowers = [] {
  std::array<Wide, 2 * kNumberDigitsMax + 1> out{1};
  for (std::size_t n = 1; n < out.size(); ++n) out[n] = out[n - 1] * 10;
  return out;
}();
Wide power(int n) { return kPowers[std::size_t(n)]; }

Wide floor_div(Wide a, Wide b) { return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0); }

// The least c with c / 10^places at or above the bound, behind it where it is open.
Wide least(const Decimal& bound, bool open, int places) {
  if (places >= bound.places) return Wide(bound.n) * power(places - bound.places) + (open ? 1 : 0);
  const Wide unit = power(bound.places - places), down = floor_div(bound.n, unit);
  return down * unit == bound.n && !open ? down : down + 1;
}
Wide greatest(const Decimal& bound, bool open, int places) {
  return -least({-bound.n, bound.places}, open, places);
}

}  // namespace

bool operator<(const Decimal& a, const Decimal& b) {
  const int places = std::max(a.places, b.places);
  return a.n * power(places - a.places) < b.n * power(places - b.places);
}

// What `begun` can become with so many more digits, in units of the last of them, is one stretch;
// how much of it is in the range?
NumberRange::Holds NumberRange::holds_of(const NumberPrefix& begun, int n_whole,
                                         int n_fraction) const {
  const Wide unit = power(n_whole + n_fraction);
  const int places = begun.n_fraction + n_fraction;
  Wide from = Wide(begun.digits) * unit, to = from + unit - 1;
  if (begun.negative) {
    const Wide swap = -from;
    from = -to;
    to = swap;
  }
  const Wide begin = from, end = to;
  if (low) from = std::max(from, least(*low, low_open, places));
  if (high) to = std::min(to, greatest(*high, high_open, places));
  if (from > to) return Holds::nothing;
  const bool cut = from != begin || to != end;
  if (step > 1) {                           // and so `whole`
    from = -floor_div(-from, step) * step;  // up to the next multiple
    if (from > to) return Holds::nothing;
  }
  return cut ? Holds::some : Holds::all;
}

// With n more digits before the point it is too far from zero, and with more farther still.
bool NumberRange::beyond(const NumberPrefix& begun, int n) const {
  const Wide from = Wide(begun.digits) * power(n);
  return begun.n_fraction == 0 &&
         (begun.negative ? low && -from < least(*low, low_open, 0) - 1
                         : high && from > greatest(*high, high_open, 0) + 1);
}

bool NumberRange::holds(const NumberPrefix& number) const {
  return holds_of(number, 0, 0) != Holds::nothing;
}

bool NumberRange::reachable(const NumberPrefix& begun, bool more_whole, bool fraction) const {
  const int left = kNumberDigitsMax - begun.n_digits;
  if (fraction) return holds_of(begun, 0, left) != Holds::nothing;
  for (int n = 0; n <= (more_whole ? left : 0) && !beyond(begun, n); ++n) {
    if (holds_of(begun, n, whole ? 0 : left - n) != Holds::nothing) return true;
  }
  return false;
}

DigitRoom NumberRange::room(const NumberPrefix& begun, bool fraction) const {
  const int left = kNumberDigitsMax - begun.n_digits;
  DigitRoom out;
  if (fraction) {
    const Holds held = holds_of(begun, 0, left);
    return {held == Holds::all ? left : 0, held == Holds::nothing ? 0 : left};
  }
  // Of n more digits the first k are free where any that follow them reach a multiple: the blocks
  // that they divide the stretch into are as long as the step.
  int n_step = 0;
  while (power(n_step) < step) ++n_step;
  for (int n = 1; n <= left && !beyond(begun, n); ++n) {
    const Holds held = holds_of(begun, n, whole ? 0 : left - n);
    if (held != Holds::nothing) out.some = n;
    if (held == Holds::all) out.all = std::max(out.all, n - n_step);
  }
  return out;
}

bool NumberRange::empty() const {
  for (const bool negative : {false, true}) {
    for (std::uint64_t digit = 0; digit < 10; ++digit) {
      if (reachable({negative, digit, 1, 0}, digit != 0, false)) return false;
    }
  }
  return true;
}

std::optional<Decimal> decimal_of(const nlohmann::ordered_json& number) {
  const std::string text = number.dump();  // the shortest that reads back as the same
  Decimal out;
  int n_digits = 0, exponent = 0;
  bool fraction = false;
  for (std::size_t i = text[0] == '-' ? 1 : 0; i < text.size(); ++i) {
    if (text[i] == '.') {
      fraction = true;
    } else if (text[i] == 'e') {
      const char* from = text.data() + i + 1;
      if (*from == '+') ++from;
      std::from_chars(from, text.data() + text.size(), exponent);
      break;
    } else if (n_digits > 0 || text[i] != '0' || fraction) {
      if (text[i] != '0' || n_digits > 0) ++n_digits;
      if (n_digits > 2 * kNumberDigitsMax) return std::nullopt;
      out.n = out.n * 10 + (text[i] - '0');
      out.places += fraction ? 1 : 0;
    }
  }
  out.places -= exponent;
  for (; out.n != 0 && out.n % 10 == 0 && out.places > 0; --out.places) out.n /= 10;
  if (out.n == 0) return Decimal{};
  const Wide beyond = power(kNumberDigitsMax);
  for (; out.places < 0 && out.n < beyond; ++out.places) out.n *= 10;
  if (out.places < 0 || out.places > kNumberDigitsMax || out.n >= beyond) return std::nullopt;
  if (text[0] == '-') out.n = -out.n;
  return out;
}

}  // namespace lares::engine
