// Reading many blocks with kReadsInFlight of them under way, handed over in order: what a device
// needs to give all it has.
#pragma once

#include <cstdint>
#include <span>

#include "daemon/store/disk.h"

namespace lares::daemon::store {

struct FdBlock {
  int fd;
  std::uint64_t offset;
  std::uint32_t bytes;
};

// How many of the blocks are dealt with: all, also when on_block ended early; or fewer, down to 0
// where io_uring is not built in or the kernel refuses it, as in most containers. The others are
// for read_ahead_threads.
std::size_t read_ahead_uring(std::span<const FdBlock> blocks, const Disk::OnBlock& on_block);
void read_ahead_threads(std::span<const FdBlock> blocks, const Disk::OnBlock& on_block);

}  // namespace lares::daemon::store
