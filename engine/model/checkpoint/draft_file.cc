#include "engine/model/checkpoint/draft_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>
#include <vector>

namespace lares::engine {
namespace {

namespace fs = std::filesystem;

constexpr int kDraftsMax = 1000;  // of one process number: as many killed writers, at most

tl::unexpected<Error> refused(const std::string& path, std::string_view why) {
  return tl::unexpected(Error{Errc::bad_argument, fmt::format("write {}: {}", path, why)});
}

// "<name>.<process>.<n>.part" and, of earlier versions, "<name>.part".
bool is_draft(std::string_view file, std::string_view name) {
  if (!file.starts_with(name) || !file.ends_with(".part")) return false;
  const auto middle = file.substr(name.size(), file.size() - name.size() - 5);
  return middle.find_first_not_of(".0123456789") == std::string_view::npos;
}

std::vector<fs::path> drafts_of(const fs::path& path) {
  std::vector<fs::path> out;
  std::error_code ec;
  for (fs::directory_iterator at(path.parent_path(), ec), end; !ec && at != end; at.increment(ec))
    if (is_draft(at->path().filename().native(), path.filename().native()))
      out.push_back(at->path());
  return out;
}

}  // namespace

Result<DraftFile> DraftFile::create(const std::string& given, bool* denied) {
  std::error_code ec;
  fs::path path = fs::absolute(given, ec);
  const auto status = fs::symlink_status(path, ec);
  if (fs::is_symlink(status)) {
    path = fs::canonical(path, ec);
    if (ec) return refused(given, "it is a symbolic link that leads nowhere; delete it");
  }
  if (fs::exists(status) && !fs::is_regular_file(path, ec))
    return refused(given, "it is there and no regular file; move it away");
  DraftFile out;
  out.path_ = path;
  const auto cannot = [&](const char* what, int error) {
    if (denied) *denied = error == EACCES || error == EPERM || error == EROFS;
    return refused(given, fmt::format("{}: {}", what, std::strerror(error)));
  };
  out.lock_ = ::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (out.lock_ < 0) return cannot("cannot be created", errno);
  // Where the file system knows no such locks, names of one's own do; only what killed writers left
  // then stays.
  const bool locked = ::flock(out.lock_, LOCK_EX | LOCK_NB) == 0;
  if (!locked && errno == EWOULDBLOCK) {
    std::string who = "another process";
    if (const auto drafts = drafts_of(path); !drafts.empty())
      who += fmt::format(" ({})", drafts.front().filename().native());
    return refused(given, who + " is writing in this directory; wait until it is done");
  }
  if (locked)
    for (const fs::path& left : drafts_of(path)) fs::remove(left, ec);
  for (int n = 0; n < kDraftsMax && out.fd_ < 0; ++n) {
    out.part_ = fmt::format("{}.{}.{}.part", out.path_, ::getpid(), n);
    out.fd_ = ::open(out.part_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (out.fd_ < 0 && errno != EEXIST) break;
  }
  if (out.fd_ < 0) return cannot("cannot be created", errno);
  return out;
}

DraftFile::DraftFile(DraftFile&& other) noexcept
    : path_(std::move(other.path_)),
      part_(std::move(other.part_)),
      fd_(std::exchange(other.fd_, -1)),
      lock_(std::exchange(other.lock_, -1)),
      kept_(other.kept_) {}

DraftFile::~DraftFile() {
  if (fd_ >= 0) {
    ::close(fd_);
    if (!kept_) ::unlink(part_.c_str());
  }
  if (lock_ >= 0) ::close(lock_);
}

bool DraftFile::write(const void* data, std::size_t n, std::uint64_t at) const {
  const auto* p = static_cast<const std::uint8_t*>(data);
  while (n > 0) {
    const ssize_t done = ::pwrite(fd_, p, n, static_cast<off_t>(at));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    p += done, n -= static_cast<std::size_t>(done), at += static_cast<std::uint64_t>(done);
  }
  return true;
}

std::uint64_t DraftFile::free_bytes() const {
  struct statvfs fs {};
  return ::fstatvfs(fd_, &fs) == 0 ? fs.f_bavail * fs.f_frsize
                                   : std::numeric_limits<std::uint64_t>::max();
}

bool DraftFile::keep() {
  kept_ = ::fsync(fd_) == 0 && ::rename(part_.c_str(), path_.c_str()) == 0;
  if (kept_)
    ::fsync(lock_);  // the name, too; where it fails, the file is still whole under one name or the
                     // other
  return kept_;
}

}  // namespace lares::engine
