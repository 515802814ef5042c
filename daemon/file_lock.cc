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
constexpr std::size_t kWordBytesMax = 4096;

std::string word_in(int fd) {
  std::string word(kWordBytesMax, '\0');
  const ssize_t n = ::pread(fd, word.data(), word.size(), 0);
  word.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return word;
}

}  // namespace

tl::expected<FileLock, std::string> FileLock::take(const std::string& path, const std::string& word,
                                                   const Held& held) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return tl::unexpected(fmt::format("open {}: {}", path, std::strerror(errno)));
  FileLock lock(fd);
  const auto until = std::chrono::steady_clock::now() + kEndingWithin;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return tl::unexpected(fmt::format("lock {}: {}", path, std::strerror(errno)));
    if (std::chrono::steady_clock::now() > until) return tl::unexpected(held(word_in(fd)));
    std::this_thread::sleep_for(kTryEvery);
  }
  if (::ftruncate(fd, 0) != 0 ||
      ::pwrite(fd, word.data(), word.size(), 0) != static_cast<ssize_t>(word.size())) {
    return tl::unexpected(fmt::format("write {}: {}", path, std::strerror(errno)));
  }
  return lock;
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace lares::daemon
