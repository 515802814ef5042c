#include "sandbox/launcher/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

void fail_with(std::string_view layer, const std::string& message) {
  std::string text = message;
  std::replace(text.begin(), text.end(), '\n', ' ');
  text.resize(std::min(text.size(), kReplyBytesMax - 256));
  const auto line = fmt::format("{}{}\t{}\n", kReplyFailed, layer, text);
  (void)!::send(kControlFd, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  write_all(2, fmt::format("lares-sandbox: {}: {}\n", layer, text));
  ::_exit(kExitSetupFailed);
}

void fail_errno_with(std::string_view layer, int error, const std::string& message) {
  fail_with(layer, message + ": " + errno_text(error));
}

std::string errno_text(int error) { return ::strerror(error); }

int pidfd_send_signal(int pidfd, int signal) {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}

int pidfd_open(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

pid_t clone_with(uint64_t flags, int* pidfd) {
  clone_args args{};
  args.flags = flags | CLONE_PIDFD;
  args.exit_signal = SIGCHLD;
  args.pidfd = reinterpret_cast<uint64_t>(pidfd);
  return static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

bool write_file(const char* path, std::string_view text) {
  const Fd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file && write_all(file.get(), text);
}

std::string read_file(int fd, std::size_t max) {
  std::string out;
  char buffer[65536];
  while (out.size() < max) {
    const auto n = ::read(fd, buffer, std::min(sizeof buffer, max - out.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    out.append(buffer, static_cast<std::size_t>(n));
  }
  return out;
}

std::string text_of(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file ? read_file(file.get(), 1 << 16) : "";
}

}  // namespace lares::sandbox::launcher
