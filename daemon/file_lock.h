// A lock file that one process holds at a time, for as long as it lives.
#pragma once

#include <string>

#include <tl/expected.hpp>

namespace lares::daemon {

class FileLock {
 public:
  // Makes the file (0600) where there is none. Waits a moment for a daemon that is just ending; then the error is `held`, or why
  // the file cannot be opened.
  static tl::expected<FileLock, std::string> take(const std::string& path, const std::string& held);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace lares::daemon
