// Memory nodes (NUMA): every thread reads every weight, so weights belong on all nodes alike, where
// one node's bandwidth is not the limit.
#pragma once

#include <string_view>
#include <vector>

namespace lares::engine {

inline constexpr int kMemoryNodesMax = 1024;

// Nodes of a list as Linux writes it, "0-1,4"; empty when it is none.
std::vector<int> parse_nodes(std::string_view list);

// Spreads what this thread and those it starts allocate and read from files from now on over all
// nodes that have memory, unless a policy is set already (numactl). Returns over how many it is
// spread: 1 when there is nothing to spread.
int spread_memory();

}  // namespace lares::engine
