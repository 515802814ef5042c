// A thread that does, in the order given, what masks will need and no token should wait for.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

namespace lares::engine {

inline constexpr std::size_t kMaskJobsMax = 256;  // that wait

class MaskWorker {
 public:
  using Job = std::function<void(std::stop_token)>;  // looks at it every few milliseconds

  MaskWorker() = default;
  MaskWorker(const MaskWorker&) = delete;
  MaskWorker& operator=(const MaskWorker&) = delete;
  ~MaskWorker();  // stops the job under way; those that wait are not done

  bool post(Job job);  // false: there are too many
  void finish();       // waits until there is nothing to do

 private:
  void run(std::stop_token stop);

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Job> jobs_;
  bool busy_ = false;
  std::jthread thread_;  // begins with the first job
};

}  // namespace lares::engine
