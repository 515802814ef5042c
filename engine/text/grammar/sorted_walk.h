// Which tokens the texts of a sorted list go on with: the list and the vocabulary's trie walked
// together, each distinct piece once.
#pragma once

#include <algorithm>
#include <cstddef>

#include "engine/text/tokenizer/vocabulary.h"

namespace lares::engine {

// The end of the run from `lo` on that has `byte` at `depth`. `byte_at(i, depth)`: the byte of text
// i there, -1 where it ends, 256 for what no token has; the texts are in their order.
template <class ByteAt>
std::size_t run_end(const ByteAt& byte_at, std::size_t lo, std::size_t hi, std::size_t depth,
                    int byte) {
  if (byte_at(hi - 1, depth) == byte) return hi;
  std::size_t in = lo, step = 1;
  while (in + step < hi && byte_at(in + step, depth) == byte) in += step, step *= 2;
  std::size_t out = std::min(in + step, hi - 1);
  while (out - in > 1) {
    const std::size_t middle = in + (out - in) / 2;
    (byte_at(middle, depth) == byte ? in : out) = middle;
  }
  return out;
}

// Of the texts [lo, hi), which agree up to `depth`; what they have in common behind where the token
// begins leads to `node`.
template <class ByteAt>
void allow_along(const ByteTrie& trie, const ByteAt& byte_at, std::uint32_t node, std::size_t lo,
                 std::size_t hi, std::size_t depth, TokenMask& out) {
  while (lo < hi) {
    const int byte = byte_at(lo, depth);
    const std::size_t end = run_end(byte_at, lo, hi, depth, byte);
    if (const std::uint32_t child = byte < 0 || byte > 255 ? ByteTrie::kRoot
                                                           : trie.child(node, std::uint8_t(byte));
        child != ByteTrie::kRoot) {
      for (const Token id : trie.ids(child)) allow(out, id);
      if (trie.node(child).n_children > 0)
        allow_along(trie, byte_at, child, lo, end, depth + 1, out);
    }
    lo = end;
  }
}

}  // namespace lares::engine
