// Which tokens may come next in a JSON document: the vocabulary walked beside json_walker.h, each
// way's mask kept for when it comes again.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/text/grammar/json_walker.h"
#include "engine/text/grammar/mask_store.h"
#include "engine/text/tokenizer/vocabulary.h"

namespace lares::engine {

// Kept at once: at most 8 MiB of a vocabulary of 129,280
inline constexpr std::size_t kJsonMasksMax = 256;

class JsonMasks {
 public:
  explicit JsonMasks(std::shared_ptr<const Vocabulary> vocabulary)
      : vocabulary_(std::move(vocabulary)) {}

  // Adds to `out` what `walker` may go on with. One walker at a time: reset() before another.
  void add(JsonWalker& walker, TokenMask& out);
  void reset() { masks_.clear(), patterns_.clear(), lists_.clear(); }

 private:
  struct Hash {
    std::size_t operator()(const JsonWay& w) const;
  };

  // Most masks have few tokens, or are one that others keep and a few more: a page that was never
  // touched costs more than they do.
  struct Kept {
    const TokenMask* base = nullptr;                             // null: none
    std::vector<std::pair<std::uint32_t, std::uint64_t>> words;  // [i], bits: besides
  };

  const Kept& mask_of(JsonWalker& walker, const JsonWay& way);
  void walk(JsonWalker& walker, const ByteTrie& trie, std::uint32_t node, std::size_t level,
            TokenMask& out);
  const TokenMask* mask_pattern(JsonWalker& walker, JsonWay way,
                                const std::shared_ptr<const Pattern>& pattern, TokenMask& out);
  void walk_pattern(JsonWalker& walker, JsonWay& way, const Pattern& pattern, const ByteTrie& trie,
                    std::uint32_t node, TokenMask& out);
  const StretchIndex* list_of(JsonWalker& walker, const JsonWay& way);
  void walk_numerals(JsonWalker& walker, const JsonWay& way, std::uint32_t node, std::size_t level,
                     TokenMask& out);
  JsonWays& level(std::size_t n);

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::unordered_map<JsonWay, Kept, Hash> masks_;
  TokenMask fresh_;  // the one under way; else empty
  std::unordered_map<std::shared_ptr<const Pattern>, std::shared_ptr<const PatternMasks>> patterns_;
  std::unordered_map<NodeId, std::shared_ptr<const StretchIndex>> lists_;
  std::vector<std::unique_ptr<JsonWays>> levels_;  // one for each byte of the longest token
  std::uint64_t generation_ = 0;
};

}  // namespace lares::engine
