#include "engine/model/memory/available_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "kernels/cgroups.h"

namespace lares::engine {

namespace {

std::uint64_t meminfo_bytes(const char* name) {
  std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  for (std::uint64_t kb = 0; meminfo >> key;
       meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n'))
    if (key == name && meminfo >> kb) bytes = kb * 1024;
  return bytes;
}

}  // namespace

std::uint64_t available_bytes() {
  return std::min(meminfo_bytes("MemAvailable:"), kernels::cgroup_memory_left());
}

std::uint64_t machine_bytes() { return meminfo_bytes("MemTotal:"); }

}  // namespace lares::engine
