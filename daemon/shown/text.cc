#include "daemon/shown/text.h"

#include <fmt/format.h>
#include <locale.h>

#include <algorithm>
#include <cstdint>
#include <cwchar>
#include <iterator>
#include <utility>

#include "tools/text.h"

namespace lares::shown {
namespace {

// The length of the escape sequence at the start of `s`, which starts with ESC: CSI ... final,
// OSC/DCS/PM/APC/SOS up to BEL or ST, or ESC and its intermediates and one final byte. A sequence
// that never ends takes the line it is on.
std::size_t escape_length(std::string_view s) {
  if (s.size() < 2) return 1;
  const char kind = s[1];
  if (kind == '[') {
    for (std::size_t i = 2; i < s.size(); ++i) {
      const auto c = static_cast<unsigned char>(s[i]);
      if (c >= 0x40 && c <= 0x7E) return i + 1;
      if (c < 0x20 || c > 0x7E) return i;
    }
    return s.size();
  }
  if (kind == ']' || kind == 'P' || kind == '^' || kind == '_' || kind == 'X') {
    for (std::size_t i = 2; i < s.size(); ++i) {
      if (s[i] == '\a') return i + 1;
      if (s[i] == '\x1b' && i + 1 < s.size() && s[i + 1] == '\\') return i + 2;
      if (s[i] == '\n') return i;
    }
    return s.size();
  }
  std::size_t i = 1;
  while (i < s.size() && s[i] >= 0x20 && s[i] <= 0x2F) ++i;
  return i < s.size() && s[i] >= 0x30 && s[i] <= 0x7E ? i + 1 : i;
}

// Bidirectional overrides and isolates: they make shown code differ from real code.
bool reorders(char32_t code) {
  return (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

// Nothing is seen of them, or they change how others are seen.
bool is_unseen(char32_t code) {
  constexpr std::pair<char32_t, char32_t> kUnseen[] = {
      {0xAD, 0xAD},     {0x34F, 0x34F},   {0x61C, 0x61C},   {0x115F, 0x1160},   {0x17B4, 0x17B5},
      {0x180B, 0x180F}, {0x200B, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F},   {0x3164, 0x3164},
      {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF9, 0xFFFB}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF}};
  return std::any_of(std::begin(kUnseen), std::end(kUnseen), [&](const auto& range) {
    return code >= range.first && code <= range.second;
  });
}

enum class Escapes { removed, shown };

}  // namespace

Character decode(std::string_view s) {
  const std::size_t n = tools::utf8_length(s, 0);
  if (n == 0) return {};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  char32_t code = n == 1 ? byte(0) : byte(0) & (0xFFu >> (n + 1));
  for (std::size_t i = 1; i < n; ++i) code = code << 6 | (byte(i) & 0x3F);
  return {code, n, true};
}

void append_utf8(std::string& out, char32_t code) {
  const auto byte = [&](char32_t b) { out += static_cast<char>(b); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0 | code >> 6), byte(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    byte(0xE0 | code >> 12), byte(0x80 | (code >> 6 & 0x3F)), byte(0x80 | (code & 0x3F));
  } else {
    byte(0xF0 | code >> 18), byte(0x80 | (code >> 12 & 0x3F)), byte(0x80 | (code >> 6 & 0x3F)),
        byte(0x80 | (code & 0x3F));
  }
}

// glibc's tables, by way of the C.UTF-8 locale it carries since 2.35: no table of our own to grow
// old. This thread's for the moment, and not the process's: others may be reading that one.
int character_columns(char32_t code) {
  if (code < 0x7F) return code < 0x20 ? 0 : 1;
  static const locale_t tables = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (!tables) return 1;
  const locale_t before = ::uselocale(tables);
  const int width = ::wcwidth(static_cast<wchar_t>(code));
  ::uselocale(before);
  return width < 0 ? 1 : width;  // unassigned or unprintable: terminals draw one cell
}

int columns(std::string_view utf8) {
  int width = 0;
  while (!utf8.empty()) {
    const Character c = decode(utf8);
    width += character_columns(c.code);
    utf8.remove_prefix(c.bytes);
  }
  return width;
}

std::size_t fitting_bytes(std::string_view utf8, int width) {
  std::size_t at = 0;
  while (at < utf8.size()) {
    const Character c = decode(utf8.substr(at));
    width -= character_columns(c.code);
    if (width < 0) break;
    at += c.bytes;
  }
  return at;
}

std::string clip(std::string_view utf8, int width, std::string_view ellipsis) {
  if (width <= 0) return {};
  if (columns(utf8) <= width) return std::string(utf8);
  const int room = width - columns(ellipsis);
  if (room <= 0) return std::string(utf8.substr(0, fitting_bytes(utf8, width)));
  return std::string(utf8.substr(0, fitting_bytes(utf8, room))).append(ellipsis);
}

namespace {

std::string safe(std::string_view text, Escapes escapes) {
  constexpr int kTabColumns = 4;
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    if (text.starts_with("\r\n")) {
      text.remove_prefix(1);
      continue;
    }
    if (text[0] == '\x1b' && escapes == Escapes::removed) {
      text.remove_prefix(escape_length(text));
      continue;
    }
    const Character c = decode(text);
    if (c.code == '\n') {
      out += '\n';
    } else if (c.code == '\t') {
      out.append(kTabColumns, ' ');
    } else if (c.code < 0x20) {
      append_utf8(out, 0x2400 + c.code);
    } else if (c.code == 0x7F) {
      append_utf8(out, 0x2421);
    } else if (c.valid && escapes == Escapes::shown && is_unseen(c.code)) {
      out += fmt::format("<U+{:04X}>", static_cast<std::uint32_t>(c.code));
    } else if (!c.valid || (c.code >= 0x80 && c.code < 0xA0) || reorders(c.code)) {
      out += "\xEF\xBF\xBD";
    } else {
      out.append(text.substr(0, c.bytes));
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return safe(text, Escapes::removed); }
std::string exact(std::string_view text) { return safe(text, Escapes::shown); }

std::string one_line(std::string_view text) {
  std::string out;
  bool space = false;
  for (const char c : printable(text)) {
    if (c == ' ' || c == '\n') {
      space = !out.empty();
      continue;
    }
    if (space) out += ' ';
    space = false;
    out += c;
  }
  return out;
}

std::string grouped(long long n) {
  std::string digits = std::to_string(n);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > (n < 0 ? 1 : 0); at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

std::string rough(long long n) {
  const auto value = static_cast<double>(n);
  if (n < 1000) return std::to_string(n);
  if (n < 9950) return fmt::format("{:.1f}k", value / 1e3);
  if (n < 999'500) return fmt::format("{:.0f}k", value / 1e3);
  return n < 9'950'000 ? fmt::format("{:.1f}M", value / 1e6) : fmt::format("{:.0f}M", value / 1e6);
}

std::string duration(double seconds) {
  if (seconds < 0) seconds = 0;
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
}

}  // namespace lares::shown
