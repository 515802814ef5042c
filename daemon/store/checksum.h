// XXH3-64: finds bytes that changed by accident, at the speed of memory. Against a wrong order or a
// foreign file there is chain_hash.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace lares::daemon::store {

std::uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace lares::daemon::store
