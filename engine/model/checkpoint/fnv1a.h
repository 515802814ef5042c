// FNV-1a, 64 bits: tells damaged and foreign files from ours, not forged ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lares::engine {

struct Fnv1a {
  std::uint64_t value = 0xCBF29CE484222325u;
  void add(const void* data, std::size_t n) {
    const auto* p = static_cast<const std::uint8_t*>(data);
    for (std::size_t i = 0; i < n; ++i) value = (value ^ p[i]) * 0x100000001B3u;
  }
  void add(std::string_view text) { add(text.data(), text.size()); }
  void add(std::uint64_t n) { add(&n, sizeof n); }
};

}  // namespace lares::engine
