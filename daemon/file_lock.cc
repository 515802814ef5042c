#include "daemon/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include <fmt/format.h>

namespace lares::daemon {
namespace {

constexpr std::chrono::milliseconds kEndingWithin{2000}, kTryEvery{20};

}  // namespace

tl::expected<FileLock, std::string> FileLock::take(const std::string& path, const std::string& held) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return tl::unexpected(fmt::format("open {}: {}", path, std::strerror(errno)));
  FileLock lock(fd);
  const auto until = std::chrono::steady_clock::now() + kEndingWithin;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return tl::unexpected(fmt::format("lock {}: {}", path, std::strerror(errno)));
    if (std::chrono::steady_clock::now() > until) return tl::unexpected(held);
    std::this_thread::sleep_for(kTryEvery);
  }
  return lock;
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace lares::daemon
