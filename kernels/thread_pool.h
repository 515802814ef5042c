// Threads that live as long as the engine and share out one loop at a time. What each item computes
// may not depend on who computes it, so results are the same for any number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace lares::kernels {

// CPUs this process may use: its affinity mask and its cgroup's quota, whichever is less; at
// least 1.
int usable_cpus();

class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);  // 0: usable_cpus(); the caller of run() is one of them
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;
  // Calls f(begin, end) over [0, n), in pieces of `grain` when there is more than one thread;
  // returns when all are done. `f` must not throw and must not call run() again. One caller at a
  // time.
  void run(std::int64_t n, std::int64_t grain,
           const std::function<void(std::int64_t, std::int64_t)>& f);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lares::kernels
