#include "daemon/cli/interactive/line_layout.h"

#include "daemon/cli/terminal/text.h"

namespace lares::cli {
namespace {

constexpr int kTabColumns = 8;

}  // namespace

LinePlace place_in_line(std::wstring_view prompt, std::wstring_view text, std::size_t at,
                        int width) {
  LinePlace p;
  const auto step = [&](int n) {
    if (p.column + n > width) ++p.row, p.column = 0;
    p.column += n;
    if (p.column >= width) ++p.row, p.column = 0;
  };
  for (const wchar_t c : prompt) step(character_columns(static_cast<char32_t>(c)));
  for (std::size_t i = 0; i < at && i < text.size(); ++i) {
    const wchar_t c = text[i];
    if (c == L'\n') {
      ++p.row, p.column = 0;
    } else if (c == L'\t') {
      do step(1);
      while (p.column % kTabColumns != 0);
    } else if (c < 0x20 || c == 0x7F) {
      step(1), step(1);
    } else {
      step(character_columns(static_cast<char32_t>(c)));
    }
  }
  return p;
}

}  // namespace lares::cli
