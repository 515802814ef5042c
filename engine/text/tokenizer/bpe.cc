#include "engine/text/tokenizer/bpe.h"

#include <atomic>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>
#include <queue>

namespace lares::engine {
namespace {

std::uint64_t pair_of(Token left, Token right) {
  return std::uint64_t(std::uint32_t(left)) << 32 | std::uint32_t(right);
}
std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 31;
  x *= 0x9E3779B97F4A7C15u;
  return x ^ x >> 29;
}

// Words recur, so most pieces of a text have been encoded before. Direct-mapped: a collision only
// costs the merge again.
struct CacheEntry {
  static constexpr std::size_t kBytesMax = 24, kTokensMax = 8;
  std::uint32_t serial = 0;  // 0: empty
  std::uint8_t n_bytes = 0, n_tokens = 0;
  char bytes[kBytesMax];
  Token tokens[kTokensMax];
};
constexpr std::size_t kCacheEntries = 1 << 14;

CacheEntry& cache_entry(std::string_view piece) {
  thread_local std::unique_ptr<CacheEntry[]> cache = std::make_unique<CacheEntry[]>(kCacheEntries);
  std::uint64_t words[3] = {};
  std::memcpy(words, piece.data(), piece.size());
  const std::uint64_t hash = mix(words[0] ^ mix(words[1] ^ mix(words[2] + piece.size())));
  return cache[hash >> 32 & (kCacheEntries - 1)];
}

// A piece up to this long is merged by scanning all pairs for the lowest rank; beyond, with a heap.
constexpr std::size_t kShort = 48;

}  // namespace

Bpe::Bpe(const std::vector<Merge>& merges, const std::array<Token, 256>& bytes) : bytes_(bytes) {
  static std::atomic<std::uint32_t> serials{0};
  serial_ = ++serials;
  slots_.resize(std::bit_ceil(2 * merges.size() + 2));
  mask_ = slots_.size() - 1;
  for (std::uint32_t rank = 0; rank < merges.size(); ++rank) {
    const std::uint64_t pair = pair_of(merges[rank].left, merges[rank].right);
    std::uint64_t at = mix(pair) & mask_;
    while (slots_[at].pair != kNoPair && slots_[at].pair != pair) at = (at + 1) & mask_;
    // A pair listed twice keeps its last rank, as in a map filled in order.
    slots_[at] = {pair, rank, merges[rank].result};
  }
}

Bpe::Found Bpe::find(Token left, Token right) const {
  const std::uint64_t pair = pair_of(left, right);
  for (std::uint64_t at = mix(pair) & mask_;; at = (at + 1) & mask_) {
    if (slots_[at].pair == pair) return {slots_[at].rank, slots_[at].result};
    if (slots_[at].pair == kNoPair) return {};
  }
}

void Bpe::encode(std::string_view piece, std::vector<Token>& out) const {
  if (piece.size() == 1) {
    out.push_back(bytes_[std::uint8_t(piece[0])]);
    return;
  }
  if (piece.size() > kShort) return merge_long(piece, out);
  if (piece.size() > CacheEntry::kBytesMax) return merge_short(piece, out);
  CacheEntry& entry = cache_entry(piece);
  if (entry.serial == serial_ && entry.n_bytes == piece.size() &&
      std::memcmp(entry.bytes, piece.data(), piece.size()) == 0) {
    out.insert(out.end(), entry.tokens, entry.tokens + entry.n_tokens);
    return;
  }
  const std::size_t before = out.size();
  merge_short(piece, out);
  const std::size_t n = out.size() - before;
  if (n > CacheEntry::kTokensMax) return;
  entry.serial = serial_;
  entry.n_bytes = std::uint8_t(piece.size());
  entry.n_tokens = std::uint8_t(n);
  std::memcpy(entry.bytes, piece.data(), piece.size());
  std::copy(out.end() - std::ptrdiff_t(n), out.end(), entry.tokens);
}

void Bpe::merge_short(std::string_view piece, std::vector<Token>& out) const {
  Token tokens[kShort];
  Found pairs[kShort];  // pairs[i] joins tokens[i] and tokens[i + 1]
  std::size_t n = piece.size();
  for (std::size_t i = 0; i < n; ++i) tokens[i] = bytes_[std::uint8_t(piece[i])];
  for (std::size_t i = 0; i + 1 < n; ++i) pairs[i] = find(tokens[i], tokens[i + 1]);
  while (n > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == kNoRank) break;
    tokens[best] = pairs[best].result;
    --n;
    for (std::size_t i = best + 1; i < n; ++i) tokens[i] = tokens[i + 1];
    for (std::size_t i = best + 1; i + 1 < n; ++i) pairs[i] = pairs[i + 1];
    if (best > 0) pairs[best - 1] = find(tokens[best - 1], tokens[best]);
    if (best + 1 < n) pairs[best] = find(tokens[best], tokens[best + 1]);
  }
  out.insert(out.end(), tokens, tokens + n);
}

// The same with a doubly linked list and a heap: a piece of 100 kB (one long line of symbols, say)
// stays n log n.
void Bpe::merge_long(std::string_view piece, std::vector<Token>& out) const {
  struct Symbol {
    Token token;
    std::int32_t previous, next;  // -1: none
  };
  struct Candidate {
    std::uint32_t rank;
    std::int32_t at;    // the left symbol
    Token left, right;  // as they were: a candidate whose symbols have changed since is stale
    Token result;
    bool operator<(const Candidate& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
  };
  std::vector<Symbol> symbols(piece.size());
  std::vector<Candidate> heap;
  const auto candidate = [&](std::int32_t at) -> std::optional<Candidate> {
    if (at < 0 || symbols[std::size_t(at)].next < 0) return std::nullopt;
    const Symbol& left = symbols[std::size_t(at)];
    const Symbol& right = symbols[std::size_t(left.next)];
    const Found found = find(left.token, right.token);
    if (found.rank == kNoRank) return std::nullopt;
    return Candidate{found.rank, at, left.token, right.token, found.result};
  };
  const auto n = std::int32_t(piece.size());
  for (std::int32_t i = 0; i < n; ++i) {
    symbols[std::size_t(i)] = {bytes_[std::uint8_t(piece[std::size_t(i)])], i - 1,
                               i + 1 < n ? i + 1 : -1};
  }
  for (std::int32_t i = 0; i < n; ++i) {
    if (const auto c = candidate(i)) heap.push_back(*c);
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>{}, std::move(heap));
  while (!queue.empty()) {
    const Candidate c = queue.top();
    queue.pop();
    Symbol& left = symbols[std::size_t(c.at)];
    if (left.token != c.left || left.next < 0) continue;
    Symbol& right = symbols[std::size_t(left.next)];
    if (right.token != c.right) continue;
    left.token = c.result;
    right.token = -1;
    left.next = right.next;
    if (left.next >= 0) symbols[std::size_t(left.next)].previous = c.at;
    if (const auto before = candidate(left.previous)) queue.push(*before);
    if (const auto after = candidate(c.at)) queue.push(*after);
  }
  for (std::int32_t i = 0; i >= 0; i = symbols[std::size_t(i)].next)
    out.push_back(symbols[std::size_t(i)].token);
}

}  // namespace lares::engine
