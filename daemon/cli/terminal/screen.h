// The terminal as the CLI uses it: a transcript that only grows, and below it one status line that
// comes and goes.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace lares::cli {

enum class Style { plain, dim, bold, red, green, yellow, cyan, magenta };

// What may be written to one file descriptor. A pipe gets plain text of any width; NO_COLOR and
// TERM=dumb are honoured.
struct Terminal {
  // And not a dumb one: the cursor can be moved, so a status line can be shown
  bool is_terminal = false;
  bool colour = false;
  bool utf8 = false;  // false: marks and ellipses are ASCII
  int width = 0;      // columns; 0: no limit, nothing is wrapped

  static Terminal detect(int fd);
  std::string paint(Style style, std::string_view text) const;
};

// Writes the transcript to one descriptor and keeps the status line below it, on terminals only.
// Text reaches the descriptor in whole writes, so that a status line never tears a line of the
// transcript.
class Screen {
 public:
  Screen(int fd, Terminal terminal);
  ~Screen();  // removes the status line, so that the shell's prompt comes on a clean line
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  const Terminal& terminal() const { return terminal_; }
  int width_or(int unlimited) const { return terminal_.width > 0 ? terminal_.width : unlimited; }
  void resized();  // after SIGWINCH
  void ring();     // the bell: whoever looks elsewhere is wanted here

  // Appends `text`, which is printable (text.h) but for what paint() added. `shown_columns` is how
  // far the last line now reaches; callers that wrap know it, and a terminal is never asked.
  void write(std::string_view text, int shown_columns);
  // Appends a whole line: `text` and a line feed, after ending the current line if it has anything
  // on it.
  void line(std::string_view text);
  // Ends the current line if it has anything on it.
  void fresh_line();
  int column() const { return column_; }

  // Shows `text`, cut to one line, as the status; empty removes it. Without a terminal this does
  // nothing.
  void status(std::string_view text);

  // While something stands below all this, such as a line that is typed, what is written is held
  // back until take() fetches it; `changed` hears that there is something to fetch.
  void stand_above(std::function<void()> changed);
  // What was held back, to be written where the text below begins; it ends where that then begins.
  std::string take();
  // Nothing stands below any more, and the cursor is where it began.
  void stand_alone();
  // Rows of the status on a terminal of `width` columns, which may be another than it was drawn
  // for.
  int status_rows(int width) const;
  // Somebody removed the status, and what is written next begins on a line of its own.
  void begin_anew();

 private:
  std::string erase_status() const;
  std::string draw_status() const;
  void put(const std::string& bytes);

  bool line_is_open() const { return column_ > 0 || !status_.empty(); }

  int fd_;
  Terminal terminal_;
  int column_ = 0;  // columns taken on the transcript's last line
  std::string status_;
  std::function<void()> changed_;
  std::string held_, back_;  // back_: from where the text below begins to where this ends
  std::string way_back() const;
};

}  // namespace lares::cli
