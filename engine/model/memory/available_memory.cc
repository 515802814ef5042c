#include "engine/model/memory/available_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "kernels/cgroups.h"

namespace lares::engine {

std::uint64_t available_bytes() {
  std::uint64_t free = std::numeric_limits<std::uint64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  for (std::uint64_t kb = 0; meminfo >> key;
       meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n'))
    if (key == "MemAvailable:" && meminfo >> kb) free = kb * 1024;
  return std::min(free, kernels::cgroup_memory_left());
}

}  // namespace lares::engine
