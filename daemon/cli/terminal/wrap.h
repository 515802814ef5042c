// Breaks a stream of text into lines as it arrives, without waiting for the end of a line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lares::cli {

// A word is held back until it is complete, since only then it is known which line it belongs to;
// wide East Asian letters are words of their own, so text without spaces still flows. Blank lines
// at either end are dropped: models surround what they write with them.
class Wrap {
 public:
  // Every line starts with `prefix`. `width` 0: lines are as long as the text makes them.
  Wrap(std::string prefix, int width);

  // Returns what to write now. `printable_text` has passed printable() (text.h).
  std::string feed(std::string_view printable_text);
  // The last word; the line it is on stays open.
  std::string end();
  // Something else was written: it goes on at the start of a row, in this width. The word that is
  // held back stays.
  void begin_anew(int width);
  // Rows that a line goes on in begin so many columns further right; from the next line on, until
  // it is said again.
  void hang(int columns) { hang_ = columns; }
  // The line is broken where the row ends, and its blanks are letters like any other.
  void keep_lines(bool keep) { keeps_lines_ = keep; }

  int column() const { return column_; }
  bool empty() const { return !started_; }

 private:
  void place_word(std::string& out);
  void break_line(std::string& out);
  void go_on_below(std::string& out);

  std::string prefix_;
  int prefix_columns_, width_;
  std::string word_;
  int spaces_ = 0, line_feeds_ = 0;
  int column_ = 0, row_begin_ = 0, hang_ = 0;
  bool started_ = false, keeps_lines_ = false;
};

// A line as the rows it takes, broken wherever the next letter does not fit. `width` 0: one.
std::vector<std::string_view> rows_of(std::string_view line, int width);

// A row of a table, "name   value": what does not fit goes on below the value, where there is room
// for it. Words stay whole, as in a line that is no row. `width` 0: as it is.
std::string hanging(std::string_view row, int width);
// Every line of a text that way.
std::string hanging_lines(std::string_view text, int width);

}  // namespace lares::cli
