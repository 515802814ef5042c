// The terminal's modes as they were found, put back whatever ends the process but SIGKILL.
#pragma once

#include <termios.h>

namespace lares::cli {

// One at a time.
class TerminalGuard {
 public:
  explicit TerminalGuard(int fd);
  ~TerminalGuard();
  TerminalGuard(const TerminalGuard&) = delete;
  TerminalGuard& operator=(const TerminalGuard&) = delete;

  void restore() const;

 private:
  int fd_;
  termios found_{};
};

}  // namespace lares::cli
