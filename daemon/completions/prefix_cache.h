// What was evaluated for one request and may begin another's prompt: prefixes, the least recently
// used ones given up when they hold too many bytes, or when sequences need theirs. Any thread may
// ask.
#pragma once

#include <cstdint>
#include <list>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"

namespace lares::daemon {

// Pages that several have count once
inline constexpr std::uint64_t kPrefixBytesMax = std::uint64_t{2} << 30;
// Of what all sequences may take, where that has a bound, at most one part in so many
inline constexpr std::uint64_t kPrefixMemoryShare = 4;
inline constexpr std::size_t kPrefixesMax = 1024;
// Of them, the latest used, with a prompt that they are not a beginning of
inline constexpr std::size_t kComparedMax = 16;

class PrefixCache {
 public:
  explicit PrefixCache(std::uint64_t bytes_max = kPrefixBytesMax) : bytes_max_(bytes_max) {}

  struct Found {
    // The longest that is a beginning of the prompt and not all of it; null: none
    engine::PrefixRef prefix;
    // Tokens the prompt has in common with any of the latest used; nothing can be gone on from
    // there, unless the above ends there.
    std::int64_t n_common = 0;
  };
  Found find(std::span<const engine::Token> prompt);
  void keep(engine::PrefixRef prefix);  // null: nothing happens
  // No more than a share of what sequences may take; 0: that has no bound.
  void share(std::uint64_t sequences_bytes_max);
  bool shrink();  // gives up one; false: there is none

  std::uint64_t bytes() const;
  std::size_t n_prefixes() const;

 private:
  struct Entry {
    engine::PrefixRef prefix;
    // hash_of() its tokens: a conversation's prefixes begin alike for a million tokens, and are
    // many
    std::uint64_t hash;
  };
  void count(const engine::Prefix& prefix, int change);
  void give_up_last();

  mutable std::mutex mutex_;  // of what follows
  std::uint64_t bytes_max_;
  std::list<Entry> prefixes_;                           // the latest use first
  std::unordered_map<const std::uint8_t*, int> pages_;  // how many prefixes have each
  std::uint64_t bytes_ = 0;
};

}  // namespace lares::daemon
