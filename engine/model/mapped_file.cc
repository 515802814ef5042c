#include "engine/model/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace lares::engine {
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

tl::unexpected<Error> failed(const std::string& path, int error) {
  return tl::unexpected(Error{error == ENOENT || error == ENOTDIR ? Errc::not_found : Errc::malformed,
                              fmt::format("open {}: {}", path, std::strerror(error))});
}

Result<std::size_t> regular_size(int fd, const std::string& path) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return failed(path, errno);
  if (!S_ISREG(st.st_mode)) return tl::unexpected(Error{Errc::malformed, fmt::format("open {}: not a regular file", path)});
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
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::uint8_t*>(data_), size_);
}

Result<std::string> read_text(const std::string& path, std::size_t bytes_max) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return failed(path, errno);
  const auto size = regular_size(file.fd, path);
  if (!size) return tl::unexpected(size.error());
  if (*size > bytes_max)
    return tl::unexpected(Error{Errc::malformed, fmt::format("read {}: {} bytes, at most {} are plausible", path, *size, bytes_max)});
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
