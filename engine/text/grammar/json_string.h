// Inside a JSON string, byte by byte: escapes and exact UTF-8 (no overlong forms, no surrogates,
// escaped or not).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lares::engine {

enum class StringAt : std::uint8_t {
  text,
  escape,
  hex1,
  hex2,
  hex3,
  hex4,  // after \\ and \\u
  tail1,
  tail2,
  tail3,  // so many continuation bytes are due
  after_e0,
  after_ed,
  after_f0,
  after_f4,  // the next byte has a range of its own
  closed,
  broken
};
// In which a string goes on
inline constexpr std::size_t kStringStates = std::size_t(StringAt::closed);

inline constexpr std::string_view kEscapes = "\"\\/bfnrt";  // of one character
// The byte that one of them stands for.
constexpr std::uint8_t unescaped(std::uint8_t b) {
  switch (b) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return b;
  }
}

constexpr bool json_digit(std::uint8_t b) { return b >= '0' && b <= '9'; }

constexpr StringAt string_step(StringAt at, std::uint8_t b) {
  const auto in = [b](int low, int high, StringAt then) {
    return b >= low && b <= high ? then : StringAt::broken;
  };
  const bool hex = json_digit(b) || (b >= 'a' && b <= 'f') || (b >= 'A' && b <= 'F');
  switch (at) {
    case StringAt::text:
      if (b == '"') return StringAt::closed;
      if (b == '\\') return StringAt::escape;
      if (b < 0x80) return b < 0x20 ? StringAt::broken : StringAt::text;
      if (b == 0xE0) return StringAt::after_e0;
      if (b == 0xED) return StringAt::after_ed;
      if (b == 0xF0) return StringAt::after_f0;
      if (b == 0xF4) return StringAt::after_f4;
      if (b >= 0xC2 && b < 0xE0) return StringAt::tail1;
      if (b > 0xE0 && b < 0xF0) return StringAt::tail2;
      return in(0xF1, 0xF3, StringAt::tail3);
    case StringAt::escape:
      if (b == 'u') return StringAt::hex1;
      return kEscapes.find(char(b)) != std::string_view::npos ? StringAt::text : StringAt::broken;
    case StringAt::hex1:  // none of \\uDxxx: half a surrogate pair is no text
      return hex && b != 'd' && b != 'D' ? StringAt::hex2 : StringAt::broken;
    case StringAt::hex2:
      return hex ? StringAt::hex3 : StringAt::broken;
    case StringAt::hex3:
      return hex ? StringAt::hex4 : StringAt::broken;
    case StringAt::hex4:
      return hex ? StringAt::text : StringAt::broken;
    case StringAt::tail1:
      return in(0x80, 0xBF, StringAt::text);
    case StringAt::tail2:
      return in(0x80, 0xBF, StringAt::tail1);
    case StringAt::tail3:
      return in(0x80, 0xBF, StringAt::tail2);
    case StringAt::after_e0:
      return in(0xA0, 0xBF, StringAt::tail1);
    case StringAt::after_ed:
      return in(0x80, 0x9F, StringAt::tail1);
    case StringAt::after_f0:
      return in(0x90, 0xBF, StringAt::tail2);
    case StringAt::after_f4:
      return in(0x80, 0x8F, StringAt::tail2);
    case StringAt::closed:
    case StringAt::broken:
      break;
  }
  return StringAt::broken;
}

}  // namespace lares::engine
