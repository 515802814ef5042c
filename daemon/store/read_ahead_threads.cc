#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "daemon/store/aligned_buffer.h"
#include "daemon/store/read_ahead.h"

namespace lares::daemon::store {
namespace {

constexpr int kThreads = 8;  // they only wait for the disk; more than a few keep it no busier

DiskResult<std::size_t> read_block(const FdBlock& block, std::byte* into) {
  std::size_t done = 0;
  while (done < block.bytes) {
    const ssize_t n = ::pread(block.fd, into + done, block.bytes - done,
                              static_cast<off_t>(block.offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EINVAL && done % kDiskAlign != 0)
      break;  // a direct read that ended with the file
    if (n < 0) return tl::unexpected(errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

// Blocks that are being read or wait to be handed over; block i lies in slot i % kReadsInFlight.
class Window {
 public:
  explicit Window(std::span<const FdBlock> blocks)
      : blocks_(blocks),
        memory_(std::min<std::size_t>(blocks.size(), kReadsInFlight) * kBlockBytes) {}

  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] {
        return stop_ || next_ == blocks_.size() || next_ < taken_ + kReadsInFlight;
      });
      if (stop_ || next_ == blocks_.size()) return;
      const std::size_t i = next_++;
      lock.unlock();
      auto n = read_block(blocks_[i], slot(i));
      lock.lock();
      results_[i % kReadsInFlight] = n;
      ready_[i % kReadsInFlight] = true;
      changed_.notify_all();
    }
  }
  void hand_over(const Disk::OnBlock& on_block) {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ready_[i % kReadsInFlight]; });
      const auto n = results_[i % kReadsInFlight];
      lock.unlock();
      const bool more = n ? on_block(i, std::span<const std::byte>(slot(i), *n))
                          : on_block(i, tl::unexpected(n.error()));
      lock.lock();
      ready_[i % kReadsInFlight] = false;
      taken_ = i + 1;
      if (!more) stop_ = true;
      changed_.notify_all();
      if (!more) return;
    }
  }

 private:
  std::byte* slot(std::size_t i) const { return memory_.data() + i % kReadsInFlight * kBlockBytes; }

  std::span<const FdBlock> blocks_;
  AlignedBuffer memory_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t next_ = 0, taken_ = 0;
  bool stop_ = false;
  bool ready_[kReadsInFlight] = {};
  DiskResult<std::size_t> results_[kReadsInFlight];
};

}  // namespace

void read_ahead_threads(std::span<const FdBlock> blocks, const Disk::OnBlock& on_block) {
  if (blocks.empty()) return;
  Window window(blocks);
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < std::min<std::size_t>(kThreads, blocks.size()); ++i)
    threads.emplace_back([&] { window.work(); });
  window.hand_over(on_block);
}

}  // namespace lares::daemon::store
