#include "engine/text/grammar/json_masks.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace lares::engine {

std::size_t JsonMasks::Hash::operator()(const JsonWay& w) const {
  std::size_t h = 0;
  const auto mix = [&h](std::uint64_t v) { h = (h ^ v) * 0x9E3779B97F4A7C15u, h ^= h >> 29; };
  mix(std::uint64_t(w.at) | std::uint64_t(w.string) << 8 | std::uint64_t(w.gap) << 16 |
      std::uint64_t(w.n_fraction) << 24 | std::uint64_t(w.n_digits) << 32 |
      std::uint64_t(w.negative) << 40 | std::uint64_t(w.state) << 48);
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
  for (const JsonWay& way : walker.ways()) {
    const Kept& mask = mask_of(walker, way);
    for (std::size_t i = 0; mask.base && i < out.size(); ++i) out[i] |= (*mask.base)[i];
    for (const auto& [i, bits] : mask.words) out[i] |= bits;
  }
}

JsonWays& JsonMasks::level(std::size_t n) {
  while (levels_.size() <= n) levels_.push_back(std::make_unique<JsonWays>());
  return *levels_[n];
}

const JsonMasks::Kept& JsonMasks::mask_of(JsonWalker& walker, const JsonWay& way) {
  if (const auto known = masks_.find(way); known != masks_.end()) return known->second;
  if (masks_.size() >= kJsonMasksMax) masks_.clear();
  Kept out;
  TokenMask& mask = fresh_;
  mask.resize(vocabulary_->ordinary_mask().size());
  const auto pattern = walker.pattern_of(way);
  const bool free = (way.at == JsonWay::At::string && !pattern) || way.at == JsonWay::At::map_key;
  JsonWays& begin = level(0);
  begin.clear();
  if (free) {
    const StringTokens& tokens = vocabulary_->in_string(way.string);
    out.base = &tokens.inside;
    JsonWay closing = way;
    closing.string = StringAt::text;
    walker.step(closing, '"', begin);
    walk(walker, tokens.crossing, ByteTrie::kRoot, 0, mask);
  } else if (pattern) {
    out.base = mask_pattern(walker, way, pattern, mask);
  } else if (const StretchIndex* const list = list_of(walker, way)) {
    // All that ends one of them has its quote
    list->add(*vocabulary_, {way.from, way.to, std::uint32_t(way.value)}, mask);
    begin.push_back(way);
    walk(walker, vocabulary_->special(TextKind::json_string), ByteTrie::kRoot, 0, mask);
  } else {
    begin.push_back(way);
    walk(walker, vocabulary_->not_numerals(), ByteTrie::kRoot, 0, mask);
    walk_numerals(walker, way, ByteTrie::kRoot, 0, mask);
  }
  out.words.reserve(
      std::size_t(std::ranges::count_if(mask, [](std::uint64_t bits) { return bits != 0; })));
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != 0) out.words.emplace_back(std::uint32_t(i), std::exchange(mask[i], 0));
  }
  return masks_.emplace(way, std::move(out)).first->second;
}

// Null: the way is not among many values, or they are not in order yet.
const StretchIndex* JsonMasks::list_of(JsonWalker& walker, const JsonWay& way) {
  const std::string& listed = walker.listed_of(way);
  if (listed.empty()) return nullptr;
  auto& list = lists_[way.node];
  if (!list) list = vocabulary_->store().stretch_index(listed, StretchIndex::Of::list);
  return list->sorted() ? list.get() : nullptr;
}

// Most tokens are nothing to the walker: with a pattern's masks it is asked about the special ones
// alone.
const TokenMask* JsonMasks::mask_pattern(JsonWalker& walker, JsonWay way,
                                         const std::shared_ptr<const Pattern>& pattern,
                                         TokenMask& out) {
  const TextKind kind = way.at == JsonWay::At::text ? TextKind::plain : TextKind::json_string;
  auto& masks = patterns_[pattern];
  if (!masks) masks = vocabulary_->store().pattern_masks(pattern, kind);
  const bool ready = masks->ready(), escaped = way.string == StringAt::escape;
  const TokenMask* const made = ready ? masks->made(way.state, escaped) : nullptr;
  if (ready && !made) masks->add(*vocabulary_, way.state, escaped, out);
  walk_pattern(walker, way, *pattern, ready ? vocabulary_->special(kind) : vocabulary_->ordinary(),
               ByteTrie::kRoot, out);
  return made;
}

