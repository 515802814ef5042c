#include "engine/model/draft/copy_index.h"

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

void CopyIndex::write(int n, std::uint64_t slot, std::int64_t place) {
  auto& to = chunk(n, slot);
  if (!to || to.use_count() > 1) {
    const auto own = std::make_shared<Chunk>();
    own->charge = Charge(memory_, sizeof(Chunk));
    if (to) own->places = to->places;
    to = own;
  }
  to->places[slot % kCopyChunk] = static_cast<std::uint32_t>(place);
}

void CopyIndex::take_in(std::span<const Token> tokens) {
  const auto size = static_cast<std::int64_t>(tokens.size());
  if (indexed_ + 1 < size) chunks_.resize((kMatchMax - kMatchMin + 1) * kChunks);
  while (indexed_ + 1 < size) {
    const auto h = hashes(tokens.first(static_cast<std::size_t>(++indexed_)));
    for (int n = kMatchMin; n <= std::min<std::int64_t>(kMatchMax, indexed_); ++n)
      write(n, h[n], indexed_);
  }
}

CopyIndex::Match CopyIndex::find(std::span<const Token> tokens) {
  const auto size = static_cast<std::int64_t>(tokens.size());
  take_in(tokens);
  if (chunks_.empty()) return {};
  const auto h = hashes(tokens);
  for (int n = static_cast<int>(std::min<std::int64_t>(kMatchMax, size)); n >= kMatchMin; --n) {
    const auto& in = chunk(n, h[n]);
    const std::int64_t place = in ? in->places[h[n] % kCopyChunk] : 0;
    if (place >= n && place < size &&
        std::equal(tokens.end() - n, tokens.end(), tokens.begin() + (place - n)))
      return {place, n};
  }
  return {};
}

void CopyIndex::drop_to(std::int64_t size) {
  const std::int64_t kept = std::max<std::int64_t>(0, size - 1);
  dropped_ = dropped_ || kept < indexed_;
  indexed_ = std::min(indexed_, kept);
}

std::uint64_t CopyIndex::bytes() const {
  std::uint64_t n = chunks_.size() * sizeof(chunks_[0]);
  for (const auto& c : chunks_)
    if (c && c.use_count() == 1) n += sizeof(Chunk);
  return n;
}

std::uint64_t CopyIndex::missing_bytes(std::int64_t n_tokens) const {
  const auto own = static_cast<std::uint64_t>(
      std::ranges::count_if(chunks_, [](const auto& c) { return c && c.use_count() == 1; }));
  return std::min(bytes_for(n_tokens),
                  ((kMatchMax - kMatchMin + 1) * kChunks - own) * sizeof(Chunk));
}

void copy_tokens(std::span<const Token> tokens, const CopyIndex::Match& match, int n,
                 std::vector<Token>& out) {
  out.clear();
  const auto size = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t i = 0; i < n; ++i)
    out.push_back(match.follows + i < size ? tokens[match.follows + i]
                                           : out[match.follows + i - size]);
}

}  // namespace lares::engine
