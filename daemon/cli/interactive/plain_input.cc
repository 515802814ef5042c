#include "daemon/cli/interactive/plain_input.h"

#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "daemon/cli/terminal/screen.h"
#include "daemon/shown/text.h"

namespace lares::cli {

PlainInput::PlainInput(Screen& screen, InputEvents events)
    : screen_(screen), events_(std::move(events)) {}

void PlainInput::run() {
  while (!stopped_) {
    const std::string prompt = begun_.empty() ? prompt_ : ". ";
    if (!prompt.empty() && screen_.column() == 0) screen_.write(prompt, columns(prompt));
    events_.wait();
  }
  screen_.fresh_line();
}

void PlainInput::typed(std::string_view line) {
  screen_.write("", 0);  // the terminal echoed the line and its end
  if (line.ends_with('\\')) {
    begun_ += line.substr(0, line.size() - 1);
    begun_ += '\n';
    return;
  }
  events_.submitted(std::exchange(begun_, {}).append(line));
}

// A line that is not whole is in the terminal, which can only be told to forget it.
void PlainInput::set_aside(std::string_view unread) {
  aside_ += std::exchange(begun_, {});
  while (!unread.empty()) {
    const std::size_t end = std::min(unread.find('\n'), unread.size());
    put_back(std::string(unread.substr(0, end)));
    unread.remove_prefix(std::min(end + 1, unread.size()));
  }
  ::tcflush(STDIN_FILENO, TCIFLUSH);
}

void PlainInput::bring_back() { begun_ = std::exchange(aside_, {}) + begun_; }

// It cannot be put into the terminal's own line, so it is shown to be copied.
void PlainInput::put_back(const std::string& text) { screen_.line("not sent: " + printable(text)); }

}  // namespace lares::cli
