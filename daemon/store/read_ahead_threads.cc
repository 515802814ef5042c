#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

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
  // Whoever works ends; to be called before they are waited for.
  void stop() {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  // Without anybody who works.
  void read_alone(const Disk::OnBlock& on_block) {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const auto n = read_block(blocks_[i], slot(i));
      if (!hand(i, n, on_block)) return;
    }
  }
  void hand_over(const Disk::OnBlock& on_block) {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ready_[i % kReadsInFlight]; });
      const auto n = results_[i % kReadsInFlight];
      lock.unlock();
      if (!hand(i, n, on_block)) return;
      lock.lock();
      ready_[i % kReadsInFlight] = false;
      taken_ = i + 1;
      changed_.notify_all();
    }
  }

 private:
  bool hand(std::size_t i, const DiskResult<std::size_t>& n, const Disk::OnBlock& on_block) const {
    return n ? on_block(i, std::span<const std::byte>(slot(i), *n))
             : on_block(i, tl::unexpected(n.error()));
  }
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
  // Before the threads are waited for, also where on_block throws
  const std::unique_ptr<Window, void (*)(Window*)> at_end(&window, [](Window* w) { w->stop(); });
  threads.reserve(kThreads);
  try {
    for (std::size_t i = 0; i < std::min<std::size_t>(kThreads, blocks.size()); ++i)
      threads.emplace_back([&] { window.work(); });
  } catch (const std::system_error&) {  // there are no more to be had; fewer do
  }
  if (threads.empty())
    window.read_alone(on_block);
  else
    window.hand_over(on_block);
}

}  // namespace lares::daemon::store
