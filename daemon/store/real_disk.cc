#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "daemon/store/aligned_buffer.h"
#include "daemon/store/disk.h"
#include "daemon/store/read_ahead.h"

namespace lares::daemon::store {
namespace {

DiskResult<> failed() { return tl::unexpected(errno); }

class RealFile final : public File {
 public:
  RealFile(int fd, bool direct) : fd_(fd), direct_(direct) {}
  ~RealFile() override { ::close(fd_); }
  RealFile(const RealFile&) = delete;
  RealFile& operator=(const RealFile&) = delete;
  int fd() const { return fd_; }

  DiskResult<std::size_t> read(std::span<std::byte> into, std::uint64_t offset) const override {
    // A direct read that left off the grid ended with the file; the kernel would refuse to go on
    // there.
    if (direct_ && offset % kDiskAlign != 0) return 0;
    for (;;) {
      const ssize_t n = ::pread(fd_, into.data(), into.size(), static_cast<off_t>(offset));
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EINTR) return tl::unexpected(errno);
    }
  }
  DiskResult<std::size_t> write(std::span<const std::byte> bytes, std::uint64_t offset) override {
    for (;;) {
      const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EINTR) return tl::unexpected(errno);
    }
  }
  // Not posix_fallocate, which writes zeros where the file system cannot.
  DiskResult<> reserve(std::uint64_t bytes) override {
    if (bytes == 0 || ::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) == 0 ||
        errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR)
      return {};
    return failed();
  }
  DiskResult<> sync() override { return ::fdatasync(fd_) == 0 ? DiskResult<>() : failed(); }
  DiskResult<std::uint64_t> size() const override {
    struct stat st {};
    if (::fstat(fd_, &st) != 0) return tl::unexpected(errno);
    return static_cast<std::uint64_t>(st.st_size);
  }

 private:
  int fd_;
  bool direct_;
};

class RealDisk final : public Disk {
 public:
  explicit RealDisk(const RealDiskOptions& options) : options_(options) {}

  DiskResult<std::unique_ptr<File>> create(const std::string& path, Cache cache) override {
    return open_file(path, O_RDWR | O_CREAT | O_EXCL, cache);
  }
  DiskResult<std::unique_ptr<File>> open(const std::string& path, Cache cache) override {
    return open_file(path, O_RDONLY, cache);
  }
  DiskResult<> rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? DiskResult<>() : failed();
  }
  DiskResult<> unlink(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 ? DiskResult<>() : failed();
  }

  DiskResult<> make_dir(const std::string& path) override {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failed();
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return failed();
    struct stat st {};
    int error = ::fstat(fd, &st) != 0 ? errno : 0;
    if (error == 0 && st.st_uid != ::geteuid()) error = EPERM;
    if (error == 0 && (st.st_mode & 07777) != 0700 && ::fchmod(fd, 0700) != 0) error = errno;
    ::close(fd);
    if (error != 0) return tl::unexpected(error);
    return {};
  }
  DiskResult<> sync_dir(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return failed();
    const int error = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    if (error != 0) return tl::unexpected(error);
    return {};
  }
  DiskResult<std::vector<DirEntry>> list(const std::string& path) override {
    DIR* dir = ::opendir(path.c_str());
    if (!dir) return tl::unexpected(errno);
    std::vector<DirEntry> out;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(dir);
      if (!entry) break;
      const std::string name = entry->d_name;
      struct stat st {};
      if (name == "." || name == ".." ||
          ::fstatat(::dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        continue;
      if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        out.push_back({name, S_ISDIR(st.st_mode), static_cast<std::uint64_t>(st.st_size)});
    }
    const int error = errno;
    ::closedir(dir);
    if (error != 0) return tl::unexpected(error);
    return out;
  }
  DiskResult<std::unique_ptr<File>> lock(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return tl::unexpected(errno);
    auto file = std::make_unique<RealFile>(fd, false);
    while (::flock(fd, LOCK_EX | LOCK_NB) != 0)
      if (errno != EINTR) return tl::unexpected(errno);
    return file;
  }

  void read_blocks(std::span<const BlockRead> blocks, const OnBlock& on_block) override {
    std::vector<FdBlock> reads;
    reads.reserve(blocks.size());
    for (const BlockRead& b : blocks)
      reads.push_back({static_cast<const RealFile*>(b.file)->fd(), b.offset, b.bytes});
    const std::size_t done = options_.io_uring ? read_ahead_uring(reads, on_block) : 0;
    read_ahead_threads(std::span(reads).subspan(done),
                       [&](std::size_t i, DiskResult<std::span<const std::byte>> bytes) {
                         return on_block(done + i, bytes);
                       });
  }

 private:
  DiskResult<std::unique_ptr<File>> open_file(const std::string& path, int flags,
                                              Cache cache) const {
    flags |= O_CLOEXEC | O_NOFOLLOW;
    if (cache == Cache::direct && options_.direct) {
      const int fd = ::open(path.c_str(), flags | O_DIRECT, 0600);
      if (fd >= 0) return std::make_unique<RealFile>(fd, true);
      if (errno != EINVAL) return tl::unexpected(errno);
      // A file system without it (tmpfs) has made the file all the same.
      if (flags & O_EXCL) ::unlink(path.c_str());
    }
    const int fd = ::open(path.c_str(), flags, 0600);
    if (fd < 0) return tl::unexpected(errno);
    return std::make_unique<RealFile>(fd, false);
  }

  RealDiskOptions options_;
};

}  // namespace

std::unique_ptr<Disk> real_disk(const RealDiskOptions& options) {
  return std::make_unique<RealDisk>(options);
}

}  // namespace lares::daemon::store
