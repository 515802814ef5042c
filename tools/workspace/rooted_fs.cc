#include "tools/workspace/rooted_fs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "sandbox/beneath.h"
#include "tools/atomic_file.h"

namespace lares::tools {
namespace {

constexpr std::string_view kOfTheDisk = "no file can be written here until somebody changes that";

// Of what is said of a file that could not be written.
std::string unwritten(int error) {
  const std::string what = std::strerror(error);
  if (error == ENOSPC) return fmt::format("{}: the disk is full, and {}", what, kOfTheDisk);
  if (error == EDQUOT)
    return fmt::format("{}: the disk quota is used up, and {}", what, kOfTheDisk);
  if (error == EROFS) return fmt::format("{}: {}", what, kOfTheDisk);
  return what;
}

std::string why(int error) {
  if (error == EXDEV || error == ELOOP) return "leads out of the worktree";
  if (error == ENOENT) return "does not exist";
  return fmt::format("could not be opened: {}", unwritten(error));
}

// Less where the file ends earlier. errno, or 0.
int read_up_to(int fd, std::uint64_t n_bytes, std::string& out) {
  out.resize(n_bytes);
  std::size_t n_read = 0;
  while (n_read < n_bytes) {
    const ssize_t n = ::read(fd, out.data() + n_read, n_bytes - n_read);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    n_read += static_cast<std::size_t>(n);
  }
  out.resize(n_read);
  return 0;
}

bool same_version(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
         a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

// umask() cannot be asked without being changed, and what other threads make meanwhile would be
// anybody's to write.
mode_t current_umask() {
  constexpr std::string_view kField = "\nUmask:\t";
  std::ifstream status("/proc/self/status");
  const std::string text(std::istreambuf_iterator<char>(status), {});
  mode_t mask = 022;
  if (const auto at = text.find(kField); at != std::string::npos) {
    const char* const from = text.c_str() + at + kField.size();
    std::from_chars(from, text.c_str() + text.size(), mask, 8);
  }
  return mask;
}

}  // namespace

bool names_git_directory(std::string_view path) {
  while (!path.empty()) {
    const std::size_t end = path.find('/');
    const std::string_view part = path.substr(0, end);
    if (part.size() == 4 && part[0] == '.' && (part[1] | 32) == 'g' && (part[2] | 32) == 'i' &&
        (part[3] | 32) == 't') {
      return true;
    }
    path = end == std::string_view::npos ? std::string_view() : path.substr(end + 1);
  }
  return false;
}

FsResult<RootedFs> RootedFs::open(const std::string& root) {
  RootedFs out;
  out.root_ = root;
  while (out.root_.size() > 1 && out.root_.back() == '/') out.root_.pop_back();
  out.fd_ = std::make_shared<Fd>(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!*out.fd_)
    return tl::unexpected(fmt::format("open the worktree {}: {}", root, std::strerror(errno)));
  char real[4096];
  const ssize_t n = ::readlink(fmt::format("/proc/self/fd/{}", out.fd_->get()).c_str(), real,
                               sizeof real);
  out.real_root_ = n > 0 ? std::string(real, static_cast<std::size_t>(n)) : out.root_;
  return out;
}

std::optional<std::string> RootedFs::relative(std::string_view absolute) const {
  if (absolute == root_) return "";
  if (root_ == "/") return std::string(absolute.substr(1));
  if (!absolute.starts_with(root_) || absolute.size() <= root_.size() ||
      absolute[root_.size()] != '/') {
    return std::nullopt;
  }
  absolute.remove_prefix(root_.size());
  while (absolute.starts_with('/')) absolute.remove_prefix(1);
  return std::string(absolute);
}

FsResult<Fd> RootedFs::open_beneath(const std::string& path, int flags, unsigned mode) const {
  if (path.find('\0') != std::string::npos)
    return tl::unexpected(std::string("contains a NUL byte"));
  auto fd = sandbox::open_beneath(fd_->get(), path, flags, sandbox::Links::followed, mode);
  if (!fd) return tl::unexpected(why(errno));
  return fd;
}

FsResult<Fd> RootedFs::open_parent(const std::string& path, std::string& name) const {
  if (path.find('\0') != std::string::npos)  // the name would end there
    return tl::unexpected(std::string("contains a NUL byte"));
  const std::size_t slash = path.rfind('/');
  name = slash == std::string::npos ? path : path.substr(slash + 1);
  return open_beneath(slash == std::string::npos ? "" : path.substr(0, slash),
                      O_PATH | O_DIRECTORY);
}

std::optional<std::string> RootedFs::real_path(const Fd& fd) const {
  char real[4096];
  const ssize_t n = ::readlink(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), real,
                               sizeof real);
  const std::string_view where(real, n > 0 ? static_cast<std::size_t>(n) : 0);
  if (where == real_root_) return "";
  const std::string prefix = real_root_ == "/" ? "/" : real_root_ + "/";
  if (!where.starts_with(prefix)) return std::nullopt;
  return std::string(where.substr(prefix.size()));
}

std::string RootedFs::real(const std::string& path) const {
  const auto fd = open_beneath(path, O_PATH);
  return fd ? real_path(*fd).value_or(path) : path;
}

std::string RootedFs::real_parent(const std::string& path) const {
  for (std::size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0;
       slash = path.rfind('/', slash - 1)) {
    const auto fd = open_beneath(path.substr(0, slash), O_PATH | O_DIRECTORY);
    if (fd) return real_path(*fd).value_or("");
  }
  return "";
}

bool RootedFs::lstat(const std::string& path, struct stat& out) const {
  std::string name;
  const auto parent = open_parent(path, name);
  return parent && !name.empty() &&
         ::fstatat(parent->get(), name.c_str(), &out, AT_SYMLINK_NOFOLLOW) == 0;
}

bool RootedFs::is_directory(const std::string& path) const {
  return open_beneath(path, O_PATH | O_DIRECTORY).has_value();
}

FsResult<FileData> RootedFs::open_regular(const std::string& path, Fd& fd) const {
  auto opened = open_beneath(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!opened) return tl::unexpected(std::move(opened.error()));
  fd = std::move(*opened);
  FileData out;
  if (::fstat(fd.get(), &out.stat) != 0) return tl::unexpected(why(errno));
  if (S_ISDIR(out.stat.st_mode)) return tl::unexpected(std::string("is a directory"));
  if (!S_ISREG(out.stat.st_mode)) return tl::unexpected(std::string("is not a regular file"));
  out.path = real_path(fd).value_or(path);
  return out;
}

FsResult<FileData> RootedFs::read(const std::string& path, std::uint64_t bytes_max) const {
  Fd fd;
  auto out = open_regular(path, fd);
  if (!out) return out;
  const auto size = static_cast<std::uint64_t>(out->stat.st_size);
  if (size > bytes_max) {
    return tl::unexpected(
        fmt::format("is too large: {} bytes, at most {} are read", size, bytes_max));
  }
  if (const int error = read_up_to(fd.get(), size, out->bytes))
    return tl::unexpected(fmt::format("could not be read: {}", std::strerror(error)));
  return out;
}

FsResult<FileData> RootedFs::read_head(const std::string& path, std::uint64_t n_bytes) const {
  Fd fd;
  auto out = open_regular(path, fd);
  if (!out) return out;
  n_bytes = std::min(n_bytes, static_cast<std::uint64_t>(out->stat.st_size));
  if (const int error = read_up_to(fd.get(), n_bytes, out->bytes))
    return tl::unexpected(fmt::format("could not be read: {}", std::strerror(error)));
  return out;
}

namespace {

// Whether the file of this name is still what was read. Its ctime changes with its name, and times
// have the grain of a clock tick, so the bytes decide.
bool holds(int dir, const std::string& name, const FileData& was) {
  struct stat st {};
  if (::fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_ino != was.stat.st_ino ||
      st.st_size != was.stat.st_size)
    return false;
  const Fd fd(::openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  std::string bytes;
  return fd && read_up_to(fd.get(), static_cast<std::uint64_t>(st.st_size), bytes) == 0 &&
         bytes == was.bytes;
}

constexpr std::string_view kPartly = "may be partly written now, view it";

// Keeps all the file's names one file, and its owner and group.
FsResult<> write_in_place(int fd, const FileData& was, std::string_view bytes) {
  bool partly = false;
  const int error = write_over(fd, was.bytes, bytes, partly);
  if (!error) return {};
  const auto failed = fmt::format("could not be written: {}", unwritten(error));
  return tl::unexpected(partly ? fmt::format("{}; it {}", kPartly, failed) : failed);
}

}  // namespace

bool is_partly_written(std::string_view reason) { return reason.starts_with(kPartly); }
bool is_of_the_disk(std::string_view reason) { return reason.ends_with(kOfTheDisk); }

FsResult<> RootedFs::replace(const FileData& was, std::string_view bytes) const {
  if ((was.stat.st_mode & 0222) == 0) {
    return tl::unexpected(fmt::format("is read-only (mode {:04o})", was.stat.st_mode & 07777));
  }
  std::string name;
  const auto dir = open_parent(was.path, name);
  if (!dir) return tl::unexpected(dir.error());
  const Fd old(::openat(dir->get(), name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat now {};
  if (!old) return tl::unexpected(why(errno));
  const std::string changed = "was changed by someone else meanwhile; view it again";
  if (::fstat(old.get(), &now) != 0 || !same_version(now, was.stat)) return tl::unexpected(changed);

  if (now.st_nlink > 1) return write_in_place(old.get(), was, bytes);
  Temporary temporary = make_temporary(dir->get());
  if (!temporary.fd)
    return tl::unexpected(fmt::format("could not be written: {}", unwritten(errno)));
  // Another owner's file stays theirs, and a group's; chown clears set-id bits, so the mode comes
  // after it.
  if (!give_owner(temporary.fd.get(), now)) {
    if (temporary.named) ::unlinkat(dir->get(), temporary.name.c_str(), 0);
    return write_in_place(old.get(), was, bytes);
  }
  int error = write_all(temporary.fd.get(), bytes);
  copy_xattrs(old.get(), temporary.fd.get());
  if (!error && ::fchmod(temporary.fd.get(), now.st_mode & 07777) != 0) error = errno;
  if (!error && ::fsync(temporary.fd.get()) != 0) error = errno;
  struct stat last {};
  const auto is_it = [&](const std::string& at) { return holds(dir->get(), at, was); };
  bool lost = false;
  if (!error) {
    lost = ::fstatat(dir->get(), name.c_str(), &last, AT_SYMLINK_NOFOLLOW) != 0 ||
           !same_version(last, was.stat);
    if (!lost) error = give_name(dir->get(), temporary);
    if (!lost && !error) error = take_place(dir->get(), temporary.name, name, is_it, lost);
  }
  if (lost || error) {
    if (temporary.named) ::unlinkat(dir->get(), temporary.name.c_str(), 0);
    if (lost) return tl::unexpected(changed);
    return tl::unexpected(fmt::format("could not be written: {}", unwritten(error)));
  }
  const Fd flush(::openat(dir->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // The rename itself; an error here leaves a file that is right but not yet durable
  if (flush) (void)::fsync(flush.get());
  return {};
}

FsResult<> RootedFs::remove(const FileData& was) const {
  std::string name;
  const auto dir = open_parent(was.path, name);
  if (!dir) return tl::unexpected(dir.error());
  struct stat now {};
  const auto is_it = [&](const std::string& at) { return holds(dir->get(), at, was); };
  bool lost = ::fstatat(dir->get(), name.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0 ||
              !same_version(now, was.stat);
  const int error = lost ? 0 : remove_file(dir->get(), name, is_it, lost);
  if (error) return tl::unexpected(fmt::format("could not be removed: {}", unwritten(error)));
  if (lost)
    return tl::unexpected(std::string("was changed by someone else meanwhile; view it again"));
  return {};
}

FsResult<> RootedFs::create(const std::string& path, std::string_view bytes) const {
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string dir = path.substr(0, slash);
    if (dir.empty() || is_directory(dir)) continue;
    std::string name;
    const auto parent = open_parent(dir, name);
    if (!parent) return tl::unexpected(parent.error());
    if (::mkdirat(parent->get(), name.c_str(), 0777) != 0 && errno != EEXIST)
      return tl::unexpected(why(errno));
  }
  std::string name;
  const auto dir = open_parent(path, name);
  if (!dir) return tl::unexpected(dir.error());
  if (name.empty()) return tl::unexpected(std::string("is a directory"));
  const mode_t mask = current_umask();
  Temporary temporary = make_temporary(dir->get());
  if (!temporary.fd)
    return tl::unexpected(fmt::format("could not be written: {}", unwritten(errno)));
  int error = write_all(temporary.fd.get(), bytes);
  if (!error && ::fchmod(temporary.fd.get(), 0666 & ~mask) != 0) error = errno;
  if (!error && ::fsync(temporary.fd.get()) != 0) error = errno;
  if (!error) error = give_name(dir->get(), temporary);
  // What appeared there since the check is not overwritten.
  if (!error) error = rename_to_new(dir->get(), temporary.name, name);
  if (error) {
    if (temporary.named) ::unlinkat(dir->get(), temporary.name.c_str(), 0);
    return tl::unexpected(fmt::format("could not be written: {}", unwritten(error)));
  }
  const Fd flush(::openat(dir->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (flush) (void)::fsync(flush.get());
  return {};
}

}  // namespace lares::tools
