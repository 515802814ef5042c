// What the control groups of this process allow it: each group and those it lies in, of version 2
// and of version 1's controllers, and the tightest counts.
#pragma once

#include <cstdint>
#include <string>

namespace lares::kernels {

// Where the kernel shows them.
struct CgroupPlaces {
  std::string membership = "/proc/self/cgroup";
  // Version 2 here, or at unified; version 1's controllers by name
  std::string mounts = "/sys/fs/cgroup";
};

// CPUs' worth of time, rounded up; 0: no limit.
int cgroup_cpus(const CgroupPlaces& places = {});

// Bytes that may still be taken; pages of files count as free, for they go when they are needed.
// UINT64_MAX: no limit.
std::uint64_t cgroup_memory_left(const CgroupPlaces& places = {});

}  // namespace lares::kernels
