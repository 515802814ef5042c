// Bytes for people: "1.5 kB", "1.5 MB", "149.00 GB".
#pragma once

#include <cstdint>
#include <string>

#include <fmt/format.h>

namespace lares::engine {

inline std::string size_text(std::uint64_t bytes) {
  const auto n = static_cast<double>(bytes);
  if (bytes < 1'000'000) return fmt::format("{:.1f} kB", n / 1e3);
  return bytes < 1'000'000'000 ? fmt::format("{:.1f} MB", n / 1e6)
                               : fmt::format("{:.2f} GB", n / 1e9);
}

}  // namespace lares::engine
