#include "daemon/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace lares::daemon {
namespace {

void append_value(std::string& line, std::string_view value) {
  bool plain = !value.empty();
  for (const unsigned char c : value) plain = plain && c > ' ' && c != '"' && c != '\\' && c != 127;
  if (plain) {
    line += value;
    return;
  }
  line += '"';
  for (const unsigned char c : value) {
    if (c == '"' || c == '\\') {
      line += '\\';
      line += static_cast<char>(c);
    } else if (c < ' ' || c == 127) {
      line += fmt::format("\\x{:02x}", c);
    } else {
      line += static_cast<char>(c);
    }
  }
  line += '"';
}

}  // namespace

void Log::event(std::string_view name, std::initializer_list<Field> fields) const {
  if (fd_ < 0) return;
  std::string line(name);
  for (const Field& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  line += '\n';
  const std::lock_guard lock(mutex_);
  // A full or closed log is no reason to stop working, and there is nobody left to tell.
  [[maybe_unused]] const auto n = ::write(fd_, line.data(), line.size());
  if (!path_.empty() && (bytes_ += line.size()) > bytes_max_) begin_anew();
}

void Log::rotate(std::string path, std::uint64_t bytes_max) {
  const std::lock_guard lock(mutex_);
  struct stat st {};
  path_ = std::move(path), bytes_max_ = bytes_max;
  bytes_ = ::fstat(fd_, &st) == 0 ? static_cast<std::uint64_t>(st.st_size) : 0;
  if (bytes_ > bytes_max_) begin_anew();
}

// Under the mutex. Where it fails, it is tried again when as much has been written once more.
void Log::begin_anew() const {
  struct stat ours {};
  struct stat there {};
  bytes_ = 0;
  if (::fstat(fd_, &ours) == 0 && ::stat(path_.c_str(), &there) == 0 &&
      ours.st_ino == there.st_ino && ours.st_dev == there.st_dev) {
    // Opened before anything has another name: a log whose path is gone is never found again.
    const std::string older = path_ + ".1", newer = path_ + ".new";
    const int fresh = ::open(
        newer.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fresh < 0) return;
    if (::rename(path_.c_str(), older.c_str()) != 0) {
      ::unlink(newer.c_str());
    } else if (::rename(newer.c_str(), path_.c_str()) != 0) {
      ::rename(older.c_str(), path_.c_str());
      ::unlink(newer.c_str());
    } else {
      // stdout and stderr are one file where `lares` started this.
      struct stat out {};
      if (::fstat(STDOUT_FILENO, &out) == 0 && out.st_ino == ours.st_ino &&
          out.st_dev == ours.st_dev)
        ::dup2(fresh, STDOUT_FILENO);
      ::dup2(fresh, fd_);
    }
    ::close(fresh);
  }
}

}  // namespace lares::daemon
