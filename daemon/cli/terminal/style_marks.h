// Marks within a text: of a style from there on. They take no columns, and text that is printable
// has none.
#pragma once

#include <string_view>

namespace lares::cli {

inline constexpr char kPlainMark = 1, kBoldMark = 2, kCodeMark = 3, kDimMark = 4;
inline constexpr std::string_view kStyleMarks = "\1\2\3\4";

}  // namespace lares::cli
