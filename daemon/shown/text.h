// Text for terminals: how wide it is, where to cut it, and what must never reach a terminal as it
// came.
#pragma once

#include <string>
#include <string_view>

namespace lares::shown {

struct Character {
  char32_t code = 0xFFFD;
  std::size_t bytes = 1;
  bool valid = false;
};

// The character at the start of `utf8`, which is not empty. Overlong forms, surrogates and cut
// sequences are invalid and take one byte, so the next call starts afresh behind it.
Character decode(std::string_view utf8);
void append_utf8(std::string& out, char32_t code);
int character_columns(char32_t code);

// Columns that `utf8` takes on a terminal: 0 for combining marks, 2 for wide East Asian letters and
// most emoji.
int columns(std::string_view utf8);

// The bytes of the first whole characters of `utf8` that fit `width` columns.
std::size_t fitting_bytes(std::string_view utf8, int width);

// `utf8` cut to `width` columns; a cut one ends in `ellipsis`.
std::string clip(std::string_view utf8, int width, std::string_view ellipsis);

// What a person may see of text that a model, a file or a command wrote: escape sequences are
// removed, other control characters are shown as their Unicode pictures, bytes that are not UTF-8
// become U+FFFD, tabs become spaces and "\r\n" becomes "\n". Without this a file could retitle,
// recolour or answer for the user's terminal.
std::string printable(std::string_view text);

// The same of text that a person decides on or reviews, with nothing left out: an escape sequence
// is shown, and what takes no room or turns the order of letters around is named, "<U+202E>".
std::string exact(std::string_view text);

// One line for a summary: `printable`, with every run of white space as one space.
std::string one_line(std::string_view text);

// 1234567 as "1,234,567".
std::string grouped(long long n);

// 1234567 as "1.2M", 12345 as "12k", where space is short.
std::string rough(long long n);

// 3.4 as "3.4s", 75 as "1m15s", 3700 as "1h01m".
std::string duration(double seconds);

}  // namespace lares::shown

namespace lares::cli {
using namespace shown;  // the clients say nothing more often
}
