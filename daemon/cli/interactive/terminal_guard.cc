#include "daemon/cli/interactive/terminal_guard.h"

#include <unistd.h>

#include <array>
#include <csignal>
#include <string_view>

namespace lares::cli {
namespace {

// Ends of the process that run no destructor.
constexpr std::array kFatal{SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr std::string_view kPlainPaste = "\x1b[?2004l";

const TerminalGuard* guard = nullptr;

// Its disposition is the default again (SA_RESETHAND)
extern "C" void restore_and_die(int signal) {
  if (guard) guard->restore();
  ::raise(signal);
}

}  // namespace

TerminalGuard::TerminalGuard(int fd) : fd_(fd) {
  if (::tcgetattr(fd_, &found_) != 0) fd_ = -1;
  guard = this;
  struct sigaction action {};
  action.sa_handler = restore_and_die;
  action.sa_flags = SA_RESETHAND | SA_NODEFER;
  for (const int signal : kFatal) ::sigaction(signal, &action, nullptr);
}

TerminalGuard::~TerminalGuard() {
  restore();
  for (const int signal : kFatal) std::signal(signal, SIG_DFL);
  guard = nullptr;
}

void TerminalGuard::restore() const {
  if (fd_ < 0) return;
  ::tcsetattr(fd_, TCSADRAIN, &found_);
  [[maybe_unused]] const ssize_t n = ::write(fd_, kPlainPaste.data(), kPlainPaste.size());
}

}  // namespace lares::cli
