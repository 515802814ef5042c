#include "engine/text/json_masks.h"

namespace lares::engine {

std::size_t JsonMasks::Hash::operator()(const JsonWay& w) const {
  std::size_t h = 0;
  const auto mix = [&h](std::uint64_t v) { h = (h ^ v) * 0x9E3779B97F4A7C15u, h ^= h >> 29; };
  mix(std::uint64_t(w.at) | std::uint64_t(w.string) << 8 | std::uint64_t(w.gap) << 16 | std::uint64_t(w.n_fraction) << 24 |
      std::uint64_t(w.n_digits) << 32 | std::uint64_t(w.negative) << 40 | std::uint64_t(w.state) << 48);
  mix(std::uint64_t(w.node) << 32 | w.then);
  mix(std::uint64_t(w.from) << 32 | w.to);
  mix(w.next);
  mix(w.value);
  return h;
}

void JsonMasks::add(JsonWalker& walker, TokenMask& out) {
  if (generation_ != walker.generation()) {
    masks_.clear();
    generation_ = walker.generation();
  }
  for (const JsonWay& way : walker.ways().all()) {
    const TokenMask& mask = mask_of(walker, way);
    for (std::size_t i = 0; i < mask.size(); ++i) out[i] |= mask[i];
  }
}

JsonWays& JsonMasks::level(std::size_t n) {
  while (levels_.size() <= n) levels_.push_back(std::make_unique<JsonWays>());
  return *levels_[n];
}

const TokenMask& JsonMasks::mask_of(JsonWalker& walker, const JsonWay& way) {
  if (const auto known = masks_.find(way); known != masks_.end()) return known->second;
  if (masks_.size() >= kJsonMasksMax) masks_.clear();
  TokenMask mask;
  const bool free = (way.at == JsonWay::At::string && !walker.pattern_of(way)) || way.at == JsonWay::At::map_key;
  JsonWays& begin = level(0);
  begin.n = 0;
  if (free) {
    const StringTokens& tokens = vocabulary_->in_string(way.string);
    mask = tokens.inside;
    JsonWay closing = way;
    closing.string = StringAt::text;
    walker.step(closing, '"', begin);
    walk(walker, tokens.crossing, ByteTrie::kRoot, 0, mask);
  } else if (const Pattern* const pattern = walker.pattern_of(way)) {
    mask.assign(vocabulary_->ordinary_mask().size(), 0);
    JsonWay at = way;
    walk_pattern(walker, at, *pattern, ByteTrie::kRoot, mask);
  } else {
    mask.assign(vocabulary_->ordinary_mask().size(), 0);
    begin.add(way);
    walk(walker, vocabulary_->ordinary(), ByteTrie::kRoot, 0, mask);
  }
  return masks_.emplace(way, std::move(mask)).first->second;
}

// As walk(), of a string that is held to a pattern: a loose one lets most of the vocabulary pass, and a table's state is quicker to try on
// than a way. What leaves the pattern's text, or is escaped, is the walker's.
void JsonMasks::walk_pattern(JsonWalker& walker, JsonWay& way, const Pattern& pattern, std::uint32_t node, TokenMask& out) {
  const ByteTrie& trie = vocabulary_->ordinary();
  const auto [first, n] = std::pair(trie.node(node).first_child, trie.node(node).n_children);
  const Pattern::State here = way.state;
  for (std::uint32_t child = first; child < first + n; ++child) {
    const std::uint8_t byte = trie.label(child);
    if (way.string == StringAt::escape || byte == '"' || byte == '\\' || byte < 0x20 || (way.at == JsonWay::At::text && byte == '<')) {
      JsonWays& next = level(0);
      next.n = 0;
      walker.step(way, byte, next);
      if (next.n == 0) continue;
      for (const Token id : trie.ids(child)) allow(out, id);
      walk(walker, trie, child, 0, out);
      continue;
    }
    way.state = pattern.step(here, byte);
    if (way.state != Pattern::kDead) {
      for (const Token id : trie.ids(child)) allow(out, id);
      if (trie.node(child).n_children > 0) walk_pattern(walker, way, pattern, child, out);
    }
    way.state = here;
  }
}

void JsonMasks::walk(JsonWalker& walker, const ByteTrie& trie, std::uint32_t node, std::size_t at, TokenMask& out) {
  JsonWays& next = level(at + 1);
  const JsonWays& here = level(at);
  const auto [first, n] = std::pair(trie.node(node).first_child, trie.node(node).n_children);
  for (std::uint32_t child = first; child < first + n; ++child) {
    next.n = 0;
    for (const JsonWay& way : here.all()) walker.step(way, trie.label(child), next);
    if (next.n == 0) continue;
    for (const Token id : trie.ids(child)) allow(out, id);
    if (trie.node(child).n_children > 0) walk(walker, trie, child, at + 1, out);
  }
}

}  // namespace lares::engine
