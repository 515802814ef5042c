#include "daemon/cli/interactive/run_on_terminal.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>

#include "daemon/cli/interactive/alternate_screen.h"
#include "daemon/cli/interactive/pty_program.h"
#include "daemon/cli/terminal/output.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

// What the program has not read yet; what is typed beyond it is lost, as a terminal loses it.
constexpr std::size_t kUnreadBytesMax = 64u << 10;
// Between a program's end and the end of what it wrote; it takes longer only on a loaded machine.
constexpr std::chrono::seconds kRestWithin{2};
// And where it goes on and on: a job of its own floods the terminal.
constexpr std::chrono::seconds kRestAtMost{10};
// Behind SIGTERM
constexpr std::chrono::seconds kEndWithin{2};
// The first screen, the cursor, and colours: as the next to write to the terminal expects them.
constexpr std::string_view kFirstScreen = "\x1b[?1049l", kPlain = "\x1b[m\x1b[?25h";

// The person's terminal, raw while this lives.
class Raw {
 public:
  explicit Raw(int tty) : tty_(tty), is_one_(::tcgetattr(tty, &found_) == 0) {
    if (!is_one_) return;
    termios raw = found_;
    ::cfmakeraw(&raw);
    ::tcsetattr(tty_, TCSADRAIN, &raw);
  }
  ~Raw() {
    if (is_one_) ::tcsetattr(tty_, TCSADRAIN, &found_);
  }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;

  const termios* found() const { return is_one_ ? &found_ : nullptr; }

 private:
  int tty_;
  termios found_{};
  bool is_one_;
};

// What a terminal answers to what a program asked it and did not wait for: its colours, its name.
// The end of such an answer would be a key here.
std::string without_replies(std::string_view typed) {
  std::string out;
  for (std::size_t i = 0; i < typed.size(); ++i) {
    constexpr std::string_view kStrings = "]P_^X";  // OSC, DCS, APC, PM, SOS: ECMA-48, 5.6
    const bool begins = typed[i] == '\x1b' && i + 1 < typed.size() &&
                        kStrings.find(typed[i + 1]) != std::string_view::npos;
    if (!begins) {
      out += typed[i];
      continue;
    }
    const std::size_t bell = typed.find('\a', i), end = typed.find("\x1b\\", i + 2);
    if (bell == std::string_view::npos && end == std::string_view::npos) break;  // cut off
    i = bell < end ? bell : end + 1;
  }
  return out;
}

// Between the person's terminal and the program's.
class Relay {
 public:
  Relay(const TerminalProgram& program, int tty, PtyProgram& pty)
      : program_(program), tty_(tty), pty_(pty), outer_(pty.outer()), pid_(pty.pid()) {}

  void pass_some(std::chrono::milliseconds wait);
  // Of a program that has ended: passes on the rest of what it wrote, and gives what was typed and
  // not read.
  std::string finish(const std::function<bool()>& given_up);
  void end(int signal) const;
  void leave_plain(bool killed) const;
  void take_size() const;

 private:
  void typed(std::string_view bytes);
  bool interrupts(const termios& modes, char c) const;
  void read_tty();
  void read_program();
  void show(std::string_view bytes);
  void give();

  const TerminalProgram& program_;
  int tty_;
  PtyProgram& pty_;
  int outer_;
  pid_t pid_;
  bool types_ = true, writes_ = true, ended_ = false, hurries_ = false;
  std::size_t n_read_ = 0;  // of what it wrote
  std::string unread_;      // and not given to it yet
  std::string mark_;        // what it wrote ends so, once it has ended
  std::string held_;        // what may be the beginning of that
  AlternateScreen screen_;
  std::deque<Clock::time_point> interrupts_;
};

void Relay::take_size() const {
  winsize now{}, its{};
  if (::ioctl(tty_, TIOCGWINSZ, &now) != 0 || ::ioctl(outer_, TIOCGWINSZ, &its) != 0) return;
  if (now.ws_col != its.ws_col || now.ws_row != its.ws_row) ::ioctl(outer_, TIOCSWINSZ, &now);
}

// Its group, and the one that has the terminal: a shell with job control gives each job one.
void Relay::end(int signal) const {
  pid_t front = 0;
  if (::ioctl(outer_, TIOCGPGRP, &front) != 0) front = 0;
  for (const pid_t group : {front, pid_}) {
    if (group <= 1) continue;
    ::kill(-group, signal);
    ::kill(-group, SIGCONT);
  }
}

void Relay::leave_plain(bool killed) const {
  if (screen_.active()) write_whole(STDOUT_FILENO, kFirstScreen);
  if (screen_.active() || killed) write_whole(STDOUT_FILENO, kPlain);
}

// Ctrl-C and Ctrl-Z mean what its terminal's modes say. Behind a program that reads nothing the
// first would wait for ever, so too many of them are acted on here.
void Relay::typed(std::string_view bytes) {
  termios modes{};
  const bool known = ::tcgetattr(outer_, &modes) == 0 && (modes.c_lflag & ISIG) != 0;
  for (const char c : bytes) {
    hurries_ = hurries_ || (ended_ && c == '\x03');
    if (known && static_cast<cc_t>(c) == modes.c_cc[VSUSP] && (modes.c_lflag & ICANON) != 0) {
      end(SIGTERM);
      continue;
    }
    if (known && static_cast<cc_t>(c) == modes.c_cc[VINTR]) {
      const auto now = Clock::now();
      while (!interrupts_.empty() && now - interrupts_.front() > kInterruptsWithin)
        interrupts_.pop_front();
      interrupts_.push_back(now);
      const int max = screen_.active() ? kInterruptsOnOtherScreenMax : kInterruptsMax;
      if (static_cast<int>(interrupts_.size()) >= max) end(SIGKILL);
    }
    if (unread_.size() < kUnreadBytesMax) unread_ += c;
  }
}

