#include "daemon/store/read_ahead.h"

#ifdef LARES_URING

#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "daemon/store/aligned_buffer.h"

namespace lares::daemon::store {
namespace {

class Ring {
 public:
  Ring() : ok_(::io_uring_queue_init(kReadsInFlight, &ring_, 0) == 0) {}
  ~Ring() {
    if (ok_) ::io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  bool ok() const { return ok_; }

  // There are as many entries as reads in flight, so there always is one.
  void start(const FdBlock& block, std::byte* into, std::size_t i) {
    io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_read(entry, block.fd, into, block.bytes, block.offset);
    ::io_uring_sqe_set_data64(entry, i);
  }
  // False when the kernel takes no more (a seccomp filter may allow the ring and refuse its use).
  bool submit(std::size_t n, std::size_t* in_flight) {
    while (n > 0) {
      const int taken = ::io_uring_submit(&ring_);
      if (taken == -EINTR || taken == -EAGAIN || taken == -EBUSY) continue;
      if (taken <= 0) return false;
      n -= std::min(n, static_cast<std::size_t>(taken));
      *in_flight += static_cast<std::size_t>(taken);
    }
    return true;
  }
  // Which read has ended, and with what.
  bool wait(std::size_t* i, int* result) {
    io_uring_cqe* done = nullptr;
    int error;
    do error = ::io_uring_wait_cqe(&ring_, &done);
    while (error == -EINTR);
    if (error != 0) return false;
    *i = ::io_uring_cqe_get_data64(done);
    *result = done->res;
    ::io_uring_cqe_seen(&ring_, done);
    return true;
  }

 private:
  io_uring ring_{};
  bool ok_;
};

// The rest of a read that came back short; what stays missing is past the file's end. What the ring
// could not read is tried once more the plain way, whose error is then the disk's and not that of
// an old kernel's ring.
DiskResult<std::size_t> finish(const FdBlock& block, std::byte* into, int result) {
  std::size_t done = static_cast<std::size_t>(std::max(result, 0));
  while (done < block.bytes) {
    const ssize_t n = ::pread(block.fd, into + done, block.bytes - done,
                              static_cast<off_t>(block.offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EINVAL && done % kDiskAlign != 0) break;
    if (n < 0) return tl::unexpected(errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace

std::size_t read_ahead_uring(std::span<const FdBlock> blocks, const Disk::OnBlock& on_block) {
  if (blocks.empty()) return 0;
  const std::size_t depth = std::min<std::size_t>(blocks.size(), kReadsInFlight);
  // Outlives the ring, so that nothing is read into freed memory
  auto memory = std::make_unique<AlignedBuffer>(depth * kBlockBytes);
  Ring ring;
  if (!ring.ok()) return 0;
  const auto slot = [&](std::size_t i) { return memory->data() + i % depth * kBlockBytes; };
  std::vector<int> results(depth);
  std::vector<char> ready(depth, 0);
  std::size_t started = 0, in_flight = 0;
  const auto reap = [&] {
    std::size_t i;
    int result;
    if (!ring.wait(&i, &result)) return false;
    --in_flight;
    results[i % depth] = result;
    ready[i % depth] = 1;
    return true;
  };
  // However this ends, be it that on_block throws.
  const auto drain = [&](Ring*) {
    while (in_flight > 0 && reap()) {
    }
    if (in_flight > 0) (void)memory.release();  // the kernel may still write there
  };
  const std::unique_ptr<Ring, decltype(drain)> at_end(&ring, drain);
  for (std::size_t next = 0; next < blocks.size(); ++next) {
    std::size_t added = 0;
    for (; started < blocks.size() && started < next + depth; ++started, ++added)
      ring.start(blocks[started], slot(started), started);
    if (!ring.submit(added, &in_flight)) return next;
    while (!ready[next % depth])
      if (!reap()) return next;
    ready[next % depth] = 0;
    const auto n = finish(blocks[next], slot(next), results[next % depth]);
    const bool more = n ? on_block(next, std::span<const std::byte>(slot(next), *n))
                        : on_block(next, tl::unexpected(n.error()));
    if (!more) return blocks.size();
  }
  return blocks.size();
}

}  // namespace lares::daemon::store

#else

namespace lares::daemon::store {

std::size_t read_ahead_uring(std::span<const FdBlock>, const Disk::OnBlock&) { return 0; }

}  // namespace lares::daemon::store

#endif
