// The stores of repositories that nobody works on any more.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace lares::daemon {

struct UnusedStoresLimits {
  std::chrono::hours kept{24 * 30};  // after it was used last
  // Of all stores; 0: the kStoresDiskShare-th part of their file system
  std::uint64_t bytes_max = 0;
};
inline constexpr std::uint64_t kStoresDiskShare = 4;

void mark_store_used(const std::string& store);

// Deletes what lies unused below `stores` for longer than that; and, where all are over the cap,
// those unused longest. A store that a daemon has open stays. A line for each that went, or could
// not.
std::vector<std::string> remove_unused_stores(const std::string& stores,
                                              const UnusedStoresLimits& limits);

}  // namespace lares::daemon
