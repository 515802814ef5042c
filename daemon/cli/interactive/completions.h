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
};

// Commands and skills where the line is one, else files and directories below `root`: those whose
// path begins as the word does, perhaps behind an @. Where none does, what git tracks by that name,
// wherever it lies.
Completions completions_of(std::string_view before_cursor, const std::string& root);

}  // namespace lares::cli
