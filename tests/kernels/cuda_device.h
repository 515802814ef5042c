// What tests on a device share: arrays that both sides have, between guards, and launches against
// their own bodies emulated on the CPU.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "kernels/cuda/device.h"
#include "tests/kernels/cuda_places.h"

namespace lares::kernels::cuda::test {

#define LARES_NEEDS_DEVICE()                                                        \
  do {                                                                              \
    Status why;                                                                     \
    if (devices(&why).empty()) GTEST_SKIP() << "no CUDA device: " << why.message(); \
  } while (0)

#define LARES_EXPECT_OK(call)                                     \
  do {                                                            \
    const Status status_of_call = (call);                         \
    ASSERT_TRUE(status_of_call.ok()) << status_of_call.message(); \
  } while (0)

// How often a launch is to give the same bits: `n`, or LARES_RERUNS where that is less, as under a
// sanitizer.
inline int reruns(int n) {
  const char* const most = std::getenv("LARES_RERUNS");
  return most ? std::min(n, std::max(1, std::atoi(most))) : n;
}

// The same elements on both sides. Those that a kernel is to write begin as what is no number,
// between marks.
template <class T>
class Mirror {
 public:
  explicit Mirror(const std::vector<T>& values) : host_(values.size()) {
    std::copy(values.begin(), values.end(), host_.data());
    initial_ = values;
    take();
  }
  explicit Mirror(std::size_t n) : host_(n) {
    initial_ = host_.values();
    take();
  }
  T* host() { return host_.data(); }
  T* device() { return device_.as<T>() + kGuard; }
  T* on(bool side) { return side ? device() : host(); }
  // Both sides as they were.
  void renew() {
    host_.poison();
    std::copy(initial_.begin(), initial_.end(), host_.data());
    upload(device_.data(), all(host_.data()), (initial_.size() + 2 * kGuard) * sizeof(T));
  }
  std::vector<T> host_values() const { return host_.values(); }
  std::vector<T> device_values() {
    std::vector<T> out(initial_.size() + 2 * kGuard);
    EXPECT_TRUE(copy_to_host(out.data(), device_.data(), out.size() * sizeof(T), nullptr).ok() &&
                synchronise(nullptr).ok());
    const std::vector<T> marks(all(host_.data()), all(host_.data()) + kGuard);
    EXPECT_TRUE(std::memcmp(out.data(), marks.data(), kGuard * sizeof(T)) == 0 &&
                std::memcmp(out.data() + out.size() - kGuard, marks.data(), kGuard * sizeof(T)) ==
                    0)
        << "written beyond the array";
    return {out.begin() + kGuard, out.end() - kGuard};
  }

 private:
  static constexpr std::size_t kGuard = 64;  // Guarded's
  static T* all(T* data) { return data - kGuard; }
  static void upload(void* to, const void* from, std::size_t bytes) {
    EXPECT_TRUE(copy_to_device(to, from, bytes, nullptr).ok() && synchronise(nullptr).ok());
  }
  void take() {
    EXPECT_TRUE(device_.allocate((initial_.size() + 2 * kGuard) * sizeof(T)).ok());
    upload(device_.data(), all(host_.data()), (initial_.size() + 2 * kGuard) * sizeof(T));
  }
  Guarded<T> host_;
  DeviceBuffer device_;
  std::vector<T> initial_;
};

// Bit for bit, as words.
template <class T>
void expect_same(const std::vector<T>& device, const std::vector<T>& emulated, const char* what) {
  ASSERT_EQ(device.size(), emulated.size());
  if (std::memcmp(device.data(), emulated.data(), device.size() * sizeof(T)) == 0) return;
  std::size_t wrong = 0, first = device.size();
  for (std::size_t i = 0; i < device.size(); ++i)
    if (std::memcmp(&device[i], &emulated[i], sizeof(T)) != 0) wrong++, first = std::min(first, i);
  ADD_FAILURE() << what << ": " << wrong << " of " << device.size() << " differ, the first at "
                << first << ": " << +device[first] << ", emulated " << +emulated[first];
}
// For what an mma sums: within a share of the largest, the worst named.
inline void expect_near(const std::vector<float>& device, const std::vector<float>& emulated,
                        double relative, const char* what) {
  ASSERT_EQ(device.size(), emulated.size());
  double most = 0, error = 0, norm = 0;
  for (std::size_t i = 0; i < device.size(); ++i) {
    ASSERT_TRUE(std::isfinite(device[i])) << what << " at " << i;
    const double d = static_cast<double>(device[i]) - emulated[i];
    error += d * d;
    norm += static_cast<double>(emulated[i]) * emulated[i];
    most = std::max(most, std::fabs(d));
  }
  EXPECT_LE(std::sqrt(error), relative * std::sqrt(norm))
      << what << ": largest difference " << most;
}

}  // namespace lares::kernels::cuda::test
