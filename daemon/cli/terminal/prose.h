// Markdown as it arrives, for a terminal: what is emphasised is shown so, code keeps its lines, the
// items of a list stand below each other. Everything else is text as it was written.
#pragma once

#include <string>
#include <string_view>

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
  enum class Kind { undecided, text, heading, code, fence };
  void take(char c);
  void begin_line();
  void span(char c);
  void release();
  void emphasise(std::string_view text);
  void end_line();
  void flush();
  std::string painted(std::string_view text);

  const Terminal& terminal_;
  Wrap wrap_;
  Kind kind_ = Kind::undecided;
  bool in_code_ = false;  // between two fences
  Style style_ = Style::plain;
  std::string head_;   // of a line, while it may be of any kind
  std::string span_;   // from ` or ** on
  std::string piece_;  // for wrap_
  std::string out_;    // of wrap_
};

}  // namespace lares::cli