void Relay::read_tty() {
  std::array<char, 4096> block;
  const ssize_t n = ::read(tty_, block.data(), block.size());
  if (n > 0) typed({block.data(), static_cast<std::size_t>(n)});
  types_ = n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

void Relay::show(std::string_view bytes) {
  write_whole(STDOUT_FILENO, bytes);
  if (const std::string shown = screen_.feed(bytes); !shown.empty()) program_.written(shown);
}

void Relay::read_program() {
  std::array<char, 65536> block;
  const ssize_t n = ::read(outer_, block.data(), block.size());
  writes_ = n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));  // EIO: nobody has it open
  if (n <= 0) return;
  n_read_ += static_cast<std::size_t>(n);
  const std::string_view bytes(block.data(), static_cast<std::size_t>(n));
  if (!ended_) return show(bytes);
  held_ += bytes;
  const std::size_t at = held_.find(mark_);
  writes_ = at == std::string::npos;
  const std::size_t sure = writes_ ? held_.size() - std::min(held_.size(), mark_.size() - 1) : at;
  show(std::string_view(held_).substr(0, sure));
  held_.erase(0, sure);
}

void Relay::give() {
  const ssize_t n = ::write(outer_, unread_.data(), unread_.size());
  if (n > 0) unread_.erase(0, static_cast<std::size_t>(n));
}

void Relay::pass_some(std::chrono::milliseconds wait) {
  const bool gives = !unread_.empty() && !ended_;
  const short outer_events = static_cast<short>(POLLIN | (gives ? POLLOUT : 0));
  std::array<pollfd, 3> fds{pollfd{types_ ? tty_ : -1, POLLIN, 0},
                            pollfd{writes_ ? outer_ : -1, outer_events, 0},
                            pollfd{ended_ ? -1 : pty_.reports(), POLLIN, 0}};
  if (::poll(fds.data(), fds.size(), static_cast<int>(wait.count())) <= 0) return;
  if (fds[0].revents != 0) read_tty();
  if ((fds[1].revents & POLLOUT) != 0 && gives) give();
  if ((fds[1].revents & ~POLLOUT) != 0) read_program();
}

// Its jobs may write on, and have the terminal open: what came before the mark is all that counts.
std::string Relay::finish(const std::function<bool()>& given_up) {
  ended_ = true;
  mark_ = fmt::format("\xff{}:{}\xff", pid_, Clock::now().time_since_epoch().count());
  std::string_view to_mark = mark_;
  const auto latest = Clock::now() + kRestAtMost;
  auto until = Clock::now() + kRestWithin;
  for (std::size_t before = n_read_;
       writes_ && !hurries_ && Clock::now() < std::min(until, latest) && !given_up();
       before = n_read_) {
    if (!to_mark.empty()) to_mark.remove_prefix(pty_.mark_end(to_mark));
    pass_some(to_mark.empty() ? kLookedAfterEvery : std::chrono::milliseconds(1));
    if (n_read_ != before) until = Clock::now() + kRestWithin;  // the person's terminal may be slow
  }
  if (writes_) show(held_);
  std::string typed = without_replies(pty_.take_unread() + unread_);
  // Where the program's terminal took whole lines, Enter has become their end, and Ctrl-D a zero.
  std::ranges::replace(typed, '\n', '\r');
  std::erase_if(typed,
                [](char c) { return c == '\0' || c == '\x03' || c == '\x1a' || c == '\x1c'; });
  return typed;
}

}  // namespace

tl::expected<int, int> run_on_terminal(const TerminalProgram& program, LentTerminal& lent) {
  const Raw raw(lent.tty);
  winsize size{};
  const bool sized = ::ioctl(lent.tty, TIOCGWINSZ, &size) == 0;
  auto pty = PtyProgram::begin(program.argv, program.directory, raw.found(),
                               sized ? &size : nullptr);
  if (!pty) return tl::unexpected(pty.error());
  Relay relay(program, lent.tty, *pty);
  std::optional<Clock::time_point> told_to_end;
  int status = 0;
  for (;;) {
    relay.pass_some(kLookedAfterEvery);
    relay.take_size();
    if (const auto changed = pty->changed()) {
      status = *changed;
      if (!WIFSTOPPED(status)) break;
      relay.end(SIGTERM);
    }
    if (!lent.given_up()) continue;
    if (!told_to_end) {
      told_to_end = Clock::now();
      relay.end(SIGTERM);
    } else if (Clock::now() - *told_to_end > kEndWithin) {  // an interactive shell stays
      relay.end(SIGKILL);
    }
  }
  lent.unread += relay.finish(lent.given_up);
  relay.leave_plain(WIFSIGNALED(status));
  return status;
}

std::string ended_how(int status) {
  if (WIFSIGNALED(status)) {
    const char* const name = ::sigabbrev_np(WTERMSIG(status));
    return name ? fmt::format("killed by SIG{}", name)
                : fmt::format("killed by signal {}", WTERMSIG(status));
  }
  return WEXITSTATUS(status) == 0 ? "" : fmt::format("exit status {}", WEXITSTATUS(status));
}

}  // namespace lares::cli
