// Markdown as it arrives, for a terminal: what is emphasised is shown so, code keeps its lines, the
// items of a list stand below each other, and so do the cells of a table, once all of it is there.
// Everything else is text as it was written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/terminal/wrap.h"

namespace lares::cli {

inline constexpr std::size_t kSpanBytesMax = 300;  // **bold** or `code`: what is longer is none

class Prose {
 public:
  explicit Prose(const Terminal& terminal);  // which outlives it

  // As Wrap's. What may yet become emphasis is held back until it is known, within its line.
  std::string feed(std::string_view printable_text);
  std::string end();
  void begin_anew(int width) { wrap_.begin_anew(width); }
  int column() const { return wrap_.column(); }
  bool empty() const { return wrap_.empty(); }

 private:
  enum class Kind { undecided, text, heading, code, fence, row };
  void take(char c);
  void begin_line();
  void span(char c);
  void release();
  void emphasise(std::string_view text);
  void end_line();
  void end_row();
  void end_table();
  std::string with_marks(std::string_view line);
  void flush();
  std::string painted(std::string_view text);

  const Terminal& terminal_;
  Wrap wrap_;
  Kind kind_ = Kind::undecided;
  bool in_code_ = false;  // between two fences
  Style style_ = Style::plain;
  std::string head_;                // of a line, while it may be of any kind, and of a table's row
  std::string span_;                // from ` or ** on
  std::string piece_;               // for wrap_
  std::string out_;                 // of wrap_
  std::vector<std::string> table_;  // lines of what may be one
  std::size_t table_bytes_ = 0;
};

}  // namespace lares::cli
