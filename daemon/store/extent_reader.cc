#include "daemon/store/extent_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "daemon/store/aligned_buffer.h"
#include "daemon/store/checksum.h"
#include "daemon/store/little_endian.h"

namespace lares::daemon::store {
namespace {

static_assert(kExtentHeadBytes + 4 * kExtentTokensMax <= kBlockBytes,
              "an extent's tokens are in its first block");

tl::unexpected<FileFault> bad(std::string why) {
  return tl::unexpected(FileFault{FileFault::Kind::damaged, std::move(why)});
}

}  // namespace

std::vector<BlockRead> OpenExtent::blocks() const {
  std::vector<BlockRead> out;
  for (std::uint64_t at = 0; at < layout.sums_at; at += kBlockBytes)
    out.push_back(
        {file.get(), at,
         static_cast<std::uint32_t>(std::min<std::uint64_t>(kBlockBytes, layout.sums_at - at))});
  return out;
}

tl::expected<OpenExtent, FileFault> open_extent(Disk& disk, const std::string& path,
                                                const Hash256& fingerprint,
                                                const Hash256& chain_out) {
  auto file = disk.open(path, Disk::Cache::direct);
  if (!file) return tl::unexpected(fault_of(file.error()));
  OpenExtent out;
  out.file = std::move(*file);
  const AlignedBuffer head(kExtentHeadBytes);
  const auto n_head = read_full(*out.file, head.span(), 0);
  if (!n_head) return tl::unexpected(fault_of(n_head.error()));
  auto header = decode_header(head.span().first(*n_head));
  if (!header) return bad(std::move(header.error()));
  out.header = *header;
  if (out.header.fingerprint != fingerprint) return bad("another engine or checkpoint made it");
  if (out.header.chain_out != chain_out)
    return bad(fmt::format("it is extent {}", to_hex(out.header.chain_out)));
  out.layout = layout_of(out.header);
  const auto size = out.file->size();
  if (!size) return tl::unexpected(fault_of(size.error()));
  if (*size != out.layout.total)
    return bad(fmt::format("it has {} bytes where its header says {}", *size, out.layout.total));
  const AlignedBuffer tail(out.layout.total - out.layout.sums_at);
  const auto n_tail = read_full(*out.file, tail.span(), out.layout.sums_at);
  if (!n_tail) return tl::unexpected(fault_of(n_tail.error()));
  auto sums = decode_tail(out.layout, head.span(), tail.span().first(*n_tail));
  if (!sums) return bad(std::move(sums.error()));
  out.sums = std::move(*sums);
  return out;
}

tl::expected<void, FileFault> ExtentScan::take(DiskResult<std::span<const std::byte>> block) {
  const std::uint32_t i = next_++;
  if (!block) return tl::unexpected(fault_of(block.error()));
  const std::uint64_t at = std::uint64_t{i} * kBlockBytes;
  const auto bytes = std::min<std::uint64_t>(kBlockBytes, extent_.layout.sums_at - at);
  if (block->size() != bytes) return bad(fmt::format("it ends at {} bytes", at + block->size()));
  if (checksum(*block) != extent_.sums[i])
    return bad(fmt::format("the checksum of its bytes {}..{} is wrong", at, at + bytes));
  if (i == 0)
    if (auto ok = take_tokens(*block); !ok) return ok;
  scatter(*block, at);
  return {};
}

tl::expected<void, FileFault> ExtentScan::take_tokens(std::span<const std::byte> first_block) {
  LittleEndianReader r(
      first_block.subspan(extent_.layout.tokens_at, std::size_t{4} * extent_.header.n_tokens));
  tokens_.resize(extent_.header.n_tokens);
  for (engine::Token& token : tokens_) token = static_cast<engine::Token>(r.u32());
  if (chain_after(extent_.header.chain_in, tokens_) != extent_.header.chain_out)
    return bad("its tokens are not those of its name");
  return {};
}

std::size_t ExtentScan::copy(std::span<const std::byte> bytes, std::uint64_t at, std::uint64_t of,
                             std::uint64_t size,
                             const std::function<std::span<std::byte>()>& memory) {
  const std::size_t done = at - of, n = std::min<std::uint64_t>(bytes.size(), size - done);
  if (done == 0) {
    into_ = memory();
    if (!into_.empty() && into_.size() != size)
      std::abort();  // the caller's promise; what follows would write past its memory
  }
  if (!into_.empty()) std::memcpy(into_.data() + done, bytes.data(), n);
  return n;
}

void ExtentScan::scatter(std::span<const std::byte> block, std::uint64_t at) {
  const ExtentHeader& h = extent_.header;
  const ExtentLayout& l = extent_.layout;
  const std::uint64_t pages_end = l.pages_at + (h.n_pages() - 1) * h.page_bytes + h.last_page_bytes,
                      frontier_end = l.frontier_at + h.frontier_bytes;
  const auto skip_to = [&](std::uint64_t to) {
    const auto n = std::min<std::uint64_t>(block.size(), to - at);
    block = block.subspan(n);
    at += n;
  };
  while (!block.empty()) {
    if (at < l.pages_at) {
      skip_to(l.pages_at);
    } else if (at < pages_end) {
      const auto page = static_cast<std::uint32_t>((at - l.pages_at) / h.page_bytes);
      const std::uint64_t of = l.pages_at + page * h.page_bytes, size = h.bytes_of_page(page);
      const std::size_t n = copy(block, at, of, size, [&] {
        return sink_.page ? sink_.page(page, size) : std::span<std::byte>();
      });
      skip_to(at + n);
      if (at == of + size && sink_.page_read) sink_.page_read(page);
    } else if (at < l.frontier_at) {
      skip_to(l.frontier_at);
    } else if (at < frontier_end) {
      skip_to(at + copy(block, at, l.frontier_at, h.frontier_bytes, [&] {
                return sink_.frontier ? sink_.frontier(h.frontier_bytes) : std::span<std::byte>();
              }));
    } else {
      return;
    }
  }
}

tl::expected<std::vector<engine::Token>, FileFault> read_extent(Disk& disk,
                                                                const OpenExtent& extent,
                                                                const ExtentSink& sink) {
  ExtentScan scan(extent, sink);
  tl::expected<void, FileFault> ok;
  disk.read_blocks(extent.blocks(), [&](std::size_t, DiskResult<std::span<const std::byte>> block) {
    ok = scan.take(block);
    return ok.has_value();
  });
  if (!ok) return tl::unexpected(std::move(ok.error()));
  return std::vector<engine::Token>(scan.tokens().begin(), scan.tokens().end());
}

}  // namespace lares::daemon::store
