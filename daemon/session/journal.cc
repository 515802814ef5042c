#include "daemon/session/journal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include <boost/crc.hpp>
#include <fmt/format.h>

namespace lares::daemon {
namespace {

constexpr std::size_t kHeaderBytes = 8;

void put_u32(char* out, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(v >> (8 * i));
}

std::uint32_t get_u32(const char* in) {
  std::uint32_t v = 0;
  for (int i = 0; i < 4; ++i)
    v |= static_cast<std::uint32_t>(static_cast<unsigned char>(in[i])) << (8 * i);
  return v;
}

std::string failed(std::string_view what, std::string_view path, int error) {
  return fmt::format("{} {}: {}", what, path, std::strerror(error));
}

std::string unwritable(std::string_view path) {
  return fmt::format("write {}: an earlier write failed; restart the daemon when the disk is well",
                     path);
}

tl::expected<void, std::string> write_all(int fd, std::string_view bytes, std::uint64_t offset,
                                          std::string_view path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return tl::unexpected(failed("write", path, n < 0 ? errno : ENOSPC));
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

tl::expected<void, std::string> read_all(int fd, std::string& into, std::uint64_t offset,
                                         std::string_view path) {
  for (std::size_t done = 0; done < into.size();) {
    const ssize_t n = ::pread(fd, into.data() + done, into.size() - done,
                              static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return tl::unexpected(failed("read", path, n < 0 ? errno : EIO));
    done += static_cast<std::size_t>(n);
  }
  return {};
}

// A new name is durable only when its directory is.
void sync_directory_of(const std::string& path) {
  const std::string dir = path.substr(0, path.rfind('/'));
  const int fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

class Mapping {
 public:
  Mapping(int fd, std::size_t n) : n_(n) {
    if (n > 0) data_ = ::mmap(nullptr, n, PROT_READ, MAP_PRIVATE, fd, 0);
  }
  ~Mapping() {
    if (n_ > 0 && data_ != MAP_FAILED) ::munmap(data_, n_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  bool ok() const { return n_ == 0 || data_ != MAP_FAILED; }
  std::string_view bytes() const {
    return n_ == 0 ? std::string_view{} : std::string_view{static_cast<const char*>(data_), n_};
  }

 private:
  std::size_t n_;
  void* data_ = MAP_FAILED;
};

// Every good frame from `at` on, which then is where they end; what is wrong with the next, or
// nothing.
template <class Each>
std::string walk(std::string_view all, std::uint64_t& at, Each each) {
  while (at < all.size()) {
    const std::uint64_t left = all.size() - at;
    if (left < kHeaderBytes) return "the file ends inside a frame header";
    const std::uint32_t n = get_u32(all.data() + at), crc = get_u32(all.data() + at + 4);
    // No frame is empty: zeros are what some file systems leave of a write that a power loss cut.
    if (n == 0 || n > kFrameBytesMax) return fmt::format("a frame claims {} bytes", n);
    if (left - kHeaderBytes < n) return "the file ends inside a frame";
    const std::string_view payload = all.substr(at + kHeaderBytes, n);
    if (crc32c(payload) != crc) return "a frame's checksum is wrong";
    each(at + kHeaderBytes, payload, crc);
    at += kHeaderBytes + n;
  }
  return "";
}

}  // namespace

struct Journal::Extent {
  std::atomic<std::uint64_t> end = 0;
  std::atomic<bool> broken = false;  // part of a frame lies behind the end, and cannot be cut off
  std::mutex mutex;                  // of what follows, and held while the disk works on it
  std::uint64_t synced = 0;
  bool sync_failed = false;
};

Journal::Journal(std::string path, int fd)
    : path_(std::move(path)), fd_(fd), extent_(std::make_unique<Extent>()) {}

std::uint64_t Journal::bytes() const { return extent_->end; }

std::uint32_t crc32c(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

Journal::Journal(Journal&& other) noexcept { *this = std::move(other); }

Journal& Journal::operator=(Journal&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(extent_, other.extent_);
  std::swap(frames_, other.frames_);
  std::swap(repair_, other.repair_);
  return *this;
}

Journal::~Journal() {
  if (fd_ >= 0) ::close(fd_);
}

tl::expected<Journal, std::string> Journal::create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return tl::unexpected(failed("create journal", path, errno));
  Journal journal(path, fd);
  if (auto written = write_all(fd, kJournalMagic, 0, path); !written) {
    ::unlink(path.c_str());
    return tl::unexpected(std::move(written.error()));
  }
  journal.extent_->end = kJournalMagic.size();
  sync_directory_of(path);
  return journal;
}

tl::expected<Journal, std::string> Journal::open(const std::string& path, const OnFrame& on_frame) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return tl::unexpected(failed("open journal", path, errno));
  Journal journal(path, fd);
  if (auto loaded = journal.load(on_frame); !loaded)
    return tl::unexpected(std::move(loaded.error()));
  return journal;
}

tl::expected<void, std::string> Journal::load(const OnFrame& on_frame) {
  struct stat st {};
  if (::fstat(fd_, &st) != 0) return tl::unexpected(failed("stat journal", path_, errno));
  const Mapping mapping(fd_, static_cast<std::size_t>(st.st_size));
  if (!mapping.ok()) return tl::unexpected(failed("map journal", path_, errno));
  const std::string_view all = mapping.bytes();
  if (!all.starts_with(kJournalMagic)) {
    // A beginning of the magic is a file torn at its creation; anything else is not ours to touch.
    if (!kJournalMagic.starts_with(all))
      return tl::unexpected(fmt::format(
          "open journal {}: it does not begin with \"lares-journal 1\"; it is left alone", path_));
    if (auto written = write_all(fd_, kJournalMagic, 0, path_); !written) return written;
    extent_->end = kJournalMagic.size();
    if (!all.empty()) repair_ = {all.size(), "", "the file ends inside its header"};
    return {};
  }
  std::uint64_t at = kJournalMagic.size();
  const std::string wrong = walk(
      all, at, [&](std::uint64_t offset, std::string_view payload, std::uint32_t crc) {
        frames_.push_back({offset, static_cast<std::uint32_t>(payload.size()), crc});
        on_frame(frames_.size() - 1, payload);
      });
  if (!wrong.empty()) return cut_tail(all, at, wrong);
  extent_->end = at;
  return {};
}

tl::expected<void, std::string> Journal::scan(const std::string& path, std::uint64_t bytes,
                                              const OnFrame& on_frame) {
  Journal journal(path, ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (journal.fd_ < 0) return tl::unexpected(failed("open journal", path, errno));
  struct stat st {};
  if (::fstat(journal.fd_, &st) != 0) return tl::unexpected(failed("stat journal", path, errno));
  const Mapping mapping(journal.fd_, static_cast<std::size_t>(std::min<std::uint64_t>(
                                         bytes, static_cast<std::uint64_t>(st.st_size))));
  if (!mapping.ok()) return tl::unexpected(failed("map journal", path, errno));
  std::uint64_t at = kJournalMagic.size();
  std::size_t n = 0;
  if (!mapping.bytes().starts_with(kJournalMagic))
    return tl::unexpected(
        fmt::format("read journal {}: it does not begin with \"lares-journal 1\"", path));
  const std::string wrong = walk(
      mapping.bytes(), at,
      [&](std::uint64_t, std::string_view payload, std::uint32_t) { on_frame(n++, payload); });
  if (!wrong.empty())
    return tl::unexpected(fmt::format("read journal {}: {} at byte {}", path, wrong, at));
  return {};
}

tl::expected<void, std::string> Journal::cut_tail(std::string_view contents, std::uint64_t good,
                                                  std::string why) {
  const std::string_view tail = contents.substr(good);
  std::string side;
  int fd = -1;
  for (int i = 0; fd < 0; ++i) {  // never over an earlier one
    side = fmt::format("{}.torn-{}{}", path_, good, i == 0 ? "" : fmt::format("-{}", i));
    fd = ::open(side.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && (errno != EEXIST || i > 1000))
      return tl::unexpected(failed("keep the torn tail in", side, errno));
  }
  auto written = write_all(fd, tail, 0, side);
  if (written && ::fsync(fd) != 0) written = tl::unexpected(failed("sync", side, errno));
  ::close(fd);
  if (!written) return written;
  const std::uint64_t bytes = tail.size();
  if (::ftruncate(fd_, static_cast<off_t>(good)) != 0)
    return tl::unexpected(failed("cut journal", path_, errno));
  if (::fsync(fd_) != 0) return tl::unexpected(failed("sync journal", path_, errno));
  sync_directory_of(path_);
  extent_->end = good;
  repair_ = {bytes, side, std::move(why)};
  return {};
}

tl::expected<void, std::string> Journal::append(std::string_view payload) {
  if (extent_->broken) return tl::unexpected(unwritable(path_));
  if (payload.empty() || payload.size() > kFrameBytesMax)
    return tl::unexpected(fmt::format("write {}: a record of {} bytes; 1 to {} are allowed", path_,
                                      payload.size(), kFrameBytesMax));
  std::string frame(kHeaderBytes, '\0');
  const std::uint32_t crc = crc32c(payload);
  put_u32(frame.data(), static_cast<std::uint32_t>(payload.size()));
  put_u32(frame.data() + 4, crc);
  frame += payload;
  if (auto written = write_all(fd_, frame, extent_->end, path_); !written) {
    if (::ftruncate(fd_, static_cast<off_t>(extent_->end)) != 0) extent_->broken = true;
    return written;
  }
  frames_.push_back({extent_->end + kHeaderBytes, static_cast<std::uint32_t>(payload.size()), crc});
  extent_->end += frame.size();
  return {};
}

tl::expected<void, std::string> Journal::reserve(std::uint64_t bytes) const {
  if (extent_->broken) return tl::unexpected(unwritable(path_));
  int done = 0;
  do {
    done = ::fallocate(fd_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(extent_->end),
                       static_cast<off_t>(bytes));
  } while (done != 0 && errno == EINTR);
  if (done == 0 || errno == EOPNOTSUPP || errno == ENOSYS) return {};
  return tl::unexpected(failed("make room in", path_, errno));
}

tl::expected<void, std::string> Journal::sync() const {
  const std::lock_guard lock(extent_->mutex);
  if (extent_->sync_failed)
    return tl::unexpected(
        fmt::format("sync {}: an earlier sync failed, and it is not written again yet", path_));
  const std::uint64_t end = extent_->end;
  if (::fdatasync(fd_) != 0) {
    extent_->sync_failed = true;
    return tl::unexpected(failed("sync", path_, errno));
  }
  extent_->synced = end;
  return {};
}

// What is read here is what the kernel still has in memory; where it has let go of it, what the
// disk has, and that is not whole. Read, not mapped: a page that the disk does not give is an error
// then.
tl::expected<void, std::string> Journal::write_again() const {
  const std::lock_guard lock(extent_->mutex);
  if (extent_->broken) return tl::unexpected(unwritable(path_));
  if (!extent_->sync_failed) return {};
  const std::uint64_t begin = extent_->synced, end = extent_->end;
  std::string unsure(end - begin, '\0');
  if (auto got = read_all(fd_, unsure, begin, path_); !got) return got;
  std::uint64_t at = begin == 0 ? kJournalMagic.size() : 0;
  std::string wrong = walk(unsure, at, [](std::uint64_t, std::string_view, std::uint32_t) {});
  if (begin == 0 && !unsure.starts_with(kJournalMagic)) at = 0, wrong = "its header is gone";
  if (!wrong.empty())
    return tl::unexpected(fmt::format(
        "write {} again after a failed sync: {} at byte {}; restart the daemon, which goes on with "
        "what is before that",
        path_, wrong, begin + at));
  if (auto written = write_all(fd_, unsure, begin, path_); !written) return written;
  if (::fdatasync(fd_) != 0) return tl::unexpected(failed("sync", path_, errno));
  extent_->synced = end;
  extent_->sync_failed = false;
  return {};
}

tl::expected<std::string, std::string> Journal::read(std::size_t index) const {
  if (index >= frames_.size())
    return tl::unexpected(fmt::format("read {}: there is no frame {}", path_, index));
  const Frame& frame = frames_[index];
  std::string payload(frame.n, '\0');
  if (auto got = read_all(fd_, payload, frame.offset, path_); !got)
    return tl::unexpected(std::move(got.error()));
  if (crc32c(payload) != frame.crc)
    return tl::unexpected(fmt::format("read {}: frame {} changed on disk", path_, index));
  return payload;
}

}  // namespace lares::daemon
