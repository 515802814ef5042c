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
constexpr std::size_t kDigits = 16;

ino_t inode_of(int dir, const std::string& name) {
  struct stat st {};
  return ::fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

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
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return false;
  const std::string_view digits = name.substr(kPrefix.size(),
                                              name.size() - kPrefix.size() - kSuffix.size());
  return digits.size() == kDigits && digits.find_first_not_of("0123456789abcdef") == digits.npos;
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

int rename_to_new(int dir, const std::string& from, const std::string& to) {
  if (::renameat2(dir, from.c_str(), dir, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (inode_of(dir, to) != 0) return EEXIST;
  return ::renameat(dir, from.c_str(), dir, to.c_str()) == 0 ? 0 : errno;
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

int take_place(int dir, const std::string& temporary, const std::string& name, const IsIt& is_it,
               bool& lost) {
  constexpr int kTriesMax = 16;
  const auto exchange = [&] {
    return ::renameat2(dir, temporary.c_str(), dir, name.c_str(), RENAME_EXCHANGE);
  };
  ino_t older = inode_of(dir, temporary);
  if (exchange() != 0) {
    if (errno == ENOENT) return lost = true, 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    // a file system that cannot
    return ::renameat(dir, temporary.c_str(), dir, name.c_str()) == 0 ? 0 : errno;
  }
  lost = !is_it(temporary);
  for (int tries = 0; lost && tries < kTriesMax; ++tries) {
    const ino_t theirs = inode_of(dir, temporary);
    if (exchange() != 0 || inode_of(dir, temporary) == older) break;
    older = theirs;  // somebody wrote once more: what came out now is newer, and goes back in turn
  }
  return lost || ::unlinkat(dir, temporary.c_str(), 0) == 0 ? 0 : errno;
}

int remove_file(int dir, const std::string& name, const IsIt& is_it, bool& lost) {
  const std::string aside = temporary_name();
  if (const int error = rename_to_new(dir, name, aside)) return error;
  lost = !is_it(aside);
  if (lost) {
    const int error = rename_to_new(dir, aside, name);
    if (error != EEXIST) return error;  // else there is a newer one
  }
  return ::unlinkat(dir, aside.c_str(), 0) == 0 ? 0 : errno;
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

bool give_owner(int fd, const struct stat& was) {
  struct stat now {};
  const auto is_given = [&] {
    return ::fstat(fd, &now) == 0 && now.st_uid == was.st_uid && now.st_gid == was.st_gid;
  };
  if (is_given()) return true;
  if (::fchown(fd, was.st_uid, was.st_gid) != 0)
    (void)!::fchown(fd, static_cast<uid_t>(-1), was.st_gid);
  return is_given();
}

namespace {

// Room for all of it. 0 as well where the file system cannot say; then writing it will.
int reserve(int fd, std::size_t n_bytes) {
  if (n_bytes == 0) return 0;
  int error = EINTR;
  while (error == EINTR) error = ::posix_fallocate(fd, 0, static_cast<off_t>(n_bytes));
  const bool cannot = error == EINVAL || error == EOPNOTSUPP || error == ENOSYS || error == ENODEV;
  return cannot ? 0 : error;
}

int write_from_start(int fd, std::string_view bytes) {
  if (::lseek(fd, 0, SEEK_SET) != 0) return errno;
  int error = write_all(fd, bytes);
  if (!error && ::ftruncate(fd, static_cast<off_t>(bytes.size())) != 0) error = errno;
  if (!error && ::fsync(fd) != 0) error = errno;
  return error;
}

}  // namespace

int write_over(int fd, std::string_view was, std::string_view bytes, bool& partly) {
  if (const int error = reserve(fd, bytes.size())) {
    partly = ::ftruncate(fd, static_cast<off_t>(was.size())) != 0;
    return error;
  }
  const int error = write_from_start(fd, bytes);
  partly = error && write_from_start(fd, was) != 0;
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
