#include "daemon/cli/piped_stdin.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace lares::cli {
namespace {

bool comes_in_time(int fd, std::chrono::milliseconds within) {
  pollfd waiting{fd, POLLIN, 0};
  int n = 0;
  do n = ::poll(&waiting, 1, static_cast<int>(within.count()));
  while (n < 0 && errno == EINTR);
  return n != 0;
}

}  // namespace

PipedStdin read_piped(int fd, std::size_t bytes_max, std::chrono::milliseconds first_byte_within) {
  PipedStdin out;
  struct stat st {};
  if (::fstat(fd, &st) != 0) return out;
  const bool may_be_open = S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode);
  if (!may_be_open && !S_ISREG(st.st_mode)) return out;
  if (may_be_open && !comes_in_time(fd, first_byte_within))
    out.silent = true;
  else
    out.text = read_to_end(fd, bytes_max);
  return out;
}

std::string read_to_end(int fd, std::size_t bytes_max) {
  std::string text;
  char block[65536];
  while (text.size() <= bytes_max) {
    const std::size_t room = std::min(sizeof block, bytes_max + 1 - text.size());
    const ssize_t n = ::read(fd, block, room);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {  // shared with a program that made it non-blocking
      pollfd waiting{fd, POLLIN, 0};
      ::poll(&waiting, 1, -1);
      continue;
    }
    if (n <= 0) break;
    text.append(block, static_cast<std::size_t>(n));
  }
  return text;
}

std::string with_stdin(std::string prompt, const std::string& text) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return prompt;
  const bool ends = text.ends_with('\n');
  return prompt + fmt::format("\n\n<stdin>\n{}{}</stdin>", text, ends ? "" : "\n");
}

}  // namespace lares::cli
