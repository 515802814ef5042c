// A tokenizer's tokens by their bytes, for walking beside an automaton: which of them could come next?
#pragma once

#include <memory>

#include "engine/text/byte_trie.h"
#include "engine/tokenizer.h"

namespace lares::engine {

class Vocabulary {
 public:
  explicit Vocabulary(const Tokenizer& tokenizer);

  const ByteTrie& ordinary() const { return trie_; }       // every token that is text, none that is added
  const TokenMask& ordinary_mask() const { return mask_; }
  Token eos() const { return eos_; }
  Token dsml() const { return dsml_; }
  Token think_end() const { return think_end_; }

 private:
  ByteTrie trie_;
  TokenMask mask_;
  Token eos_ = -1, dsml_ = -1, think_end_ = -1;  // -1: the tokenizer has none
};

inline void allow(TokenMask& mask, Token id) {
  if (id >= 0) mask[std::size_t(id) / 64] |= std::uint64_t{1} << (id % 64);
}
inline bool allows(const TokenMask& mask, Token id) {
  return id >= 0 && (mask[std::size_t(id) / 64] >> (id % 64) & 1);
}

}  // namespace lares::engine
