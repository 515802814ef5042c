#include "engine/text/grammar/mask_worker.h"

#include <utility>

namespace lares::engine {

MaskWorker::~MaskWorker() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

bool MaskWorker::post(Job job) {
  const std::lock_guard lock(mutex_);
  if (jobs_.size() >= kMaskJobsMax) return false;
  jobs_.push_back(std::move(job));
  if (!thread_.joinable())
    thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
  changed_.notify_all();
  return true;
}

void MaskWorker::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return jobs_.empty() && !busy_; });
}

void MaskWorker::run(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !jobs_.empty(); }) && !stop.stop_requested()) {
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    lock.unlock();
    job(stop);
    job = nullptr;
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace lares::engine
