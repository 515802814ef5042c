#include "tools/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace lares::tools {
namespace {

constexpr std::size_t kXattrBytesMax = 64 << 10;
constexpr std::string_view kPrefix = ".lares-", kSuffix = ".tmp";

}  // namespace

std::string temporary_name() {
  unsigned char bytes[8] = {};
  if (::getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
    std::memset(bytes, ::getpid() & 0xff, sizeof bytes);
  std::string out(kPrefix);
  for (unsigned char byte : bytes) out += fmt::format("{:02x}", byte);
  return out.append(kSuffix);
}

bool is_temporary_name(std::string_view name) {
  return name.starts_with(kPrefix) && name.ends_with(kSuffix);
}

// A file without a name first, so that a crash before the rename leaves nothing behind; where the
// file system has no such thing, a named one.
Temporary make_temporary(int dir, unsigned mode) {
  Temporary out{Fd(::openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode)), temporary_name()};
  if (!out.fd) {
    out.fd = Fd(
        ::openat(dir, out.name.c_str(), O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, mode));
    out.named = static_cast<bool>(out.fd);
  }
  return out;
}

int give_name(int dir, Temporary& temporary) {
  if (temporary.named) return 0;
  const std::string link = fmt::format("/proc/self/fd/{}", temporary.fd.get());
  if (::linkat(AT_FDCWD, link.c_str(), dir, temporary.name.c_str(), AT_SYMLINK_FOLLOW) != 0)
    return errno;
  temporary.named = true;
  return 0;
}

int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : EIO;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

int put_file(int dir, const std::string& name, std::string_view bytes) {
  auto temporary = make_temporary(dir);
  if (!temporary.fd) return errno;
  int error = write_all(temporary.fd.get(), bytes);
  if (error == 0 && ::fsync(temporary.fd.get()) != 0) error = errno;
  if (error == 0) error = give_name(dir, temporary);
  if (error == 0 && ::renameat(dir, temporary.name.c_str(), dir, name.c_str()) != 0) error = errno;
  if (error != 0 && temporary.named) ::unlinkat(dir, temporary.name.c_str(), 0);
  if (error == 0) ::fsync(dir);
  return error;
}

void copy_xattrs(int from, int to) {
  std::vector<char> names(kXattrBytesMax), value(kXattrBytesMax);
  const ssize_t n = ::flistxattr(from, names.data(), names.size());
  for (ssize_t i = 0; i < n;) {
    const std::string name(&names[i]);
    i += static_cast<ssize_t>(name.size()) + 1;
    if (!name.starts_with("user.") && name != "system.posix_acl_access") continue;
    const ssize_t size = ::fgetxattr(from, name.c_str(), value.data(), value.size());
    if (size >= 0)
      (void)::fsetxattr(to, name.c_str(), value.data(), static_cast<std::size_t>(size), 0);
  }
}

}  // namespace lares::tools
