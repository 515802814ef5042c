// A regular expression's parts: steps along a range of bytes, and forks. Private to pattern.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace lares::engine {

struct PatternPart {
  enum class Kind : std::uint8_t { bytes, fork, match } kind = Kind::match;
  std::uint8_t low = 0, high = 0;  // bytes
  std::uint32_t next = 0;          // bytes, fork
  std::uint32_t other = 0;         // fork
};
struct PatternParts {
  std::vector<PatternPart> parts;
  std::uint32_t start = 0;
  std::size_t n_pieces = 0;  // that were looked at for them
};

tl::expected<PatternParts, std::string> parse_pattern(std::string_view expression);

}  // namespace lares::engine
