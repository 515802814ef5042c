#include "daemon/store/disk.h"

#include <cerrno>

#include "daemon/store/aligned_buffer.h"

namespace lares::daemon::store {

DiskResult<std::size_t> read_full(const File& file, std::span<std::byte> into,
                                  std::uint64_t offset) {
  std::size_t done = 0;
  while (done < into.size()) {
    const auto n = file.read(into.subspan(done), offset + done);
    if (!n) return tl::unexpected(n.error());
    if (*n == 0) break;
    done += *n;
  }
  return done;
}

DiskResult<> write_full(File& file, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const auto n = file.write(bytes, offset);
    if (!n) return tl::unexpected(n.error());
    if (*n == 0) return tl::unexpected(ENOSPC);
    bytes = bytes.subspan(*n);
    offset += *n;
  }
  return {};
}

void Disk::read_blocks(std::span<const BlockRead> blocks, const OnBlock& on_block) {
  const AlignedBuffer buffer(kBlockBytes);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto n = read_full(*blocks[i].file, buffer.span().first(blocks[i].bytes),
                             blocks[i].offset);
    const bool more = n ? on_block(i, std::span<const std::byte>(buffer.data(), *n))
                        : on_block(i, tl::unexpected(n.error()));
    if (!more) return;
  }
}

}  // namespace lares::daemon::store
