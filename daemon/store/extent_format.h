// An extent: up to kExtentTokensMax tokens of a chain with their pages, and the frontier after the
// last of them, in one immutable file that is named by the chain hash at its end.
//
//   header     4 KiB: magic, format, fingerprint, chain_in, chain_out, pos0, n_tokens, sizes; its
//              checksum last
//   tokens     u32 each
//   pages      one blob after another, page_bytes each, the last one last_page_bytes
//   frontier   one blob
//   sums       a u64 checksum per kBlockBytes of all the above, by offset in the file
//   footer     4 KiB: magic, bytes in the file, hash256(header, sums); its checksum last
//
// Each begins on a multiple of 4 KiB, after zeros. All numbers little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/store/chain_hash.h"

namespace lares::daemon::store {

inline constexpr std::uint32_t kExtentFormat = 1;
inline constexpr std::uint32_t kExtentTokensMax = 16384, kExtentTokensStep = 128;
inline constexpr std::uint64_t kPageBytesMax = 64u << 20, kFrontierBytesMax = 256u << 20;
inline constexpr std::size_t kExtentHeadBytes = 4096, kExtentFooterBytes = 4096;

struct ExtentHeader {
  Hash256 fingerprint, chain_in, chain_out;
  std::uint64_t pos0 = 0;        // tokens before it
  std::uint32_t n_tokens = 0;    // 1..kExtentTokensMax, a multiple of kExtentTokensStep
  std::uint64_t page_bytes = 0;  // of every page
  // Of the last, which is smaller only when it holds fewer than kPageTokens
  std::uint64_t last_page_bytes = 0;
  std::uint64_t frontier_bytes = 0;  // may be 0
  bool operator==(const ExtentHeader&) const = default;

  std::uint32_t n_pages() const { return (n_tokens + kPageTokens - 1) / kPageTokens; }
  std::uint64_t bytes_of_page(std::uint32_t i) const {
    return i + 1 == n_pages() ? last_page_bytes : page_bytes;
  }
};

// Where things are, in bytes from the file's beginning.
struct ExtentLayout {
  std::uint64_t tokens_at, pages_at, frontier_at, sums_at, footer_at, total;
  std::uint32_t n_blocks;  // of kBlockBytes below sums_at, the last one smaller
};
ExtentLayout layout_of(const ExtentHeader& header);

// Why the header's numbers are not possible; empty when they are.
std::string impossible(const ExtentHeader& header);

template <class T>
using Decoded = tl::expected<T, std::string>;  // or why not, in a few words

void encode_header(const ExtentHeader& header, std::span<std::byte, kExtentHeadBytes> out);
Decoded<ExtentHeader> decode_header(std::span<const std::byte> in);

// The sums and the footer, as they follow the frontier. `head` is the encoded header.
std::vector<std::byte> encode_tail(const ExtentLayout& layout, std::span<const std::byte> head,
                                   std::span<const std::uint64_t> sums);
// The sums. `in` begins at layout.sums_at.
Decoded<std::vector<std::uint64_t>> decode_tail(const ExtentLayout& layout,
                                                std::span<const std::byte> head,
                                                std::span<const std::byte> in);

}  // namespace lares::daemon::store
