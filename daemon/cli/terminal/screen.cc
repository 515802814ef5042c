#include "daemon/cli/terminal/screen.h"

#include "daemon/cli/terminal/output.h"

#include <poll.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr int kWidthLeast = 20, kWidthDefault = 80;

int terminal_width(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col < kWidthLeast ? kWidthLeast : size.ws_col;
  }
  const char* set = std::getenv("COLUMNS");
  const int columns = set ? std::atoi(set) : 0;
  return columns >= kWidthLeast ? columns : kWidthDefault;
}

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (!value || !*value) continue;
    return ::strcasestr(value, "utf-8") || ::strcasestr(value, "utf8");
  }
  return false;
}

std::string_view code_of(Style style) {
  switch (style) {
    case Style::plain:
      return "";
    case Style::dim:
      return "\x1b[2m";
    case Style::bold:
      return "\x1b[1m";
    case Style::red:
      return "\x1b[31m";
    case Style::green:
      return "\x1b[32m";
    case Style::yellow:
      return "\x1b[33m";
    case Style::cyan:
      return "\x1b[36m";
    case Style::magenta:
      return "\x1b[35m";
  }
  return "";
}

}  // namespace

Terminal Terminal::detect(int fd) {
  Terminal t;
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  const bool tty = ::isatty(fd) == 1;
  const bool dumb = !term || !*term || std::strcmp(term, "dumb") == 0;
  t.is_terminal = tty && !dumb;
  t.colour = t.is_terminal && !(no_color && *no_color);
  t.utf8 = !tty || locale_is_utf8();  // files and pipes are UTF-8, like everything else of ours
  t.width = tty ? terminal_width(fd) : 0;
  return t;
}

std::string Terminal::paint(Style style, std::string_view text) const {
  if (!colour || style == Style::plain || text.empty()) return std::string(text);
  return std::string(code_of(style)).append(text).append("\x1b[0m");
}

Screen::Screen(int fd, Terminal terminal) : fd_(fd), terminal_(terminal) {}

Screen::~Screen() { status(""); }

void Screen::resized() {
  if (terminal_.width > 0) terminal_.width = terminal_width(fd_);
}

// It takes no room, so it need not wait for what stands below.
void Screen::ring() {
  if (terminal_.is_terminal) (void)!::write(fd_, "\a", 1);
}

void Screen::write(std::string_view text, int shown_columns) {
  std::string bytes = erase_status();
  bytes += text;
  column_ = shown_columns;
  bytes += draw_status();
  put(bytes);
}

void Screen::line(std::string_view text) {
  std::string bytes = column_ > 0 ? "\n" : "";
  bytes += text;
  bytes += '\n';
  write(bytes, 0);
}

void Screen::fresh_line() {
  if (column_ > 0) write("\n", 0);
}

void Screen::status(std::string_view text) {
  if (!terminal_.is_terminal) return;
  // One column stays free: a full last line would leave the cursor where terminals disagree about
  // what comes next.
  const std::string next = clip(text, terminal_.width - 1, terminal_.utf8 ? "…" : "~");
  if (next == status_) return;
  std::string bytes = erase_status();
  status_ = next;
  bytes += draw_status();
  put(bytes);
}

// The status stands on a line of its own; while the transcript's last line is unfinished, on the
// line below it, and the cursor comes back up to where that line ends.
std::string Screen::erase_status() const {
  if (status_.empty()) return {};
  std::string bytes = "\r\x1b[K";
  if (column_ > 0) bytes += "\x1b[A\x1b[" + std::to_string(column_ + 1) + "G";
  return bytes;
}

std::string Screen::draw_status() const {
  if (status_.empty()) return {};
  std::string bytes = column_ > 0 ? "\n\r" : "\r";
  return bytes + terminal_.paint(Style::dim, status_);
}

std::string Screen::way_back() const {
  if (!line_is_open()) return {};
  return status_.empty() ? "\x1b[A\x1b[" + std::to_string(column_ + 1) + "G" : "\x1b[A";
}

void Screen::stand_above(std::function<void()> changed) {
  if (line_is_open()) put("\n\r");
  back_ = way_back();
  changed_ = std::move(changed);
}

std::string Screen::take() {
  if (held_.empty()) return {};
  std::string bytes = std::exchange(held_, {});
  if (line_is_open()) bytes += "\n\r";
  back_ = way_back();
  return bytes;
}

void Screen::stand_alone() {
  changed_ = nullptr;
  const std::string bytes = take();
  put(bytes + back_);
}

int Screen::status_rows(int width) const {
  const int n = columns(status_);
  return n > 0 ? (n - 1) / width + 1 : 0;
}

void Screen::begin_anew() {
  status_.clear();
  column_ = 0;
  back_.clear();
}

void Screen::put(const std::string& bytes) {
  if (changed_) {
    held_ += held_.empty() ? back_ + bytes : bytes;
    changed_();
    return;
  }
  write_whole(fd_, bytes);
}

}  // namespace lares::cli
