// Whether a call is to stop, which one that writes does not heed while it would leave something
// half done.
#pragma once

#include <atomic>

#include "tools/off_thread.h"

namespace lares::tools::git {

inline constexpr const char* kCancelled = "cancelled";

// `cancelled` outlives it, and may be set by any thread; all else is the calling thread's.
class Stop {
 public:
  explicit Stop(const Cancelled& cancelled) : cancelled_(cancelled) {}
  bool requested() const { return heeds_ && cancelled_.load(std::memory_order_relaxed); }
  void heed(bool heeds) { heeds_ = heeds; }

 private:
  const Cancelled& cancelled_;
  bool heeds_ = true;
};

}  // namespace lares::tools::git
