// A tokenizer's tokens by their bytes, for walking beside an automaton: which of them could come
// next?
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "engine/text/grammar/json_string.h"
#include "engine/text/tokenizer/byte_trie.h"
#include "engine/text/tokenizer/token_scan.h"
#include "engine/tokenizer.h"

namespace lares::engine {

class MaskStore;  // mask_store.h

inline void allow(TokenMask& mask, Token id) {
  if (id >= 0) mask[std::size_t(id) / 64] |= std::uint64_t{1} << (id % 64);
}
inline bool allows(const TokenMask& mask, Token id) {
  return id >= 0 && (mask[std::size_t(id) / 64] >> (id % 64) & 1);
}

// What a free JSON string can go on with: it is most of what is written in JSON, and the same
// everywhere.
struct StringTokens {
  TokenMask inside;   // tokens that stay in it, or end with the quote that closes it
  ByteTrie crossing;  // of those that go on behind the quote, what they go on with
};

// Text that a pattern is for: in the quotes of a JSON string, or plain, up to a "<". Special in it
// are the bytes that may end it or escape, and those that it cannot have.
enum class TextKind : std::uint8_t { json_string, plain };
constexpr bool is_special(TextKind kind, std::uint8_t b) {
  return kind == TextKind::json_string ? b == '"' || b == '\\' || b < 0x20 : b == '<';
}

class Vocabulary {
 public:
  explicit Vocabulary(const Tokenizer& tokenizer);
  ~Vocabulary();

  const ByteTrie& ordinary() const {
    return trie_;
  }  // every token that is text, none that is added
  const ByteTrie& numerals() const { return numerals_; }          // those of digits alone ...
  int longest_numeral() const { return longest_numeral_; }        // bytes
  const ByteTrie& not_numerals() const { return not_numerals_; }  // ... and all others
  const ByteTrie& special(TextKind kind) const {
    return specials_[std::size_t(kind)];
  }  // with such a byte
  const TokenMask& ordinary_mask() const { return mask_; }
  const StringTokens& in_string(StringAt at) const { return strings_[std::size_t(at)]; }
  // Allows `id` and every token of text that it begins with. In `mask` no token is without its
  // beginnings; -1 is none.
  void allow_with_shorter(Token id, TokenMask& mask) const {
    for (; id >= 0 && !allows(mask, id); id = shorter_[std::size_t(id)]) allow(mask, id);
  }
  const TokenScan& scan() const { return scan_; }
  MaskStore& store() const { return *store_; }
  Token eos() const { return eos_; }
  Token dsml() const { return dsml_; }
  Token think_end() const { return think_end_; }

 private:
  ByteTrie trie_, numerals_, not_numerals_;
  std::array<ByteTrie, 2> specials_;
  TokenScan scan_;  // of trie_
  int longest_numeral_ = 0;
  TokenMask mask_;
  // [vocab_size]: the longest other one that it begins with, of the same bytes or less; -1: none
  std::vector<Token> shorter_;
  std::array<StringTokens, kStringStates> strings_;
  Token eos_ = -1, dsml_ = -1, think_end_ = -1;  // -1: the tokenizer has none
  std::unique_ptr<MaskStore> store_;             // uses the above
};

}  // namespace lares::engine
