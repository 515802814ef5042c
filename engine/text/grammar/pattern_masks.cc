#include "engine/text/grammar/pattern_masks.h"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/text/grammar/json_string.h"

namespace lares::engine {

void PatternMasks::build(const Vocabulary& vocabulary, const std::stop_token& stop) {
  const std::size_t n_words = vocabulary.ordinary_mask().size();
  fold(vocabulary.ordinary(), {ByteTrie::kRoot}, 0);
  all_.assign(n_words, 0);
  for (const Token id : ids_) allow(all_, id);
  for (auto& states : mask_of_)
    states = std::vector<std::atomic<const TokenMask*>>(pattern_->n_states());
  ready_.store(true, std::memory_order_release);
  for (const bool escaped : {false, true}) {  // what stands behind a backslash is short
    if (escaped && kind_ != TextKind::json_string) break;
    for (std::size_t state = Pattern::kStart;
         state < pattern_->n_states() && masks_.size() < kPatternMasksMax; ++state) {
      if (stop.stop_requested()) return;
      TokenMask mask(n_words, 0);
      if (escaped)
        add_escaped(vocabulary.ordinary(), Pattern::State(state), mask);
      else
        add_folded(Pattern::State(state), mask);
      mask_of_[escaped ? 1 : 0][state].store(kept(std::move(mask)), std::memory_order_release);
      bytes_ = nodes_.size() * sizeof(Node) + ids_.size() * sizeof(Token) +
               (masks_.size() + 1) * n_words * sizeof(std::uint64_t);
    }
  }
}

// The tokens' beginnings at `nodes` are all the same to the pattern.
void PatternMasks::fold(const ByteTrie& trie, std::vector<std::uint32_t> nodes, std::size_t depth) {
  const std::size_t here = nodes_.size();
  nodes_.push_back({.first_id = std::uint32_t(ids_.size()), .depth = std::uint8_t(depth)});
  std::vector<std::pair<std::uint8_t, std::uint32_t>> below;
  for (const std::uint32_t node : nodes) {
    ids_.insert(ids_.end(), trie.ids(node).begin(), trie.ids(node).end());
    const auto [first, n] = std::pair(trie.node(node).first_child, trie.node(node).n_children);
    for (std::uint32_t child = first; child < first + n; ++child) {
      if (!is_special(kind_, trie.label(child)))
        below.emplace_back(pattern_->column(trie.label(child)), child);
    }
  }
  std::sort(below.begin(), below.end());
  for (std::size_t i = 0; i < below.size();) {
    const std::uint8_t column = below[i].first;
    nodes.clear();
    for (; i < below.size() && below[i].first == column; ++i) nodes.push_back(below[i].second);
    const std::size_t child = nodes_.size();
    fold(trie, nodes, depth + 1);
    nodes_[child].column = column;
  }
  nodes_[here].end = std::uint32_t(nodes_.size());
}

// Where more than half of them may come, the others are taken from all.
void PatternMasks::add_folded(Pattern::State state, TokenMask& out) const {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> dead;  // of ids_
  std::size_t n_dead = 0;
  std::array<Pattern::State, kTokenBytesMax + 1> states;  // [depth]
  states[0] = state;
  for (std::size_t i = 1; i < nodes_.size();) {
    const Node& node = nodes_[i];
    const Pattern::State next = pattern_->step_column(states[node.depth - 1u], node.column);
    if (next != Pattern::kDead) {
      states[node.depth] = next;
      ++i;
      continue;
    }
    const std::uint32_t end = node.end < nodes_.size() ? nodes_[node.end].first_id
                                                       : std::uint32_t(ids_.size());
    if (!dead.empty() && dead.back().second == node.first_id)
      dead.back().second = end;
    else
      dead.emplace_back(node.first_id, end);
    n_dead += end - node.first_id;
    i = node.end;
  }
  if (n_dead < ids_.size() / 2) {
    TokenMask alive = all_;
    for (const auto& [first, end] : dead) {
      for (std::uint32_t i = first; i < end; ++i)
        alive[std::size_t(ids_[i]) / 64] &= ~(std::uint64_t{1} << (ids_[i] % 64));
    }
    for (std::size_t w = 0; w < out.size(); ++w) out[w] |= alive[w];
    return;
  }
  std::uint32_t at = 0;
  dead.emplace_back(ids_.size(), ids_.size());
  for (const auto& [first, end] : dead) {
    for (; at < first; ++at) allow(out, ids_[at]);
    at = end;
  }
}

void PatternMasks::add_below(const ByteTrie& trie, std::uint32_t node, Pattern::State state,
                             TokenMask& out) const {
  const auto [first, n] = std::pair(trie.node(node).first_child, trie.node(node).n_children);
  for (std::uint32_t child = first; child < first + n; ++child) {
    const Pattern::State next = is_special(kind_, trie.label(child))
                                    ? Pattern::kDead
                                    : pattern_->step(state, trie.label(child));
    if (next == Pattern::kDead) continue;
    for (const Token id : trie.ids(child)) allow(out, id);
    add_below(trie, child, next, out);
  }
}

void PatternMasks::add_escaped(const ByteTrie& trie, Pattern::State state, TokenMask& out) const {
  for (const char c : kEscapes) {
    if (is_special(kind_, std::uint8_t(c))) continue;
    const std::uint32_t node = trie.child(ByteTrie::kRoot, std::uint8_t(c));
    const Pattern::State next = pattern_->step(state, unescaped(std::uint8_t(c)));
    if (node == ByteTrie::kRoot || next == Pattern::kDead) continue;
    for (const Token id : trie.ids(node)) allow(out, id);
    add_below(trie, node, next, out);
  }
}

const TokenMask* PatternMasks::kept(TokenMask mask) {
  const auto known = std::find(masks_.begin(), masks_.end(), mask);
  if (known != masks_.end()) return &*known;
  return &masks_.emplace_back(std::move(mask));
}

void PatternMasks::add(const Vocabulary& vocabulary, Pattern::State state, bool escaped,
                       TokenMask& out) const {
  if (escaped)
    add_escaped(vocabulary.ordinary(), state, out);
  else
    add_folded(state, out);
}

}  // namespace lares::engine
