#include "daemon/store/manifest.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "daemon/store/checksum.h"
#include "daemon/store/little_endian.h"

namespace lares::daemon::store {
namespace {

constexpr std::string_view kMagic = "lares-manifest\n\x1a";
constexpr std::size_t kHashBytes = 32, kFixedBytes = 16 + 4 + 4 + 8 + 8 + kHashBytes,
                      kExtentBytes = kHashBytes + 8 + 4 + 4 + 8;
static_assert(kMagic.size() == 16);

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

Hash256 read_hash(LittleEndianReader& in) {
  Hash256 out;
  const auto bytes = in.bytes(kHashBytes);
  std::copy(bytes.begin(), bytes.end(), out.bytes.begin());
  return out;
}

std::string current_line(const Current& current) {
  return fmt::format("lares-current 1 {} {}", manifest_name(current.epoch),
                     to_hex(current.manifest));
}

}  // namespace

std::vector<std::byte> encode_manifest(const Manifest& m) {
  std::vector<std::byte> out(kFixedBytes + kExtentBytes * m.extents.size() + 8 + m.payload.size() +
                             kHashBytes);
  LittleEndianWriter w(out);
  w.bytes(as_bytes(kMagic));
  w.u32(kManifestFormat);
  w.u32(static_cast<std::uint32_t>(m.extents.size()));
  w.u64(m.epoch);
  w.u64(m.parent);
  w.bytes(m.fingerprint.bytes);
  for (const ExtentRef& e : m.extents) {
    w.bytes(e.chain_out.bytes);
    w.u64(e.pos0);
    w.u32(e.n_tokens);
    w.u32(0);
    w.u64(e.bytes);
  }
  w.u64(m.payload.size());
  w.bytes(m.payload);
  w.bytes(hash256(std::span<const std::byte>(out).first(w.at())).bytes);
  return out;
}

tl::expected<Manifest, std::string> decode_manifest(std::span<const std::byte> in) {
  LittleEndianReader r(in);
  if (!same(r.bytes(kMagic.size()), as_bytes(kMagic)))
    return tl::unexpected<std::string>("it does not begin like a manifest");
  if (in.size() < kFixedBytes + 8 + kHashBytes)
    return tl::unexpected<std::string>("it is truncated");
  if (!same(hash256(in.first(in.size() - kHashBytes)).bytes, in.last(kHashBytes)))
    return tl::unexpected<std::string>("its hash is wrong");
  // From here on it is what some daemon wrote, if not this version of it.
  if (const std::uint32_t format = r.u32(); format != kManifestFormat)
    return tl::unexpected(
        fmt::format("its format is {} and this daemon reads {}", format, kManifestFormat));
  const std::uint32_t n = r.u32();
  if (n > kManifestExtentsMax)
    return tl::unexpected(
        fmt::format("it names {} extents; {} are possible", n, kManifestExtentsMax));
  Manifest m;
  m.epoch = r.u64();
  m.parent = r.u64();
  m.fingerprint = read_hash(r);
  std::uint64_t pos = 0;
  for (std::uint32_t i = 0; i < n && r.ok(); ++i) {
    ExtentRef e;
    e.chain_out = read_hash(r);
    e.pos0 = r.u64();
    e.n_tokens = r.u32();
    r.u32();
    e.bytes = r.u64();
    if (e.pos0 != pos)
      return tl::unexpected(
          fmt::format("its extent {} begins at {} and not at {}", i, e.pos0, pos));
    pos += e.n_tokens;
    m.extents.push_back(e);
  }
  const std::uint64_t n_payload = r.u64();
  if (!r.ok() || n_payload > kPayloadBytesMax || in.size() - r.at() != n_payload + kHashBytes)
    return tl::unexpected<std::string>("its sizes contradict each other");
  const auto payload = r.bytes(n_payload);
  m.payload.assign(payload.begin(), payload.end());
  return m;
}

std::string manifest_name(std::uint64_t epoch) { return fmt::format("epoch-{:06}.man", epoch); }

std::uint64_t epoch_of_manifest_name(std::string_view name) {
  constexpr std::string_view kBegin = "epoch-", kEnd = ".man";
  if (!name.starts_with(kBegin) || !name.ends_with(kEnd) ||
      name.size() < kBegin.size() + kEnd.size())
    return 0;
  const std::string_view digits = name.substr(kBegin.size(),
                                              name.size() - kBegin.size() - kEnd.size());
  std::uint64_t epoch = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), epoch);
  // The name must be the one this epoch gets: not two names for one.
  if (error != std::errc() || end != digits.data() + digits.size() || epoch > kEpochMax ||
      manifest_name(epoch) != name)
    return 0;
  return epoch;
}

std::string encode_current(const Current& current) {
  const std::string line = current_line(current);
  return fmt::format("{} {:016x}\n", line, checksum(as_bytes(line)));
}

tl::expected<Current, std::string> decode_current(std::string_view line) {
  constexpr std::string_view kBegin = "lares-current 1 ";
  constexpr std::size_t kHex = 64, kSum = 16;
  if (line.size() < kBegin.size() + kHex + kSum + 3 || !line.starts_with(kBegin))
    return tl::unexpected<std::string>("it does not begin like a CURRENT of this format");
  const std::size_t name_bytes = line.size() - kBegin.size() - kHex - kSum - 3;
  Current out;
  out.epoch = epoch_of_manifest_name(line.substr(kBegin.size(), name_bytes));
  const auto hash = from_hex(line.substr(kBegin.size() + name_bytes + 1, kHex));
  if (out.epoch == 0 || !hash) return tl::unexpected<std::string>("it names no manifest");
  out.manifest = *hash;
  if (encode_current(out) != line) return tl::unexpected<std::string>("its checksum is wrong");
  return out;
}

}  // namespace lares::daemon::store
