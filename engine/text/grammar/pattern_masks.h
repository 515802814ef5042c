// Which tokens may come next in a text that is held to a pattern. What a pattern cannot tell apart
// is walked once: the vocabulary's trie, folded along the columns of its table. The masks of its
// first states are made beforehand.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <stop_token>
#include <vector>

#include "engine/text/grammar/pattern.h"
#include "engine/text/tokenizer/vocabulary.h"

namespace lares::engine {

// Different ones kept for a pattern: 4 MiB of a vocabulary of 129,280
inline constexpr std::size_t kPatternMasksMax = 256;

class PatternMasks {
 public:
  PatternMasks(std::shared_ptr<const Pattern> pattern, TextKind kind)
      : pattern_(std::move(pattern)), kind_(kind) {}

  // Once, on any thread; the rest from one other thread meanwhile. First it is folded, then the
  // states' masks are made, one by one.
  void build(const Vocabulary& vocabulary, const std::stop_token& stop);
  bool ready() const { return ready_.load(std::memory_order_acquire); }

  const Pattern& pattern() const { return *pattern_; }
  TextKind kind() const { return kind_; }
  std::size_t bytes() const {
    return bytes_.load(std::memory_order_relaxed);
  }  // of memory, when it is built

  // These need ready(). Those that the text can go on with, of the vocabulary's tokens that are not
  // special in it; `escaped`: behind a backslash. Null: they are not made beforehand, or not yet.
  const TokenMask* made(Pattern::State state, bool escaped) const {
    return mask_of_[escaped ? 1 : 0][state].load(std::memory_order_acquire);
  }
  void add(const Vocabulary& vocabulary, Pattern::State state, bool escaped, TokenMask& out) const;

 private:
  // In the order of a walk, so that what is below a node stands behind it.
  struct Node {
    std::uint32_t end = 0;       // behind the last below it
    std::uint32_t first_id = 0;  // its tokens, and then those below it
    std::uint8_t column = 0;
    std::uint8_t depth = 0;
  };
  static_assert(kTokenBytesMax <= UINT8_MAX);

  void fold(const ByteTrie& trie, std::vector<std::uint32_t> nodes, std::size_t depth);
  void add_folded(Pattern::State state, TokenMask& out) const;
  void add_below(const ByteTrie& trie, std::uint32_t node, Pattern::State state,
                 TokenMask& out) const;
  void add_escaped(const ByteTrie& trie, Pattern::State state, TokenMask& out) const;
  const TokenMask* kept(TokenMask mask);

  std::shared_ptr<const Pattern> pattern_;
  TextKind kind_;
  std::atomic<bool> ready_ = false;
  std::atomic<std::size_t> bytes_ = 0;
  std::vector<Node> nodes_;  // [0]: the root
  std::vector<Token> ids_;
  TokenMask all_;  // ids_
  std::deque<TokenMask> masks_;
  std::vector<std::atomic<const TokenMask*>> mask_of_[2];  // [escaped][state]; null: not made
};

}  // namespace lares::engine
