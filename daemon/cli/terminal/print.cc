#include "daemon/cli/terminal/print.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/terminal/wrap.h"

namespace lares::cli {

void write_out(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    note_write_error(errno != 0 ? errno : EIO);
}

// A terminal breaks a line wherever it is full. What follows the last line feed is a line that
// somebody types on, and stays.
void write_err(std::string_view text) {
  std::string wrapped;
  if (const int width = Terminal::detect(STDERR_FILENO).width; width > 0) {
    const std::size_t lines = text.rfind('\n') + 1;  // npos + 1: none
    wrapped = hanging_lines(text.substr(0, lines), width);
    wrapped += text.substr(lines);
    text = wrapped;
  }
  (void)std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace lares::cli
