#include "daemon/store/extent_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "daemon/store/aligned_buffer.h"
#include "daemon/store/checksum.h"
#include "daemon/store/little_endian.h"

namespace lares::daemon::store {
namespace {

// Enough for a device to work on several parts of one write at a time.
constexpr std::size_t kWriteBytes = 8 * kBlockBytes;

// Collects bytes into writes of kWriteBytes and sums their blocks on the way.
class Stream {
 public:
  Stream(Draft& draft, std::uint64_t bytes)
      : draft_(draft), buffer_(std::min<std::uint64_t>(kWriteBytes, bytes)) {}

  tl::expected<void, DiskFailure> add(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::size_t n = std::min(bytes.size(), buffer_.size() - fill_);
      std::memcpy(buffer_.data() + fill_, bytes.data(), n);
      fill_ += n;
      bytes = bytes.subspan(n);
      if (fill_ == buffer_.size())
        if (auto written = flush(); !written) return written;
    }
    return {};
  }
  tl::expected<void, DiskFailure> pad() {
    static constexpr std::array<std::byte, kDiskAlign> kZeros{};
    return add(std::span(kZeros).first(disk_aligned(fill_) - fill_));
  }
  // What is left; afterwards sums() has every block, and nothing more is summed.
  tl::expected<void, DiskFailure> finish() { return flush(); }
  std::span<const std::uint64_t> sums() const { return sums_; }

 private:
  tl::expected<void, DiskFailure> flush() {
    const auto bytes = buffer_.span().first(fill_);
    for (std::size_t at = 0; at < fill_; at += kBlockBytes)
      sums_.push_back(checksum(bytes.subspan(at, std::min<std::size_t>(kBlockBytes, fill_ - at))));
    fill_ = 0;
    return draft_.append(bytes);
  }

  Draft& draft_;
  AlignedBuffer buffer_;
  std::size_t fill_ = 0;
  std::vector<std::uint64_t> sums_;
};

std::vector<std::byte> encode_tokens(std::span<const engine::Token> tokens) {
  std::vector<std::byte> out(4 * tokens.size());
  LittleEndianWriter w(out);
  for (const engine::Token token : tokens) w.u32(static_cast<std::uint32_t>(token));
  return out;
}

}  // namespace

tl::expected<void, DiskFailure> write_extent(Disk& disk, const std::string& directory,
                                             const std::string& name, const ExtentHeader& header,
                                             const ExtentContents& contents) {
  const ExtentLayout layout = layout_of(header);
  auto draft = Draft::create(disk, directory, name, Disk::Cache::direct, layout.total);
  if (!draft) return tl::unexpected(std::move(draft.error()));
  std::array<std::byte, kExtentHeadBytes> head;
  encode_header(header, head);
  Stream stream(*draft, layout.sums_at);
  if (auto ok = stream.add(head); !ok) return ok;
  if (auto ok = stream.add(encode_tokens(contents.tokens)); !ok) return ok;
  if (auto ok = stream.pad(); !ok) return ok;
  for (const auto page : contents.pages)
    if (auto ok = stream.add(page); !ok) return ok;
  if (auto ok = stream.pad(); !ok) return ok;
  if (auto ok = stream.add(contents.frontier); !ok) return ok;
  if (auto ok = stream.pad(); !ok) return ok;
  if (auto ok = stream.finish(); !ok) return ok;
  const auto tail = encode_tail(layout, head, stream.sums());
  const AlignedBuffer aligned(tail.size());
  std::memcpy(aligned.data(), tail.data(), tail.size());
  if (auto ok = draft->append(aligned.span()); !ok) return ok;
  bool named = false;
  auto published = draft->publish(&named);
  if (!published && named) (void)disk.unlink(directory + "/" + name);
  return published;
}

}  // namespace lares::daemon::store
