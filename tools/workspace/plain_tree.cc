#include "tools/workspace/plain_tree.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sandbox/beneath.h"
#include "tools/workspace/file_stamp.h"

namespace lares::tools {
namespace {

constexpr std::size_t kLinkBytesMax = 4096;
constexpr std::size_t kGrowBytes = 64 << 10;

Errno<Fd> open_below(int root, const std::string& path, int flags) {
  auto fd = sandbox::open_beneath(root, path, flags | O_DIRECTORY, sandbox::Links::refused);
  if (!fd) return tl::unexpected(errno);
  return fd;
}

// To the file's end, wherever that has gone since its size was asked.
int read_all(int fd, std::uint64_t size, std::uint64_t bytes_max, std::string& out) {
  out.resize(size + 1);  // one more, so that the end is seen without growing
  for (std::size_t n = 0;;) {
    const ssize_t got = ::read(fd, out.data() + n, out.size() - n);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    n += static_cast<std::size_t>(got);
    if (n > bytes_max) return EFBIG;
    if (got == 0) return out.resize(n), 0;
    if (n == out.size()) out.resize(n + kGrowBytes);
  }
}

Errno<PlainFile> read_link(int directory, const std::string& name) {
  PlainFile out;
  out.bytes.resize(kLinkBytesMax);
  if (::fstatat(directory, name.c_str(), &out.stat, AT_SYMLINK_NOFOLLOW) != 0)
    return tl::unexpected(errno);
  const ssize_t n = ::readlinkat(directory, name.c_str(), out.bytes.data(), out.bytes.size());
  if (n < 0) return tl::unexpected(errno);
  out.bytes.resize(static_cast<std::size_t>(n));
  struct stat after {};
  out.torn = ::fstatat(directory, name.c_str(), &after, AT_SYMLINK_NOFOLLOW) != 0 ||
             stamp_of(after) != stamp_of(out.stat);
  return out;
}

}  // namespace

std::string why_not(int error) {
  if (error == ELOOP || error == EXDEV) return "a symlink is in its way";
  if (error == ENOTDIR) return "a file is in the way of its directory";
  if (error == EFBIG) return "too large";
  if (error == EINVAL) return "not a regular file";
  return std::strerror(error);
}

Errno<PlainTree> PlainTree::open(const std::string& root) {
  PlainTree out;
  out.root_ = std::make_shared<Fd>(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!*out.root_) return tl::unexpected(errno);
  return out;
}

Errno<Fd> PlainTree::directory(const std::string& path) const {
  return open_below(root_->get(), path, O_PATH);
}

Errno<Fd> PlainTree::open_directory(const std::string& path) const {
  return open_below(root_->get(), path, O_RDONLY);
}

Errno<Fd> PlainTree::parent(const std::string& path, std::string& name) const {
  const std::size_t slash = path.rfind('/');
  name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") return tl::unexpected(EINVAL);
  return directory(slash == std::string::npos ? "" : path.substr(0, slash));
}

Errno<Fd> PlainTree::make_parent(const std::string& path, std::string& name) const {
  auto there = parent(path, name);
  if (there || there.error() != ENOENT) return there;
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    std::string own;
    const auto above = parent(path.substr(0, slash), own);
    if (!above) return tl::unexpected(above.error());
    if (::mkdirat(above->get(), own.c_str(), 0777) != 0 && errno != EEXIST)
      return tl::unexpected(errno);
  }
  return parent(path, name);
}

bool PlainTree::lstat(const std::string& path, struct stat& out) const {
  std::string name;
  const auto at = parent(path, name);
  return at && ::fstatat(at->get(), name.c_str(), &out, AT_SYMLINK_NOFOLLOW) == 0;
}

Errno<PlainFile> PlainTree::read(const std::string& path, std::uint64_t bytes_max) const {
  std::string name;
  const auto at = parent(path, name);
  if (!at) return tl::unexpected(at.error());
  const Fd fd(
      ::openat(at->get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd && errno == ELOOP) return read_link(at->get(), name);
  if (!fd) return tl::unexpected(errno);
  PlainFile out;
  if (::fstat(fd.get(), &out.stat) != 0) return tl::unexpected(errno);
  if (!S_ISREG(out.stat.st_mode)) return tl::unexpected(EINVAL);
  if (static_cast<std::uint64_t>(out.stat.st_size) > bytes_max) return tl::unexpected(EFBIG);
  const int error = read_all(fd.get(), static_cast<std::uint64_t>(out.stat.st_size), bytes_max,
                             out.bytes);
  if (error) return tl::unexpected(error);
  struct stat after {};
  out.torn = ::fstat(fd.get(), &after) != 0 || stamp_of(after) != stamp_of(out.stat) ||
             static_cast<std::uint64_t>(after.st_size) != out.bytes.size();
  return out;
}

}  // namespace lares::tools
