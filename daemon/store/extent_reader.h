// Reads one extent's file: first all that says what it is, then its blocks in order, each verified
// before a byte of it goes anywhere.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "daemon/store/disk.h"
#include "daemon/store/draft.h"
#include "daemon/store/extent_format.h"

namespace lares::daemon::store {

struct OpenExtent {
  std::unique_ptr<File> file;
  ExtentHeader header;
  ExtentLayout layout;
  std::vector<std::uint64_t> sums;
  std::vector<BlockRead> blocks() const;
};
// Header, tables, footer and length are whole, and it is the extent `chain_out` of this
// fingerprint.
tl::expected<OpenExtent, FileFault> open_extent(Disk& disk, const std::string& path,
                                                const Hash256& fingerprint,
                                                const Hash256& chain_out);

// Memory for what is read, of exactly `bytes`; or none, for what is not wanted. `page_read`, when
// there is one, is told when all of a page is verified and in its place.
struct ExtentSink {
  std::function<std::span<std::byte>(std::uint32_t page, std::size_t bytes)> page;
  std::function<std::span<std::byte>(std::size_t bytes)> frontier;
  std::function<void(std::uint32_t page)> page_read;
};

class ExtentScan {
 public:
  // Both must outlive it.
  ExtentScan(const OpenExtent& extent, const ExtentSink& sink) : extent_(extent), sink_(sink) {}
  // Block after block, from the first. An error is why the extent is bad, and then nothing more of
  // it is taken.
  tl::expected<void, FileFault> take(DiskResult<std::span<const std::byte>> block);
  bool complete() const { return next_ == extent_.layout.n_blocks; }
  std::span<const engine::Token> tokens() const { return tokens_; }

 private:
  tl::expected<void, FileFault> take_tokens(std::span<const std::byte> first_block);
  void scatter(std::span<const std::byte> block, std::uint64_t at);
  // A piece of one page or of the frontier; `of` is its first byte's offset in the file.
  std::size_t copy(std::span<const std::byte> bytes, std::uint64_t at, std::uint64_t of,
                   std::uint64_t size, const std::function<std::span<std::byte>()>& memory);

  const OpenExtent& extent_;
  const ExtentSink& sink_;
  std::uint32_t next_ = 0;  // block
  std::vector<engine::Token> tokens_;
  std::span<std::byte> into_;  // of the page or frontier under way
};

// The whole extent, on its own.
tl::expected<std::vector<engine::Token>, FileFault> read_extent(Disk& disk,
                                                                const OpenExtent& extent,
                                                                const ExtentSink& sink);

}  // namespace lares::daemon::store