// As walk(), of a string that is held to a pattern: a loose one lets most of the vocabulary pass,
// and a table's state is quicker to try on than a way. What may end the pattern's text is the
// walker's.
void JsonMasks::walk_pattern(JsonWalker& walker, JsonWay& way, const Pattern& pattern,
                             const ByteTrie& trie, std::uint32_t node, TokenMask& out) {
  const auto [first, n] = std::pair(trie.node(node).first_child, trie.node(node).n_children);
  const JsonWay here = way;
  const bool plain = here.at == JsonWay::At::text, escaped = here.string == StringAt::escape;
  for (std::uint32_t child = first; child < first + n; ++child) {
    const std::uint8_t byte = trie.label(child);
    if (!escaped && byte == (plain ? '<' : '"')) {
      JsonWays& next = level(0);
      next.clear();
      walker.step(here, byte, next);
      if (next.empty()) continue;
      for (const Token id : trie.ids(child)) allow(out, id);
      walk(walker, trie, child, 0, out);
      continue;
    }
    way.string = StringAt::text;
    if (plain) {
      way.state = pattern.step(here.state, byte);
    } else if (escaped) {
      way.state = kEscapes.find(char(byte)) == std::string_view::npos
                      ? Pattern::kDead
                      : pattern.step(here.state, unescaped(byte));
    } else if (byte == '\\') {
      const bool some = std::ranges::any_of(kEscapes, [&](char c) {
        return pattern.step(here.state, unescaped(std::uint8_t(c))) != Pattern::kDead;
      });
      way.state = some ? here.state : Pattern::kDead, way.string = StringAt::escape;
    } else {
      way.state = byte < 0x20 ? Pattern::kDead : pattern.step(here.state, byte);
    }
    if (way.state == Pattern::kDead) continue;
    for (const Token id : trie.ids(child)) allow(out, id);
    if (trie.node(child).n_children > 0) walk_pattern(walker, way, pattern, trie, child, out);
  }
  way = here;
}

namespace {

// What comes is no byte of a text: most of the vocabulary need not be tried.
bool between_texts(const JsonWay& way) {
  using At = JsonWay::At;
  return way.at != At::string && way.at != At::map_key && way.at != At::key_text &&
         way.at != At::choice && way.at != At::text;
}
bool stands_between_texts(std::uint8_t byte) {
  static constexpr auto kThose = [] {
    std::array<bool, 256> out{};
    for (const char c : std::string_view(" \n\t{}[],:\"-+.eE0123456789tfn</"))
      out[std::uint8_t(c)] = true;  // t, f, n: of true, false, null
    return out;
  }();
  return kThose[byte];
}

// Tokens of up to `n` bytes more.
void allow_below(const ByteTrie& trie, std::uint32_t node, int n, TokenMask& out) {
  if (n == 0) return;
  const auto [first, n_children] = std::pair(trie.node(node).first_child,
                                             trie.node(node).n_children);
  for (std::uint32_t child = first; child < first + n_children; ++child) {
    for (const Token id : trie.ids(child)) allow(out, id);
    allow_below(trie, child, n - 1, out);
  }
}

}  // namespace

// In a number most numerals do, or none; only near its bounds each is tried.
void JsonMasks::walk_numerals(JsonWalker& walker, const JsonWay& way, std::uint32_t node,
                              std::size_t at, TokenMask& out) {
  const ByteTrie& trie = vocabulary_->numerals();
  const auto room = walker.digit_room(way);
  if (room && (room->all == room->some || room->all >= vocabulary_->longest_numeral()))
    return allow_below(trie, node, room->all, out);
  JsonWays& next = level(at + 1);
  const auto [first, n] = std::pair(trie.node(node).first_child, trie.node(node).n_children);
  for (std::uint32_t child = first; child < first + n; ++child) {
    next.clear();
    walker.step(way, trie.label(child), next);
    if (next.empty()) continue;
    for (const Token id : trie.ids(child)) allow(out, id);
    if (trie.node(child).n_children == 0) continue;
    for (const JsonWay& on : next) walk_numerals(walker, on, child, at + 1, out);
  }
}

void JsonMasks::walk(JsonWalker& walker, const ByteTrie& trie, std::uint32_t node, std::size_t at,
                     TokenMask& out) {
  JsonWays& next = level(at + 1);
  const JsonWays& here = level(at);
  const bool structure = std::ranges::all_of(here, between_texts);
  const auto [first, n] = std::pair(trie.node(node).first_child, trie.node(node).n_children);
  for (std::uint32_t child = first; child < first + n; ++child) {
    if (structure && !stands_between_texts(trie.label(child))) continue;
    next.clear();
    for (const JsonWay& way : here) walker.step(way, trie.label(child), next);
    if (next.empty()) continue;
    for (const Token id : trie.ids(child)) allow(out, id);
    if (trie.node(child).n_children > 0) walk(walker, trie, child, at + 1, out);
  }
}

}  // namespace lares::engine
