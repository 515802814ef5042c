// A table of Markdown for a terminal: columns below each other, each as wide as there is room for.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lares::cli {

inline constexpr std::size_t kTableBytesMax = 64u << 10;  // what is longer is text
inline constexpr int kTableColumnLeast = 6;  // columns of the terminal that one is narrowed to

// "| --- | :-: |", which makes the line above it a table's head.
bool is_table_rule(std::string_view line);

// A line's cells without the blanks around them; "\|" is a bar within one (GitHub Flavored
// Markdown 0.29, "Tables").
std::vector<std::string> table_cells(std::string_view line);

struct MarkdownTable {
  enum class Align { left, right, centre };
  std::vector<Align> columns;                  // one or more
  std::vector<std::vector<std::string>> rows;  // the head first; each has as many cells
};

// Of a head, a rule and rows; without columns where they make no table. A row's cells beyond the
// head's are in its last one.
MarkdownTable parse_table(const std::vector<std::string>& lines);

// Rows of a terminal that has `width` columns, with marks of style_marks.h, as the cells may have
// them. Cells are broken between words where all have no room side by side. Nothing: they have none
// so either.
std::vector<std::string> table_rows(const MarkdownTable& table, int width, bool utf8);

}  // namespace lares::cli
