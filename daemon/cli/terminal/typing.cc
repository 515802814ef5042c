#include "daemon/cli/terminal/typing.h"

#include <termios.h>
#include <unistd.h>

namespace lares::cli {
namespace {

// Elsewhere whoever sets it is stopped for that. Also: `fd` is no terminal, or not this session's.
bool in_foreground(int fd) { return ::tcgetpgrp(fd) == ::getpgrp(); }

}  // namespace

void forget_typed(int fd) {
  if (in_foreground(fd)) ::tcflush(fd, TCIFLUSH);
}

}  // namespace lares::cli
