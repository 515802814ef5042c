#include "daemon/store/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace lares::daemon::store {

std::uint64_t checksum(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace lares::daemon::store
