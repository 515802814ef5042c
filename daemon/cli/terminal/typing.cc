#include "daemon/cli/terminal/typing.h"

#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace lares::cli {
namespace {

constexpr int kTerminal = STDERR_FILENO;  // where turns are shown
// Ends of the process that run no destructor.
constexpr std::array kFatal{SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

volatile std::sig_atomic_t is_off = 0;  // what a signal has to put back

// Elsewhere whoever sets it is stopped for that. Also: `fd` is no terminal, or not this session's.
bool in_foreground(int fd) { return ::tcgetpgrp(fd) == ::getpgrp(); }

// This bit alone: other programs may have changed the others meanwhile. False: it was so.
bool set_echo(bool on) {
  termios modes{};
  if (!in_foreground(kTerminal) || ::tcgetattr(kTerminal, &modes) != 0) return false;
  if (((modes.c_lflag & ECHO) != 0) == on) return false;
  modes.c_lflag ^= ECHO;
  return ::tcsetattr(kTerminal, TCSANOW, &modes) == 0;
}

// Its disposition is the default again (SA_RESETHAND)
extern "C" void show_and_die(int signal) {
  if (is_off != 0) set_echo(true);
  ::raise(signal);
}

bool is_pipe(int fd) {
  struct stat at {};
  return ::fstat(fd, &at) == 0 && (S_ISFIFO(at.st_mode) || S_ISSOCK(at.st_mode));
}

}  // namespace

void forget_typed(int fd) {
  if (in_foreground(fd)) ::tcflush(fd, TCIFLUSH);
}

Echo::Echo() : may_(::isatty(kTerminal) == 1 && !is_pipe(STDIN_FILENO) && !is_pipe(STDOUT_FILENO)) {
  if (!may_) return;
  struct sigaction action {};
  action.sa_handler = show_and_die;
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_NODEFER;
  for (const int signal : kFatal) {
    struct sigaction now {};
    if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_IGN)
      ::sigaction(signal, &action, nullptr);
  }
}

Echo::~Echo() {
  on();
  if (!may_) return;
  for (const int signal : kFatal) {
    struct sigaction now {};
    if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == show_and_die)
      std::signal(signal, SIG_DFL);
  }
}

// Where it was off already, whoever turned it off puts it back.
void Echo::off() {
  if (!may_ || off_) return;
  is_off = 1;
  off_ = set_echo(false);
  if (!off_) is_off = 0;
}

void Echo::on() {
  if (!off_) return;
  set_echo(true);
  off_ = false;
  is_off = 0;
}

void stop_process() {
  struct sigaction usual {
  }, watched{};
  usual.sa_handler = SIG_DFL;
  ::sigaction(SIGTSTP, &usual, &watched);
  ::raise(SIGTSTP);
  ::sigaction(SIGTSTP, &watched, nullptr);
}

}  // namespace lares::cli
