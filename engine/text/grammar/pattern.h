// A regular expression as a table that is walked byte by byte: whether a text matches, and at every
// byte whether it still can. A text is UTF-8 without the control characters that JSON has no short
// escape for.
//
// Understood: literals, ".", classes, \d \w \s and their opposites, escapes of characters, groups,
// "|", and the quantifiers; "^" and "$" at the ends of the whole or of one of its alternatives
// (without them anything may stand there). Refused: look-around, back references, \b, \p, flags:
// what the table cannot hold.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace lares::engine {

inline constexpr std::size_t kPatternBytesMax = 4096;    // of the expression
inline constexpr std::size_t kPatternPartsMax = 50'000;  // after repeats are written out
// The same, of the groups that hold them too: some ten milliseconds
inline constexpr std::size_t kPatternPiecesMax = 1'000'000;
inline constexpr std::size_t kPatternStatesMax = 4096;  // of its table
// Parts looked at for it: a tenth of a second
inline constexpr std::size_t kPatternStepsMax = 4'000'000;
inline constexpr int kPatternRepeatMax = 1000;  // {n}
inline constexpr int kPatternDepthMax = 32;     // groups in groups

class Pattern {
 public:
  using State = std::uint16_t;
  static constexpr State kDead = 0, kStart = 1;

  // Else why not. `steps_left`: parts it may look at, less those it looked at.
  static tl::expected<Pattern, std::string> compile(std::string_view expression,
                                                    std::size_t& steps_left);
  static tl::expected<Pattern, std::string> compile(std::string_view expression) {
    std::size_t steps_left = kPatternStepsMax;
    return compile(expression, steps_left);
  }

  State step(State state, std::uint8_t byte) const {
    return table_[std::size_t(state) * n_classes_ + class_of_[byte]];
  }
  std::uint8_t column(std::uint8_t byte) const {
    return class_of_[byte];
  }  // bytes of one column are the same to it
  State step_column(State state, std::uint8_t column) const {
    return table_[std::size_t(state) * n_classes_ + column];
  }
  bool operator==(const Pattern&) const = default;
  bool accepts(State state) const { return accepts_[state] != 0; }
  std::size_t n_states() const { return accepts_.size(); }

 private:
  friend class PatternTable;
  std::size_t n_classes_ = 1;
  std::array<std::uint8_t, 256> class_of_{};  // bytes that no part tells apart share a column
  // [n_states, n_classes]; from every state but kDead an accepting one can be reached
  std::vector<State> table_;
  std::vector<std::uint8_t> accepts_;
};

// What JSON Schema's "format" says of a text, as an expression; empty: no such format.
std::string_view expression_of_format(std::string_view format);

}  // namespace lares::engine
