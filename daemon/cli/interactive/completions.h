// What Tab may make of what stands before the cursor.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lares::cli {

inline constexpr std::size_t kNamesMax = 10'000;  // that are looked at in one directory
inline constexpr std::size_t kCandidatesShown = 40;

struct Completions {
  std::string word;                     // the end of it, that they stand for
  std::vector<std::string> candidates;  // in order; a directory ends in a slash
  // What Tab makes of the word: the candidate that is the only one, or as much as all have in
  // common. The word itself: nothing, so they are shown. A name with blanks stands in quotes, which
  // a directory leaves open: @"a name/", @"a name/of a file".
  std::string becomes;
};

// Commands and skills where the line is one, else files and directories: those whose path from
// `directory`, below `root` (empty: the root itself), else from the root, begins as the word does,
// perhaps behind an @. Where none does, what git tracks by that name,
// wherever it lies, and then what it neither tracks nor ignores; and where nothing does, the same
// with small and capital letters of ASCII alike.
Completions completions_of(std::string_view before_cursor, const std::string& root,
                           const std::string& directory);

}  // namespace lares::cli
