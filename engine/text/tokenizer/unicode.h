// What a code point is, as far as a tokenizer's split patterns ask: letter, mark, number,
// punctuation, symbol, white space.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace lares::engine {

enum CharClass : std::uint8_t {
  kLetter = 1,       // \p{L}
  kMark = 2,         // \p{M}
  kNumber = 4,       // \p{N}
  kPunctuation = 8,  // \p{P}
  kSymbol = 16,      // \p{S}
  kSpace = 32,       // White_Space
  kKana = 64,        // the official pattern's own CJK range: U+4E00-U+9FA5, U+3040-U+30FF
};

// Two-stage table over all code points. It is derived from PCRE2's Unicode data when first asked
// for, so no table of our own can be out of step with the library that runs the other patterns.
class CharTable {
 public:
  static const CharTable& instance();
  // `c` below 0x110000.
  std::uint8_t operator[](char32_t c) const { return blocks_[index_[c >> 8] * 256u + (c & 255u)]; }
  std::uint8_t ascii(unsigned char c) const { return ascii_[c]; }  // c < 0x80

 private:
  CharTable();
  std::array<std::uint16_t, 0x1100> index_{};  // block of 256 code points -> row of blocks_
  std::vector<std::uint8_t> blocks_;
  std::array<std::uint8_t, 128> ascii_{};
};

// The code point at `p` in valid UTF-8, and its length in bytes.
struct CodePoint {
  char32_t value;
  int length;
};
inline CodePoint code_point(const char* p) {
  const auto* u = reinterpret_cast<const unsigned char*>(p);
  if (u[0] < 0x80) return {u[0], 1};
  if (u[0] < 0xE0) return {char32_t((u[0] & 31u) << 6 | (u[1] & 63u)), 2};
  if (u[0] < 0xF0) return {char32_t((u[0] & 15u) << 12 | (u[1] & 63u) << 6 | (u[2] & 63u)), 3};
  return {char32_t((u[0] & 7u) << 18 | (u[1] & 63u) << 12 | (u[2] & 63u) << 6 | (u[3] & 63u)), 4};
}

// Length of the valid UTF-8 sequence that starts `text` (no overlong forms, no surrogates), 0 when
// there is none.
int utf8_sequence(std::string_view text);
// Bytes of `text` up to the first that is not valid UTF-8.
std::size_t valid_utf8_prefix(std::string_view text);

}  // namespace lares::engine
