// Diffs that a model reads: no line numbers, three lines of context, the enclosing definition after
// "@@".
//
// A hunk stands at the first place, after the hunk before it and after the line its "@@" names,
// where its context and removed lines occur. The writer checks that this is the right place and
// adds context above the hunk until it is, so a diff without numbers means exactly one text. Every
// line of a diff begins with ' ', '-', '+', '@' or '\': what a file contains can never be taken for
// a tag that follows the diff.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lares::daemon {

inline constexpr std::size_t kHintBytesMax = 80;     // of the definition after "@@"
inline constexpr std::size_t kHintLinesMax = 2'000;  // how far above a hunk it is looked for

// With their line ends: only the last can lack one.
std::vector<std::string_view> lines_with_ends(std::string_view text);

struct Hunk {
  struct Line {
    char mark;              // ' ', '-', '+'
    std::string_view text;  // with its line end, of one of the two texts compared
  };
  std::size_t start = 0;  // line of the text before, from 0
  std::size_t n_old = 0;  // lines of it that the hunk covers
  std::vector<Line> lines;
};

// Empty when the texts are equal, or git takes one of them for binary. The hunks point into both.
std::vector<Hunk> find_hunks(std::string_view before, std::string_view after);

// "" when there are no hunks.
std::string write_diff(std::string_view before, std::string_view after);

// nullopt: it does not fit `before`, or is no diff.
std::optional<std::string> apply_diff(std::string_view before, std::string_view diff);

}  // namespace lares::daemon
