// Replacing one stretch of a file, named by its text. Literal first; then only relaxations that
// cannot change what is meant, each of them unique or nothing. No edit distance, no anchors: those
// were seen to edit the wrong place silently.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace lares::tools {

struct Replaced {
  std::string bytes;                          // the whole file, after
  std::size_t line_first = 0, line_last = 0;  // what old_str matched, 1-based
  // What was ignored to make it match: "trailing blanks", ...; "" when literal
  std::string relaxed;
};

struct Unmatched {
  // Where it matched when more than once, the first of them; empty: nowhere
  std::vector<std::size_t> lines;
};

// `bytes` as on disk. Both strings are what the model wrote after reading the shown text, so "\n"
// in them stands for the file's own line end. Untouched stretches of the file keep every byte.
tl::expected<Replaced, Unmatched> replace_unique(std::string_view bytes, std::string_view old_str,
                                                 std::string_view new_str);

// After a miss, for the model to read: a reason when it can be told (line numbers copied from the
// view, escapes left in), and the lines most like old_str with their numbers. `shown` is the text
// as the model sees it.
std::string explain_miss(std::string_view shown, std::string_view old_str);

// "%6d  text\n" per line, from `first` (1-based) to `last`.
std::string numbered(const std::vector<std::string_view>& lines, std::size_t first,
                     std::size_t last);

}  // namespace lares::tools
