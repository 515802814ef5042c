// With LARES_STAMPS: every source's stamps (stamps.h), for a bench to read.
#pragma once

#include <vector>

namespace lares::kernels::cuda {

struct StampSource {
  const char* file;
  void (*read)(unsigned long long* to, bool clear);  // [0]: how many, then nanoseconds
};
inline constexpr int kStampsMax = 65536;
inline std::vector<StampSource>& stamp_sources() {
  static std::vector<StampSource> all;
  return all;
}

}  // namespace lares::kernels::cuda
