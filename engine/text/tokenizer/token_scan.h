// The longest token at each place of a text, from one place to the next: what stands there is known
// from the place before but for its last bytes, as in Aho and Corasick's automaton.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer/byte_trie.h"

namespace lares::engine {

class TokenScan {
 public:
  TokenScan() = default;
  explicit TokenScan(const ByteTrie& trie);  // which outlives it

  // To `out`, [to - from]: of the tokens that begin at each place [from, to) of the text, the
  // longest; -1: there is none.
  void longest(std::string_view text, std::size_t from, std::size_t to, Token* out) const;

 private:
  const ByteTrie* trie_ = nullptr;
  std::vector<Token> token_;  // [node]: of its bytes, or of as many of them as are one
  // [node]: where its bytes but the first lead, as far as they do
  std::vector<std::uint32_t> shift_;
  std::vector<std::uint32_t> depth_;  // [node]: how many they are
};

}  // namespace lares::engine
