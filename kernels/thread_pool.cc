#include "kernels/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/cgroups.h"

namespace lares::kernels {
namespace {

// How long a thread looks for the next loop before it sleeps: about 20 us, some layers' worth of
// small steps. Longer steals from whoever shares the machine.
constexpr int kSpins = 1000;
constexpr std::size_t kApart = 128;  // bytes: lines come in pairs

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

int usable_cpus() {
  int n = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
  if (const int quota = cgroup_cpus(); quota > 0) n = std::min(n, quota);
  return std::max(n, 1);
}

struct ThreadPool::Impl {
  std::vector<std::thread> threads;
  // Each on lines of its own: who looks for the next loop must not take the line from those who
  // take pieces of this one, nor they from who is done.
  alignas(kApart) std::atomic<std::uint32_t> round{0};  // a new value: a new loop (or the end)
  std::atomic<bool> stop{false};
  // The loop's number (24 bits) over the pieces nobody has taken yet (40). Taking one is a
  // compare-and-swap, so a thread that wakes up late finds a foreign number or no pieces and
  // touches nothing; the caller waits only for pieces that were taken.
  alignas(kApart) std::atomic<std::uint64_t> word{0};
  alignas(kApart) std::atomic<std::int64_t> unfinished{0};  // pieces
  // Written before `word` is published, read after a piece was taken
  alignas(kApart) std::int64_t n = 0;
  std::int64_t grain = 1, pieces = 0;
  const std::function<void(std::int64_t, std::int64_t)>* f = nullptr;

  static constexpr std::uint64_t kPieces = (std::uint64_t{1} << 40) - 1;

  bool take(std::uint32_t number, std::int64_t& piece) {
    std::uint64_t now = word.load(std::memory_order_acquire);
    do {
      if (now >> 40 != (number & 0xFFFFFF) || (now & kPieces) == 0) return false;
    } while (!word.compare_exchange_weak(now, now - 1, std::memory_order_acq_rel,
                                         std::memory_order_acquire));
    piece = pieces - static_cast<std::int64_t>(now & kPieces);
    return true;
  }
  void share(std::uint32_t number) {
    std::int64_t done = 0;
    for (std::int64_t piece = 0; take(number, piece); ++done)
      (*f)(piece * grain, std::min((piece + 1) * grain, n));
    if (done > 0 && unfinished.fetch_sub(done, std::memory_order_acq_rel) == done)
      unfinished.notify_one();
  }
  void worker() {
    std::uint32_t seen = 0;
    for (;;) {
      std::uint32_t now = round.load(std::memory_order_acquire);
      for (int i = 0; now == seen && i < kSpins; ++i) {
        relax();
        now = round.load(std::memory_order_acquire);
      }
      while (now == seen) {
        round.wait(seen, std::memory_order_acquire);
        now = round.load(std::memory_order_acquire);
      }
      seen = now;
      if (stop.load(std::memory_order_acquire)) return;
      share(now);
    }
  }
};

ThreadPool::ThreadPool(int n_threads) : impl_(std::make_unique<Impl>()) {
  const int n = n_threads > 0 ? n_threads : usable_cpus();
  for (int i = 1; i < n; ++i) impl_->threads.emplace_back([impl = impl_.get()] { impl->worker(); });
}

ThreadPool::~ThreadPool() {
  impl_->stop.store(true, std::memory_order_release);
  impl_->round.fetch_add(1, std::memory_order_acq_rel);
  impl_->round.notify_all();
  for (auto& t : impl_->threads) t.join();
}

int ThreadPool::size() const { return static_cast<int>(impl_->threads.size()) + 1; }

void ThreadPool::run(std::int64_t n, std::int64_t grain,
                     const std::function<void(std::int64_t, std::int64_t)>& f) {
  if (n <= 0) return;
  if (impl_->threads.empty() || n <= grain) {
    f(0, n);
    return;
  }
  impl_->n = n;
  impl_->grain = std::max<std::int64_t>(grain, 1);
  impl_->pieces = (n + impl_->grain - 1) / impl_->grain;
  impl_->f = &f;
  impl_->unfinished.store(impl_->pieces, std::memory_order_relaxed);
  const std::uint32_t number = impl_->round.load(std::memory_order_relaxed) + 1;
  impl_->word.store((static_cast<std::uint64_t>(number & 0xFFFFFF) << 40) |
                        static_cast<std::uint64_t>(impl_->pieces),
                    std::memory_order_release);
  impl_->round.store(number, std::memory_order_release);
  impl_->round.notify_all();
  impl_->share(number);
  for (int i = 0; i < kSpins && impl_->unfinished.load(std::memory_order_acquire) != 0; ++i)
    relax();
  for (std::int64_t left; (left = impl_->unfinished.load(std::memory_order_acquire)) != 0;)
    impl_->unfinished.wait(left);
}

}  // namespace lares::kernels
