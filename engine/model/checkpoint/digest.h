// Digests of many bytes, as fast as they are read: tells damaged data from whole, not forged data.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace lares::engine {

inline std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93u;
  return (x ^ (x >> 32)) * 0xD6E8FEB86659FD93u;
}

// Of a name, to begin the digest of what it names with: the same bytes under another name are
// something else.
inline std::uint64_t seed_of(std::string_view name, std::uint64_t at) {
  std::uint64_t seed = mixed(at);
  for (const char c : name) seed = mixed(seed ^ static_cast<std::uint8_t>(c));
  return seed;
}

inline std::uint64_t digest_of(const std::uint8_t* data, std::uint64_t n, std::uint64_t seed) {
  std::uint64_t lane[4] = {seed, seed + 1, seed + 2, seed + 3};
  std::uint64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    std::uint64_t word[4];
    std::memcpy(word, data + i, 32);
    for (int l = 0; l < 4; ++l)
      lane[l] = (lane[l] ^ word[l]) * 0x9E3779B97F4A7C15u + (lane[l] >> 29);
  }
  for (; i < n; ++i) lane[0] = (lane[0] ^ data[i]) * 0x9E3779B97F4A7C15u + (lane[0] >> 29);
  return mixed(lane[0] ^ mixed(lane[1] ^ mixed(lane[2] ^ mixed(lane[3]))));
}

}  // namespace lares::engine
