// A set of byte strings with ids, as a trie in two flat arrays: the added tokens to look for in a
// text, or a whole vocabulary to walk beside an automaton.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

// Of a token of text: the walks of a vocabulary go a call deeper, or a place in an array, for each
// byte. DeepSeek's longest has 128.
inline constexpr std::size_t kTokenBytesMax = 255;

class ByteTrie {
 public:
  using Entry = std::pair<std::string_view, Token>;
  struct Node {
    std::uint32_t first_child = 0;
    std::uint32_t first_id = 0;
    std::uint16_t n_children = 0;
    std::uint16_t n_ids = 0;  // ids of exactly the bytes on the way here
  };

  ByteTrie() = default;
  // Empty strings are left out.
  explicit ByteTrie(std::vector<Entry> entries);

  static constexpr std::uint32_t kRoot = 0;
  const Node& node(std::uint32_t n) const { return nodes_[n]; }
  std::uint8_t label(std::uint32_t n) const {
    return labels_[n];
  }  // the byte that leads to it; the root has none
  std::span<const Token> ids(std::uint32_t n) const {
    return {ids_.data() + nodes_[n].first_id, nodes_[n].n_ids};
  }
  // The child along `byte`, or kRoot.
  std::uint32_t child(std::uint32_t n, std::uint8_t byte) const;
  std::size_t size() const { return nodes_.size(); }

  struct Found {
    Token id = -1;  // -1: nothing starts here
    std::size_t length = 0;
  };
  // The longest entry that `text` begins with.
  Found longest(std::string_view text) const;
  // The id of exactly `text`, or -1.
  Token find(std::string_view text) const;

 private:
  std::vector<Node> nodes_{Node{}};
  std::vector<std::uint8_t> labels_{0};
  std::vector<Token> ids_;
};

}  // namespace lares::engine
