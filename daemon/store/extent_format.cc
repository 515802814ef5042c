#include "daemon/store/extent_format.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "daemon/store/aligned_buffer.h"
#include "daemon/store/checksum.h"
#include "daemon/store/disk.h"
#include "daemon/store/little_endian.h"

namespace lares::daemon::store {
namespace {

constexpr std::string_view kHeadMagic = "lares-extent\r\n\x1a\n",
                           kFooterMagic = "lares-ext-end\r\n\n";  // 16 bytes each
static_assert(kHeadMagic.size() == 16 && kFooterMagic.size() == 16);
constexpr std::size_t kSumBytes = 8;

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A 4-KiB piece that ends with its own checksum.
void seal(std::span<std::byte> piece) {
  LittleEndianWriter(piece.last(kSumBytes)).u64(checksum(piece.first(piece.size() - kSumBytes)));
}
bool sealed(std::span<const std::byte> piece) {
  return LittleEndianReader(piece.last(kSumBytes)).u64() ==
         checksum(piece.first(piece.size() - kSumBytes));
}

void write(LittleEndianWriter& out, const Hash256& hash) { out.bytes(hash.bytes); }
Hash256 read_hash(LittleEndianReader& in) {
  Hash256 out;
  const auto bytes = in.bytes(out.bytes.size());
  std::copy(bytes.begin(), bytes.end(), out.bytes.begin());
  return out;
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

ExtentLayout layout_of(const ExtentHeader& h) {
  ExtentLayout out{};
  out.tokens_at = kExtentHeadBytes;
  out.pages_at = out.tokens_at + disk_aligned(std::size_t{4} * h.n_tokens);
  const std::uint64_t pages = h.n_pages() == 0
                                  ? 0
                                  : (h.n_pages() - 1) * h.page_bytes + h.last_page_bytes;
  out.frontier_at = out.pages_at + disk_aligned(pages);
  out.sums_at = out.frontier_at + disk_aligned(h.frontier_bytes);
  out.n_blocks = static_cast<std::uint32_t>((out.sums_at + kBlockBytes - 1) / kBlockBytes);
  out.footer_at = out.sums_at + disk_aligned(kSumBytes * out.n_blocks);
  out.total = out.footer_at + kExtentFooterBytes;
  return out;
}

std::string impossible(const ExtentHeader& h) {
  if (h.n_tokens == 0 || h.n_tokens > kExtentTokensMax || h.n_tokens % kExtentTokensStep != 0)
    return fmt::format("{} tokens; a multiple of {} up to {} is possible", h.n_tokens,
                       kExtentTokensStep, kExtentTokensMax);
  if (h.pos0 % kExtentTokensStep != 0)
    return fmt::format("position {}; multiples of {} are possible", h.pos0, kExtentTokensStep);
  if (h.page_bytes == 0 || h.page_bytes > kPageBytesMax)
    return fmt::format("{} bytes per page; 1 to {} are possible", h.page_bytes, kPageBytesMax);
  const bool partial = h.n_tokens % kPageTokens != 0;
  if (h.last_page_bytes == 0 || h.last_page_bytes > h.page_bytes ||
      (!partial && h.last_page_bytes != h.page_bytes))
    return fmt::format("a last page of {} bytes where the others have {}", h.last_page_bytes,
                       h.page_bytes);
  if (h.frontier_bytes > kFrontierBytesMax)
    return fmt::format("a frontier of {} bytes; {} are possible", h.frontier_bytes,
                       kFrontierBytesMax);
  return {};
}

void encode_header(const ExtentHeader& h, std::span<std::byte, kExtentHeadBytes> out) {
  const ExtentLayout layout = layout_of(h);
  std::fill(out.begin(), out.end(), std::byte{0});
  LittleEndianWriter w(out);
  w.bytes(as_bytes(kHeadMagic));
  w.u32(kExtentFormat);
  w.u32(kPageTokens);
  write(w, h.fingerprint);
  write(w, h.chain_in);
  write(w, h.chain_out);
  w.u64(h.pos0);
  w.u32(h.n_tokens);
  w.u32(h.n_pages());
  w.u64(h.page_bytes);
  w.u64(h.last_page_bytes);
  w.u64(h.frontier_bytes);
  // What follows from the numbers above, for whoever reads the file without this code.
  for (const std::uint64_t at : {layout.tokens_at, layout.pages_at, layout.frontier_at,
                                 layout.sums_at, layout.footer_at, layout.total})
    w.u64(at);
  seal(out);
}

Decoded<ExtentHeader> decode_header(std::span<const std::byte> in) {
  if (in.size() < kExtentHeadBytes) return tl::unexpected<std::string>("it ends inside its header");
  in = in.first(kExtentHeadBytes);
  LittleEndianReader r(in);
  if (!same(r.bytes(kHeadMagic.size()), as_bytes(kHeadMagic)))
    return tl::unexpected<std::string>("it does not begin like an extent");
  if (!sealed(in)) return tl::unexpected<std::string>("its header's checksum is wrong");
  if (const std::uint32_t format = r.u32(); format != kExtentFormat)
    return tl::unexpected(
        fmt::format("its format is {} and this daemon reads {}", format, kExtentFormat));
  if (const std::uint32_t n = r.u32(); n != kPageTokens)
    return tl::unexpected(fmt::format("its pages have {} tokens, not {}", n, kPageTokens));
  ExtentHeader h;
  h.fingerprint = read_hash(r);
  h.chain_in = read_hash(r);
  h.chain_out = read_hash(r);
  h.pos0 = r.u64();
  h.n_tokens = r.u32();
  r.u32();  // pages: with the offsets, compared below
  h.page_bytes = r.u64();
  h.last_page_bytes = r.u64();
  h.frontier_bytes = r.u64();
  if (auto why = impossible(h); !why.empty())
    return tl::unexpected<std::string>("its header claims " + why);
  std::array<std::byte, kExtentHeadBytes> again;
  encode_header(h, again);
  if (!same(in, again)) return tl::unexpected<std::string>("its header contradicts itself");
  return h;
}

std::vector<std::byte> encode_tail(const ExtentLayout& layout, std::span<const std::byte> head,
                                   std::span<const std::uint64_t> sums) {
  std::vector<std::byte> out(layout.total - layout.sums_at);
  LittleEndianWriter table{std::span<std::byte>(out).first(kSumBytes * sums.size())};
  for (const std::uint64_t sum : sums) table.u64(sum);
  const std::array<std::span<const std::byte>, 2> tables{
      head, std::span<const std::byte>(out).first(kSumBytes * sums.size())};
  const auto footer = std::span(out).last(kExtentFooterBytes);
  LittleEndianWriter w(footer);
  w.bytes(as_bytes(kFooterMagic));
  w.u64(layout.total);
  write(w, hash256(tables));
  seal(footer);
  return out;
}

Decoded<std::vector<std::uint64_t>> decode_tail(const ExtentLayout& layout,
                                                std::span<const std::byte> head,
                                                std::span<const std::byte> in) {
  if (in.size() != layout.total - layout.sums_at)
    return tl::unexpected<std::string>("it is truncated");
  const auto footer = in.last(kExtentFooterBytes);
  LittleEndianReader r(footer);
  if (!same(r.bytes(kFooterMagic.size()), as_bytes(kFooterMagic)))
    return tl::unexpected<std::string>("it does not end like an extent");
  if (!sealed(footer)) return tl::unexpected<std::string>("its footer's checksum is wrong");
  std::vector<std::uint64_t> sums(layout.n_blocks);
  LittleEndianReader table(in);
  for (std::uint64_t& sum : sums) sum = table.u64();
  // Encoding what was read gives the same bytes, padding included, or something in them is not what
  // was written.
  if (!same(encode_tail(layout, head, sums), in))
    return tl::unexpected<std::string>("its tables do not have the hash that its footer says");
  return sums;
}

}  // namespace lares::daemon::store
