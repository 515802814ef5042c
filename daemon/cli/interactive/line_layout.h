// Where the letters of a line stand on a terminal, as libedit lays them out.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lares::cli {

struct LinePlace {
  int row = 0, column = 0;
};

// Of the letter `at` of `text`, which follows `prompt` at the start of a row, on a terminal of
// `width` columns: a letter that does not fit begins the next row, tabs go to multiples of 8,
// control characters are ^X.
LinePlace place_in_line(std::wstring_view prompt, std::wstring_view text, std::size_t at,
                        int width);
// What each of its rows shows, the last one too where it is empty.
std::vector<std::wstring> rows_of_line(std::wstring_view prompt, std::wstring_view text, int width);

}  // namespace lares::cli
