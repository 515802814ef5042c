// A tokenizer's tokens by their bytes, for walking beside an automaton: which of them could come next?
#pragma once

#include <array>
#include <memory>

#include "engine/text/byte_trie.h"
#include "engine/text/json_string.h"
#include "engine/tokenizer.h"

namespace lares::engine {

// What a free JSON string can go on with: it is most of what is written in JSON, and the same everywhere.
struct StringTokens {
  TokenMask inside;   // tokens that stay in it, or end with the quote that closes it
  ByteTrie crossing;  // of those that go on behind the quote, what they go on with
};

class Vocabulary {
 public:
  explicit Vocabulary(const Tokenizer& tokenizer);

  const ByteTrie& ordinary() const { return trie_; }       // every token that is text, none that is added
  const TokenMask& ordinary_mask() const { return mask_; }
  const StringTokens& in_string(StringAt at) const { return strings_[std::size_t(at)]; }
  Token eos() const { return eos_; }
  Token dsml() const { return dsml_; }
  Token think_end() const { return think_end_; }

 private:
  ByteTrie trie_;
  TokenMask mask_;
  std::array<StringTokens, kStringStates> strings_;
  Token eos_ = -1, dsml_ = -1, think_end_ = -1;  // -1: the tokenizer has none
};

inline void allow(TokenMask& mask, Token id) {
  if (id >= 0) mask[std::size_t(id) / 64] |= std::uint64_t{1} << (id % 64);
}
inline bool allows(const TokenMask& mask, Token id) {
  return id >= 0 && (mask[std::size_t(id) / 64] >> (id % 64) & 1);
}

}  // namespace lares::engine
