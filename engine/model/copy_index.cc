#include "engine/model/copy_index.h"

#include <algorithm>

namespace lares::engine {

CopyIndex::Hashes CopyIndex::hashes(std::span<const Token> tokens) {
  Hashes out{};
  std::uint64_t h = 0x9E3779B97F4A7C15u;
  for (int n = 1; n <= kMatchMax && static_cast<std::size_t>(n) <= tokens.size(); ++n) {
    h = (h ^ static_cast<std::uint64_t>(tokens[tokens.size() - n])) * 0xBF58476D1CE4E5B9u;
    h ^= h >> 29;
    out[n] = h % kCopySlots;
  }
  return out;
}

CopyIndex::Match CopyIndex::find(std::span<const Token> tokens) {
  const auto size = static_cast<std::int64_t>(tokens.size());
  for (int n = kMatchMin; n <= kMatchMax; ++n) places_[n].resize(kCopySlots);
  while (indexed_ + 1 < size) {
    const auto h = hashes(tokens.first(++indexed_));
    for (int n = kMatchMin; n <= std::min<std::int64_t>(kMatchMax, indexed_); ++n) places_[n][h[n]] = static_cast<std::uint32_t>(indexed_);
  }
  const auto h = hashes(tokens);
  for (int n = static_cast<int>(std::min<std::int64_t>(kMatchMax, size)); n >= kMatchMin; --n) {
    const std::int64_t place = places_[n][h[n]];
    if (place >= n && place < size && std::equal(tokens.end() - n, tokens.end(), tokens.begin() + (place - n))) return {place, n};
  }
  return {};
}

void CopyIndex::drop_to(std::int64_t size) { indexed_ = std::min(indexed_, std::max<std::int64_t>(0, size - 1)); }

void copy_tokens(std::span<const Token> tokens, const CopyIndex::Match& match, int n, std::vector<Token>& out) {
  out.clear();
  const auto size = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t i = 0; i < n; ++i) out.push_back(match.follows + i < size ? tokens[match.follows + i] : out[match.follows + i - size]);
}

}  // namespace lares::engine
