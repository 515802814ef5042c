#include "engine/bench/team.h"

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace lares::engine::bench {
namespace {

constexpr int kSpins = 20000;  // looks before a waiting thread gives up its CPU, about 0.5 ms

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

double now(clockid_t clock) {
  timespec t;
  ::clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class F>
void wait_until(F ready) {
  for (int i = 0; !ready(); ++i) {
    relax();
    if (i > kSpins) ::sched_yield();
  }
}

struct Span {
  double begin = 0, end = 0, cpu = 0;
};

}  // namespace

struct Team::Impl {
  std::vector<std::thread> threads;
  std::vector<Span> spans;
  std::atomic<std::uint32_t> round{0}, there{0}, done{0};
  std::atomic<bool> stop{false};
  const std::function<void(int)>* work = nullptr;

  void share(int thread) {
    there.fetch_add(1, std::memory_order_acq_rel);
    wait_until([&] { return there.load(std::memory_order_acquire) == spans.size(); });
    Span& s = spans[static_cast<std::size_t>(thread)];
    // Outside the wall clock's readings, so that lost time is never invented
    const double cpu = now(CLOCK_THREAD_CPUTIME_ID);
    s.begin = now(CLOCK_MONOTONIC);
    (*work)(thread);
    s.end = now(CLOCK_MONOTONIC);
    s.cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    done.fetch_add(1, std::memory_order_acq_rel);
  }
  void worker(int thread) {
    for (std::uint32_t seen = 0;;) {
      for (int i = 0; i < kSpins && round.load(std::memory_order_acquire) == seen; ++i) relax();
      round.wait(seen, std::memory_order_acquire);
      ++seen;
      if (stop.load(std::memory_order_acquire)) return;
      share(thread);
    }
  }
};

Team::Team(int n_threads) : impl_(std::make_unique<Impl>()) {
  impl_->spans.resize(static_cast<std::size_t>(std::max(1, n_threads)));
  for (int i = 1; i < n_threads; ++i)
    impl_->threads.emplace_back([impl = impl_.get(), i] { impl->worker(i); });
}

Team::~Team() {
  impl_->stop.store(true, std::memory_order_release);
  impl_->round.fetch_add(1, std::memory_order_acq_rel);
  impl_->round.notify_all();
  for (auto& t : impl_->threads) t.join();
}

int Team::size() const { return static_cast<int>(impl_->spans.size()); }

Sample Team::run(const std::function<void(int)>& work) {
  Impl& i = *impl_;
  i.work = &work;
  i.there.store(0, std::memory_order_relaxed);
  i.done.store(0, std::memory_order_relaxed);
  i.round.fetch_add(1, std::memory_order_acq_rel);
  i.round.notify_all();
  i.share(0);
  wait_until([&] { return i.done.load(std::memory_order_acquire) == i.spans.size(); });
  double begin = i.spans[0].begin, end = i.spans[0].end, longest = 0, lost = 0;
  for (const Span& s : i.spans) {
    begin = std::min(begin, s.begin);
    end = std::max(end, s.end);
    longest = std::max(longest, s.end - s.begin);
    lost = std::max(lost, s.end - s.begin - s.cpu);
  }
  // A thread that was released late shows in no thread's own time.
  return {.seconds = end - begin, .lost = std::max(lost, end - begin - longest)};
}

Measured measure(Team& team, double seconds, const Turn& work, const Turn& reference) {
  std::vector<Sample> samples;
  std::vector<Pair> pairs;
  const auto once = [&](const Turn& f, std::int64_t turn) {
    return team.run([&](int thread) { f(thread, turn); });
  };
  once(work, 0);
  if (reference) once(reference, 0);
  const double until = now(CLOCK_MONOTONIC) + seconds;
  for (int turn = 1; turn <= kTurnsMax && (turn <= kCleanMin || now(CLOCK_MONOTONIC) < until);
       ++turn) {
    Pair p;
    if (reference && turn % 2 == 0) p.reference = once(reference, turn);
    p.work = once(work, turn);
    if (reference && turn % 2 == 1) p.reference = once(reference, turn);
    samples.push_back(p.work);
    if (reference) pairs.push_back(p);
  }
  return {summarise(samples), paired_speed(pairs)};
}

}  // namespace lares::engine::bench
