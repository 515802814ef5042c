#include "engine/model/memory/memory_nodes.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <climits>
#include <fstream>
#include <string>

namespace lares::engine {

std::vector<int> parse_nodes(std::string_view list) {
  std::vector<int> out;
  const char *at = list.data(), *const end = at + list.size();
  const auto number = [&](int &n) {
    const auto [next, error] = std::from_chars(at, end, n);
    at = next;
    return error == std::errc() && n >= 0 && n < kMemoryNodesMax;
  };
  while (at != end) {
    int first = 0, last = 0;
    if (!number(first)) return {};
    last = first;
    if (at != end && *at == '-') {
      ++at;
      if (!number(last) || last < first) return {};
    }
    for (int n = first; n <= last; ++n) out.push_back(n);
    if (at == end) break;
    if (*at++ != ',' || at == end) return {};
  }
  return out;
}

int spread_memory() {
  std::string list;
  std::ifstream file("/sys/devices/system/node/has_memory");
  std::getline(file, list);
  const auto nodes = parse_nodes(list);
  if (nodes.size() < 2) return 1;
  int policy = MPOL_DEFAULT;
  if (::syscall(SYS_get_mempolicy, &policy, nullptr, 0, nullptr, 0) != 0) return 1;
  if (policy == MPOL_INTERLEAVE) return static_cast<int>(nodes.size());
  if (policy != MPOL_DEFAULT) return 1;
  constexpr int kBits = sizeof(unsigned long) * CHAR_BIT;
  std::array<unsigned long, kMemoryNodesMax / kBits> mask{};
  for (const int n : nodes) mask[static_cast<std::size_t>(n / kBits)] |= 1ul << n % kBits;
  return ::syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, mask.data(), kMemoryNodesMax + 1) == 0
             ? static_cast<int>(nodes.size())
             : 1;
}

}  // namespace lares::engine
