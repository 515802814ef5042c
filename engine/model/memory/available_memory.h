// What this process may still take without pushing others out.
#pragma once

#include <cstdint>

namespace lares::engine {

// Bytes: the machine's available memory, or what the tightest of this process's cgroups leaves it.
// Pages of files that nobody writes count as available: they go when they are needed. The greatest
// number where nothing is known.
std::uint64_t available_bytes();

// Bytes of the machine, whoever has them. The greatest number where nothing is known.
std::uint64_t machine_bytes();

}  // namespace lares::engine
