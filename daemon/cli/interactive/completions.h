// What Tab may make of what stands before the cursor.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lares::cli {

inline constexpr std::size_t kNamesMax = 10'000;  // that are looked at in one directory
inline constexpr std::size_t kCandidatesShown = 40, kRowsShown = 15;

struct Completions {
  std::string word;                     // the end of it, that they stand for
  std::vector<std::string> candidates;  // in order; a directory ends in a slash
  // What Tab makes of the word: the candidate that is the only one, or as much as all have in
  // common. The word itself: nothing, so they are shown. A name with blanks stands in quotes, which
  // a directory leaves open: @"a name/", @"a name/of a file".
  std::string becomes;
  // What a person is shown of each candidate, a row each; empty: the candidates themselves
  std::vector<std::string> shown;
};

// Those of the candidates that begin with the word: `shown` says more about each, or is empty.
Completions completed(std::string_view word, const std::vector<std::string>& candidates,
                      const std::vector<std::string>& shown);
// The argument of a command, "/NAME argument": what stands before the cursor, where it is that
// one's and not yet complete.
std::optional<std::string_view> argument_of(std::string_view command,
                                            std::string_view before_cursor);

// Commands and skills where the line is one, and the policies and branches that may follow some;
// else files and directories: those whose path from `directory`, below `root` (empty: the root
// itself), else from the root, begins as the word does, perhaps behind an @. Where none does, what
// git tracks by that name,
// wherever it lies, and then what it neither tracks nor ignores; and where nothing does, the same
// with small and capital letters of ASCII alike.
Completions completions_of(std::string_view before_cursor, const std::string& root,
                           const std::string& directory);

}  // namespace lares::cli
