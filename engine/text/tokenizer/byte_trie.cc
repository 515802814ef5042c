#include "engine/text/tokenizer/byte_trie.h"

#include <algorithm>

namespace lares::engine {

ByteTrie::ByteTrie(std::vector<Entry> entries) {
  std::erase_if(entries, [](const Entry& e) { return e.first.empty(); });
  std::sort(entries.begin(), entries.end());
  // Breadth first, so that the children of a node lie side by side: a node owns a range of sorted
  // entries.
  struct Range {
    std::uint32_t node;
    std::size_t begin, end, depth;
  };
  std::vector<Range> queue{{kRoot, 0, entries.size(), 0}};
  for (std::size_t q = 0; q < queue.size(); ++q) {
    const Range range = queue[q];
    std::size_t at = range.begin;
    nodes_[range.node].first_id = std::uint32_t(ids_.size());
    for (; at < range.end && entries[at].first.size() == range.depth; ++at)
      ids_.push_back(entries[at].second);
    nodes_[range.node].n_ids = std::uint16_t(at - range.begin);
    nodes_[range.node].first_child = std::uint32_t(nodes_.size());
    while (at < range.end) {
      const char byte = entries[at].first[range.depth];
      std::size_t end = at + 1;
      while (end < range.end && entries[end].first[range.depth] == byte) ++end;
      queue.push_back({std::uint32_t(nodes_.size()), at, end, range.depth + 1});
      nodes_.emplace_back();
      labels_.push_back(std::uint8_t(byte));
      ++nodes_[range.node].n_children;
      at = end;
    }
  }
}

std::uint32_t ByteTrie::child(std::uint32_t n, std::uint8_t byte) const {
  const Node& node = nodes_[n];
  const auto* begin = labels_.data() + node.first_child;
  const auto* end = begin + node.n_children;
  const auto* found = std::lower_bound(begin, end, byte);
  return found != end && *found == byte ? std::uint32_t(found - labels_.data()) : kRoot;
}

ByteTrie::Found ByteTrie::longest(std::string_view text) const {
  Found best;
  std::uint32_t n = kRoot;
  for (std::size_t i = 0; i < text.size(); ++i) {
    n = child(n, std::uint8_t(text[i]));
    if (n == kRoot) break;
    if (nodes_[n].n_ids > 0) best = {ids_[nodes_[n].first_id], i + 1};
  }
  return best;
}

Token ByteTrie::find(std::string_view text) const {
  const Found found = longest(text);
  return found.length == text.size() ? found.id : -1;
}

}  // namespace lares::engine
