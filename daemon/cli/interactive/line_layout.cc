#include "daemon/cli/interactive/line_layout.h"

#include <utility>

#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr int kTabColumns = 8;

// Letters where they stand; `rows`, where it is wanted, gets what each row shows.
LinePlace lay_out(std::wstring_view prompt, std::wstring_view text, std::size_t at, int width,
                  std::vector<std::wstring>* rows) {
  LinePlace p;
  std::wstring row;
  const auto next_row = [&] {
    ++p.row, p.column = 0;
    if (rows) rows->push_back(std::exchange(row, {}));
  };
  const auto put = [&](wchar_t c, int n) {
    if (p.column + n > width) next_row();
    if (rows) row += c;
    p.column += n;
    if (p.column >= width) next_row();
  };
  for (const wchar_t c : prompt) put(c, character_columns(static_cast<char32_t>(c)));
  for (std::size_t i = 0; i < at && i < text.size(); ++i) {
    const wchar_t c = text[i];
    if (c == L'\n') {
      next_row();
    } else if (c == L'\t') {
      do put(L' ', 1);
      while (p.column % kTabColumns != 0);
    } else if (c < 0x20 || c == 0x7F) {
      put(L'^', 1), put(c == 0x7F ? L'?' : static_cast<wchar_t>(c + '@'), 1);
    } else {
      put(c, character_columns(static_cast<char32_t>(c)));
    }
  }
  if (rows) rows->push_back(row);
  return p;
}

}  // namespace

LinePlace place_in_line(std::wstring_view prompt, std::wstring_view text, std::size_t at,
                        int width) {
  return lay_out(prompt, text, at, width, nullptr);
}

std::vector<std::wstring> rows_of_line(std::wstring_view prompt, std::wstring_view text,
                                       int width) {
  std::vector<std::wstring> rows;
  lay_out(prompt, text, text.size(), width, &rows);
  return rows;
}

}  // namespace lares::cli
