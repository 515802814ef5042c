// Accepts JSON values byte by byte: enough to keep a model's output valid, with copies cheap enough to try a token on.
#pragma once

#include <cstdint>
#include <string_view>
#include <string>

namespace lares::engine {

enum class JsonKind : std::uint8_t { any, integer, number, boolean, array, object };

class JsonAutomaton {
 public:
  explicit JsonAutomaton(JsonKind kind = JsonKind::any) : kind_(kind) {}
  // False: `byte` cannot come next; the automaton is then spent.
  bool accept(std::uint8_t byte);
  // What was accepted is a whole value (a number may still go on).
  bool complete() const;
  // Two automata with the same key accept the same continuations.
  std::string key() const;

 private:
  enum class At : std::uint8_t {
    value, first_item, key, first_key, colon, after_item, string, escape, unicode1, unicode2, unicode3, unicode4,
    minus, zero, digits, point, fraction, exponent, exponent_sign, exponent_digits, literal, done
  };
  static constexpr std::size_t kDepthMax = 32;
  static constexpr std::uint8_t kDigitsMax = 15, kExponentDigitsMax = 2;  // so that every reader can hold the number

  bool begin_value(std::uint8_t byte);
  void end_value();
  bool after_number(std::uint8_t byte);
  bool in_number_end() const;

  JsonKind kind_;
  At at_ = At::value;
  bool key_string_ = false;      // the string under way is a key
  std::uint8_t utf8_left_ = 0;   // continuation bytes still due inside a string
  std::uint8_t n_digits_ = 0;    // of the number under way: integer and fraction, then exponent
  const char* literal_ = "";     // what is left of true, false or null
  std::string stack_;            // '[' and '{' that are open
};

}  // namespace lares::engine
