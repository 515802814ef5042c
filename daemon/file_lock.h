// A lock file that one process holds at a time, for as long as it lives.
#pragma once

#include <functional>
#include <string>

#include <tl/expected.hpp>

namespace lares::daemon {

class FileLock {
 public:
  // Makes the file (0600) where there is none, and leaves `word` in it for whoever finds it taken.
  // Waits a moment for a daemon that is just ending; then the error is what `held` makes of the
  // holder's word (which may be empty), or why the file cannot be opened.
  using Held = std::function<std::string(const std::string& word)>;
  static tl::expected<FileLock, std::string> take(const std::string& path, const std::string& word,
                                                  const Held& held);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace lares::daemon
