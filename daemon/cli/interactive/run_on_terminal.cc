#include "daemon/cli/interactive/run_on_terminal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
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
#include "daemon/cli/terminal/output.h"
#include "tools/fd.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

// What the program has not read yet; what is typed beyond it is lost, as a terminal loses it.
constexpr std::size_t kUnreadBytesMax = 64u << 10;
// Between a program's end and the end of what it wrote; no end is seen only on a loaded machine.
constexpr std::chrono::seconds kRestWithin{2};
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

struct Pty {
  tools::Fd outer, inner;  // the side of who relays; the program's
  std::string name;        // of inner
};

tl::expected<Pty, int> open_pty(const termios* modes) {
  Pty pty;
  pty.outer = tools::Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  std::array<char, 128> name{};
  if (!pty.outer || ::grantpt(pty.outer.get()) != 0 || ::unlockpt(pty.outer.get()) != 0)
    return tl::unexpected(errno);
  if (const int error = ::ptsname_r(pty.outer.get(), name.data(), name.size()))
    return tl::unexpected(error);
  pty.name = name.data();
  pty.inner = tools::Fd(::open(pty.name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pty.inner) return tl::unexpected(errno);
  if (modes) ::tcsetattr(pty.inner.get(), TCSANOW, modes);
  return pty;
}

// The leader of a session of its own, whose terminal is `terminal`: the first one it opens. The
// error's number; 0: `pid` is its process.
int spawn(const TerminalProgram& program, const std::string& terminal, pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  sigset_t all, none;
  ::sigfillset(&all);
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  ::posix_spawn_file_actions_addchdir_np(&actions, program.directory.c_str());
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, terminal.c_str(), O_RDWR, 0);
  ::posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDERR_FILENO);
  std::vector<char*> argv;
  for (const auto& word : program.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const int error = ::posix_spawn(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  return error;
}

// Between the person's terminal and the program's.
class Relay {
 public:
  Relay(const TerminalProgram& program, int tty, int outer, pid_t pid)
      : program_(program), tty_(tty), outer_(outer), pid_(pid) {}

  void pass_some(std::chrono::milliseconds wait);
  bool writes() const { return writes_; }  // false: nothing more comes of the program
  void end(int signal) const;
  void leave_plain(bool killed) const;
  void take_size() const;

 private:
  void typed(std::string_view bytes);
  bool interrupts(const termios& modes, char c) const;
  void read_tty();
  void read_program();
  void give();

  const TerminalProgram& program_;
  int tty_, outer_;
  pid_t pid_;
  bool types_ = true, writes_ = true;
  std::string unread_;
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

void Relay::read_program() {
  std::array<char, 65536> block;
  const ssize_t n = ::read(outer_, block.data(), block.size());
  writes_ = n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));  // EIO: nobody has it open
  if (n <= 0) return;
  const std::string_view bytes(block.data(), static_cast<std::size_t>(n));
  write_whole(STDOUT_FILENO, bytes);
  if (const std::string shown = screen_.feed(bytes); !shown.empty()) program_.written(shown);
}

void Relay::give() {
  const ssize_t n = ::write(outer_, unread_.data(), unread_.size());
  if (n > 0) unread_.erase(0, static_cast<std::size_t>(n));
}

void Relay::pass_some(std::chrono::milliseconds wait) {
  const short outer_events = static_cast<short>(POLLIN | (unread_.empty() ? 0 : POLLOUT));
  std::array<pollfd, 2> fds{pollfd{types_ ? tty_ : -1, POLLIN, 0},
                            pollfd{writes_ ? outer_ : -1, outer_events, 0}};
  if (::poll(fds.data(), fds.size(), static_cast<int>(wait.count())) <= 0) return;
  if (fds[0].revents != 0) read_tty();
  if ((fds[1].revents & POLLOUT) != 0 && !unread_.empty()) give();
  if ((fds[1].revents & ~POLLOUT) != 0) read_program();
}

}  // namespace

tl::expected<int, int> run_on_terminal(const TerminalProgram& program, int tty) {
  const Raw raw(tty);
  auto pty = open_pty(raw.found());
  if (!pty) return tl::unexpected(pty.error());
  winsize size{};
  if (::ioctl(tty, TIOCGWINSZ, &size) == 0) ::ioctl(pty->outer.get(), TIOCSWINSZ, &size);
  pid_t pid = 0;
  if (const int error = spawn(program, pty->name, pid)) return tl::unexpected(error);
  pty->inner = tools::Fd();
  Relay relay(program, tty, pty->outer.get(), pid);
  std::optional<Clock::time_point> told_to_end;
  int status = 0;
  for (;;) {
    relay.pass_some(kLookedAfterEvery);
    relay.take_size();
    const pid_t changed = ::waitpid(pid, &status, WNOHANG | WUNTRACED);
    if (changed == pid && WIFSTOPPED(status)) relay.end(SIGTERM);
    if (changed == pid && !WIFSTOPPED(status)) break;
    if (changed < 0 && errno != EINTR) break;
    if (!program.given_up()) continue;
    if (!told_to_end) {
      told_to_end = Clock::now();
      relay.end(SIGTERM);
    } else if (Clock::now() - *told_to_end > kEndWithin) {  // an interactive shell stays
      relay.end(SIGKILL);
    }
  }
  // With its leader's end the terminal has hung up, for its jobs too: what was written before
  // comes, then the end.
  for (const auto until = Clock::now() + kRestWithin; relay.writes() && Clock::now() < until;)
    relay.pass_some(kLookedAfterEvery);
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
