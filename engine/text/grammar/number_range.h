// Which decimal numbers a schema allows, and whether one that is being written can still become one
// of them. Exact: a number is its digits, never a float.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace lares::engine {

// Of one within bounds: as many as integers of 64 bits have, which ids and times use up.
inline constexpr int kNumberDigitsMax = 19;
// Of another. Before the point, of what has none, as many as integers of 256 bits have: one that is
// forbidden its next digit is another number, and nobody is told.
inline constexpr int kFreeNumberDigitsMax = 19, kFreeWholeDigitsMax = 80;
inline constexpr int kExponentDigitsMax = 3;  // of doubles

// Two times kNumberDigitsMax digits: of a number that is moved by so many places.
__extension__ typedef __int128 WideInteger;

// n / 10^places, n of at most kNumberDigitsMax digits and so many places
struct Decimal {
  WideInteger n = 0;
  int places = 0;

  friend bool operator<(const Decimal& a, const Decimal& b);
};

// A number as far as it is written, without an exponent: "-0.25" is {true, 25, 3, 2}.
struct NumberPrefix {
  bool negative = false;
  std::uint64_t digits = 0;  // all of them, the point left out
  int n_digits = 0;          // of at most kNumberDigitsMax
  int n_fraction = 0;        // of them behind the point
};

// How many digits more: with any of up to `all`, and with some of up to `some`, a number is or can
// still become one of the range.
struct DigitRoom {
  int all = 0, some = 0;
};

struct NumberRange {
  bool whole = false;  // no point, no exponent
  std::optional<Decimal> low, high;
  bool low_open = false, high_open = false;  // the bound itself is outside
  WideInteger step = 0;                      // a multiple of this; 0: any. With `whole` alone

  bool bounded() const { return low || high || step > 0; }
  int digits_max() const { return bounded() ? kNumberDigitsMax : kFreeNumberDigitsMax; }
  int whole_digits_max() const { return bounded() ? kNumberDigitsMax : kFreeWholeDigitsMax; }
  bool holds(const NumberPrefix& number) const;
  // Some number that begins like this is in the range. `more_whole`: other digits may come before a
  // point; `fraction`: the point is there.
  bool reachable(const NumberPrefix& begun, bool more_whole, bool fraction) const;
  // Digits alone, before the point, or behind it where it is there.
  DigitRoom room(const NumberPrefix& begun, bool fraction) const;
  bool empty() const;

 private:
  enum class Holds { nothing, some, all };
  bool beyond(const NumberPrefix& begun, int n) const;
  Holds holds_of(const NumberPrefix& begun, int n_whole, int n_fraction) const;
};

// A JSON number as it is written. Nullopt: it has more than kNumberDigitsMax digits, before or
// behind the point.
std::optional<Decimal> decimal_of(const nlohmann::ordered_json& number);

}  // namespace lares::engine
