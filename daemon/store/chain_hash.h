// The names of prefixes: a hash over the token ids from the first one on, so that the same tokens
// after the same beginning have the same name, and a wrong order has none.
//   h_0 = H(fingerprint),  h_{i+1} = H(h_i || the page's token ids, u32 little-endian)
// H is SHA-256 of OpenSSL, which libgit2's development package brings anyway. A million tokens are
// 4 MB to hash, so its speed matters little; with the CPU's SHA instructions it is also the fastest
// here (tests/bench/store_bench.cc prints the rates).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/engine.h"

namespace lares::daemon::store {

inline constexpr std::uint32_t kPageTokens = 256;

struct Hash256 {
  std::array<std::byte, 32> bytes{};
  auto operator<=>(const Hash256&) const = default;
};

Hash256 hash256(std::span<const std::byte> bytes);
// Of several pieces as if they lay one behind the other.
Hash256 hash256(std::span<const std::span<const std::byte>> pieces);

// h_0: what the first extent of a chain follows.
Hash256 chain_begin(const Hash256& fingerprint);
// The hash after `tokens`, taken in pages of kPageTokens of which the last may be shorter. So a
// chain that was cut inside a page goes on under other names than one that was not.
Hash256 chain_after(Hash256 before, std::span<const engine::Token> tokens);

std::string to_hex(const Hash256& hash);  // 64 lower-case digits
std::optional<Hash256> from_hex(std::string_view hex);

}  // namespace lares::daemon::store
