#include "daemon/utf8.h"

#include <cstdint>

namespace lares::daemon {
namespace {

using Byte = unsigned char;

// Length of the code point a lead byte announces; 0 for a byte that cannot lead (Unicode table
// 3-7).
std::size_t announced(Byte lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// Whether `b` may stand at position i (from 1) after `lead`.
bool continues(Byte lead, std::size_t i, Byte b) {
  if (i == 1) {
    if (lead == 0xE0) return b >= 0xA0 && b <= 0xBF;  // no overlong forms
    if (lead == 0xED) return b >= 0x80 && b <= 0x9F;  // no surrogates
    if (lead == 0xF0) return b >= 0x90 && b <= 0xBF;
    if (lead == 0xF4) return b >= 0x80 && b <= 0x8F;  // nothing above U+10FFFF
  }
  return b >= 0x80 && b <= 0xBF;
}

// How many bytes from the start belong together: a whole code point, or as much of one as is there.
std::size_t matched(std::string_view s, std::size_t length) {
  std::size_t i = 1;
  while (i < length && i < s.size() &&
         continues(static_cast<Byte>(s[0]), i, static_cast<Byte>(s[i])))
    ++i;
  return i;
}

}  // namespace

// Unlike tools::to_utf8, which has one U+FFFD for a broken character and all continuation bytes
// behind it: here what has come cannot depend on what comes, for answers come in pieces.
std::string valid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const std::size_t length = announced(static_cast<Byte>(bytes[0]));
    const std::size_t n = length == 0 ? 1 : matched(bytes, length);
    if (length != 0 && n == length) {
      out += bytes.substr(0, n);
    } else {
      out += "\xEF\xBF\xBD";
    }
    bytes.remove_prefix(n);
  }
  return out;
}

std::size_t incomplete_tail(std::string_view bytes) {
  for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const std::string_view tail = bytes.substr(bytes.size() - back);
    const std::size_t length = announced(static_cast<Byte>(tail[0]));
    if (length > back && matched(tail, length) == back) return back;
  }
  return 0;
}

std::string_view utf8_prefix(std::string_view text, std::size_t n_max) {
  if (text.size() <= n_max) return text;
  text = text.substr(0, n_max);
  return text.substr(0, text.size() - incomplete_tail(text));
}

}  // namespace lares::daemon
