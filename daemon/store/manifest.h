// A manifest: one commit of the store, which names the extents of a chain in order and carries what
// the caller wants back with them.
//   magic, format, epoch, parent, fingerprint, n_extents, {chain_out, pos0, n_tokens, 0, bytes}*,
//       n_payload, payload, hash256 of all that
// CURRENT is one line of text: the manifest that counts, its hash, and the line's checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/store/chain_hash.h"

namespace lares::daemon::store {

inline constexpr std::uint32_t kManifestFormat = 1;
inline constexpr std::size_t kManifestExtentsMax = 65536;  // of 128 tokens still 8M tokens
inline constexpr std::size_t kPayloadBytesMax = 64u << 20;
inline constexpr std::uint64_t kEpochMax = 999'999'999'999;
inline constexpr std::size_t kCurrentBytesMax = 256;

struct ExtentRef {
  Hash256 chain_out;  // its name
  std::uint64_t pos0 = 0;
  std::uint32_t n_tokens = 0;
  std::uint64_t bytes = 0;  // of its file
  bool operator==(const ExtentRef&) const = default;
};

struct Manifest {
  std::uint64_t epoch = 0;   // counts commits, from 1
  std::uint64_t parent = 0;  // the commit before; 0: none
  Hash256 fingerprint;
  std::vector<ExtentRef> extents;  // each begins where the one before ends, the first at 0
  std::vector<std::byte> payload;
  bool operator==(const Manifest&) const = default;
};

std::vector<std::byte> encode_manifest(const Manifest& manifest);
// Or why not, in a few words
tl::expected<Manifest, std::string> decode_manifest(std::span<const std::byte> in);

std::string manifest_name(std::uint64_t epoch);               // epoch-000042.man
std::uint64_t epoch_of_manifest_name(std::string_view name);  // 0: not such a name

struct Current {
  std::uint64_t epoch = 0;
  Hash256 manifest;  // hash256 of the manifest's file
};
std::string encode_current(const Current& current);
tl::expected<Current, std::string> decode_current(std::string_view line);

}  // namespace lares::daemon::store
