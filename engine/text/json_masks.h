// Which tokens may come next in a JSON document: the vocabulary walked beside json_walker.h, each way's mask kept for when it comes again.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/text/json_walker.h"
#include "engine/text/mask_store.h"
#include "engine/text/vocabulary.h"

namespace lares::engine {

inline constexpr std::size_t kJsonMasksMax = 256;  // kept at once: 4 MiB of a vocabulary of 129,280

class JsonMasks {
 public:
  explicit JsonMasks(std::shared_ptr<const Vocabulary> vocabulary) : vocabulary_(std::move(vocabulary)) {}

  // Adds to `out` what `walker` may go on with. One walker at a time: reset() before another.
  void add(JsonWalker& walker, TokenMask& out);
  void reset() { masks_.clear(), patterns_.clear(); }

 private:
  struct Hash {
    std::size_t operator()(const JsonWay& w) const;
  };

  const TokenMask& mask_of(JsonWalker& walker, const JsonWay& way);
  void walk(JsonWalker& walker, const ByteTrie& trie, std::uint32_t node, std::size_t level, TokenMask& out);
  void mask_pattern(JsonWalker& walker, JsonWay way, const std::shared_ptr<const Pattern>& pattern, TokenMask& out);
  void walk_pattern(JsonWalker& walker, JsonWay& way, const Pattern& pattern, const ByteTrie& trie, std::uint32_t node, TokenMask& out);
  void walk_numerals(JsonWalker& walker, const JsonWay& way, std::uint32_t node, std::size_t level, TokenMask& out);
  JsonWays& level(std::size_t n);

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::unordered_map<JsonWay, TokenMask, Hash> masks_;
  std::unordered_map<std::shared_ptr<const Pattern>, std::shared_ptr<const PatternMasks>> patterns_;
  std::vector<std::unique_ptr<JsonWays>> levels_;  // one for each byte of the longest token
  std::uint64_t generation_ = 0;
};

}  // namespace lares::engine
