// What somebody may have meant by a word that is not known.
#pragma once

#include <algorithm>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

namespace lares::daemon {

// Letters to put in, take out or replace, and neighbours to swap.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, above, row(b.size() + 1);  // of the letters before a[i - 1], ...
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    before = std::exchange(above, row);
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      row[j + 1] = std::min({row[j] + 1, above[j + 1] + 1, above[j] + (a[i] == b[j] ? 0 : 1)});
      if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j])
        row[j + 1] = std::min(row[j + 1], before[j - 1] + 1);
    }
  }
  return row.back();
}

// Slips of the fingers that a name of so many letters may be typed with and is still meant: of a
// short one every second word is near.
inline std::size_t slips_max(std::size_t letters) {
  return letters >= 7 ? 2 : letters >= 4 ? 1 : 0;
}

// The first of the nearest of `words`, which are not none.
template <class Words>
std::string_view nearest(std::string_view word, const Words& words) {
  return *std::min_element(words.begin(), words.end(), [&](std::string_view a, std::string_view b) {
    return edit_distance(word, a) < edit_distance(word, b);
  });
}

// The nearest that `word` may be a slip of: at most half of it is another. Empty: none is.
template <class Words>
std::string_view slip_of(std::string_view word, const Words& words) {
  const std::string_view near = nearest(word, words);
  const std::size_t dashes = std::min(word.find_first_not_of('-'), word.size());
  return 2 * edit_distance(word, near) <= word.size() - dashes ? near : std::string_view();
}

}  // namespace lares::daemon
