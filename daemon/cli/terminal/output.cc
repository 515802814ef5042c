#include "daemon/cli/terminal/output.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "daemon/cli/exit_status.h"

namespace lares::cli {
namespace {

std::atomic<int> first_error{0};

}  // namespace

void note_write_error(int error) {
  int none = 0;
  first_error.compare_exchange_strong(none, error);
}

void print_line(std::string_view line) {
  errno = 0;
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() ||
      std::fputc('\n', stdout) == EOF || std::fflush(stdout) != 0)
    note_write_error(errno != 0 ? errno : EIO);
}

void write_whole(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (n < 0 && errno == EAGAIN) {
      pollfd waiting{fd, POLLOUT, 0};
      ::poll(&waiting, 1, -1);
    } else if (n < 0 && errno != EINTR) {
      if (fd == STDOUT_FILENO) note_write_error(errno);
      return;
    }
  }
}

int delivered(int status) {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    note_write_error(errno != 0 ? errno : EIO);
  const int error = first_error;
  if (error == 0 || error == EPIPE) return status;
  std::fprintf(stderr, "lares: write the output: %s\n", std::strerror(error));
  return status == kExitFinished ? kExitError : status;
}

}  // namespace lares::cli
