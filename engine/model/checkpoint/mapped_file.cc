#include "engine/model/checkpoint/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace lares::engine {
namespace {

const std::size_t kPage = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

// bytes: the kernel reads no more for one call than a device's read-ahead
constexpr std::size_t kReadAhead = 128 << 10;

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

tl::unexpected<Error> failed(const std::string& path, int error) {
  return tl::unexpected(
      Error{error == ENOENT || error == ENOTDIR ? Errc::not_found : Errc::malformed,
            fmt::format("open {}: {}", path, std::strerror(error))});
}

Result<std::size_t> regular_size(int fd, const std::string& path) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return failed(path, errno);
  if (!S_ISREG(st.st_mode))
    return tl::unexpected(Error{Errc::malformed, fmt::format("open {}: not a regular file", path)});
  return static_cast<std::size_t>(st.st_size);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return failed(path, errno);
  const auto size = regular_size(file.fd, path);
  if (!size) return tl::unexpected(size.error());
  MappedFile mapped;
  mapped.size_ = *size;
  if (*size == 0) return mapped;
  void* data = ::mmap(nullptr, *size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) return failed(path, errno);
  mapped.data_ = static_cast<const std::uint8_t*>(data);
  mapped.path_ = path;
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::uint8_t*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
}

void MappedFile::read_ahead(std::span<const std::uint8_t> part) const {
  const auto begin = static_cast<std::size_t>(part.data() - data_) / kPage * kPage;
  const auto end = static_cast<std::size_t>(part.data() + part.size() - data_);
  for (std::size_t at = begin; at < end; at += kReadAhead)
    ::madvise(const_cast<std::uint8_t*>(data_) + at, std::min(kReadAhead, end - at), MADV_WILLNEED);
}

void MappedFile::forget(std::span<const std::uint8_t> part) const {
  const auto begin = (static_cast<std::size_t>(part.data() - data_) + kPage - 1) / kPage * kPage;
  const auto end = static_cast<std::size_t>(part.data() + part.size() - data_) / kPage * kPage;
  if (begin >= end) return;
  ::madvise(const_cast<std::uint8_t*>(data_) + begin, end - begin, MADV_DONTNEED);
  if (fd_ < 0) fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ >= 0)
    ::posix_fadvise(fd_, static_cast<off_t>(begin), static_cast<off_t>(end - begin),
                    POSIX_FADV_DONTNEED);
}

Result<std::string> read_text(const std::string& path, std::size_t bytes_max) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return failed(path, errno);
  const auto size = regular_size(file.fd, path);
  if (!size) return tl::unexpected(size.error());
  if (*size > bytes_max)
    return tl::unexpected(
        Error{Errc::malformed,
              fmt::format("read {}: {} bytes, at most {} are plausible", path, *size, bytes_max)});
  std::string text(*size, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::read(file.fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(path, errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  text.resize(done);
  return text;
}

}  // namespace lares::engine
