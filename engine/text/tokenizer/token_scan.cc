#include "engine/text/tokenizer/token_scan.h"

#include <algorithm>

namespace lares::engine {

TokenScan::TokenScan(const ByteTrie& trie)
    : trie_(&trie),
      token_(trie.size(), -1),
      shift_(trie.size(), ByteTrie::kRoot),
      depth_(trie.size(), 0) {
  // Parents stand before their children.
  for (std::uint32_t node = 0; node < trie.size(); ++node) {
    if (!trie.ids(node).empty()) token_[node] = trie.ids(node)[0];
    const auto [first, n] = std::pair(trie.node(node).first_child, trie.node(node).n_children);
    for (std::uint32_t child = first; child < first + n; ++child) {
      token_[child] = token_[node];
      depth_[child] = depth_[node] + 1;
      shift_[child] = shift_[node];
      if (node == ByteTrie::kRoot || depth_[shift_[node]] + 1 != depth_[node])
        continue;  // they did not lead so far
      if (const std::uint32_t on = trie.child(shift_[node], trie.label(child));
          on != ByteTrie::kRoot)
        shift_[child] = on;
    }
  }
}

void TokenScan::longest(std::string_view text, std::size_t from, std::size_t to, Token* out) const {
  std::uint32_t node = ByteTrie::kRoot;
  bool open = true;  // more may lead further
  for (std::size_t at = from; at < to; ++at) {
    for (std::size_t i = at + depth_[node]; open && i < text.size(); ++i) {
      const std::uint32_t child = trie_->child(node, std::uint8_t(text[i]));
      if (child == ByteTrie::kRoot) break;
      node = child;
    }
    out[at - from] = token_[node];
    open = node == ByteTrie::kRoot || depth_[shift_[node]] + 1 == depth_[node];
    node = shift_[node];
  }
}

}  // namespace lares::engine
