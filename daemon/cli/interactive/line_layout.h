// Where the letters of a line stand on a terminal, as libedit lays them out.
#pragma once

#include <cstddef>
#include <string_view>

namespace lares::cli {

struct LinePlace {
  int row = 0, column = 0;
};

// Of the letter `at` of `text`, which follows `prompt` at the start of a row, on a terminal of
// `width` columns: a letter that does not fit begins the next row, tabs go to multiples of 8,
// control characters are ^X.
LinePlace place_in_line(std::wstring_view prompt, std::wstring_view text, std::size_t at,
                        int width);

}  // namespace lares::cli
