// A suffix is of type S when it is less than the one behind it, else of type L; an S behind an L
// begins a block. The order of the blocks gives that of all L suffixes, from the left, and theirs
// that of all S suffixes, from the right.
#include "engine/text/grammar/suffix_array.h"

#include <algorithm>
#include <cassert>
#include <span>

namespace lares::engine {
namespace {

using Place = std::uint32_t;
constexpr Place kNone = UINT32_MAX;

template <class Symbol>
class Sorter {
 public:
  Sorter(std::span<const Symbol> text, std::size_t n_symbols)
      : text_(text), less_(text.size()), ends_(n_symbols, 0) {
    for (std::size_t i = text.size() - 1; i-- > 0;)
      less_[i] = text[i] < text[i + 1] || (text[i] == text[i + 1] && less_[i + 1]);
    for (const Symbol symbol : text) ++ends_[symbol];
    for (std::size_t s = 1; s < n_symbols; ++s) ends_[s] += ends_[s - 1];
  }

  std::vector<Place> sorted() {
    std::vector<Place> blocks;
    for (std::size_t i = 1; i < text_.size(); ++i) {
      if (begins_block(i)) blocks.push_back(Place(i));
    }
    std::vector<Place> out = induced(blocks);
    if (blocks.size() < 2) return out;
    // As far as blocks reach they are in order now. Equal ones get equal names, and the text of
    // names is sorted likewise.
    std::vector<Place> by_block;
    by_block.reserve(blocks.size());
    for (const Place p : out) {
      if (begins_block(p)) by_block.push_back(p);
    }
    // [place / 2]: two blocks never begin side by side
    std::vector<Place> names(text_.size() / 2 + 1);
    Place n_names = 0;
    for (std::size_t i = 0; i < by_block.size(); ++i) {
      if (i > 0 && !equal_blocks(by_block[i - 1], by_block[i])) ++n_names;
      names[by_block[i] / 2] = n_names;
    }
    ++n_names;
    if (n_names == blocks.size()) return induced(by_block);
    std::vector<Place> reduced;
    reduced.reserve(blocks.size());
    for (const Place p : blocks) reduced.push_back(names[p / 2]);
    const std::vector<Place> order = Sorter<Place>(reduced, n_names).sorted();
    for (std::size_t i = 0; i < order.size(); ++i) by_block[i] = blocks[order[i]];
    return induced(by_block);
  }

 private:
  bool begins_block(std::size_t i) const { return i > 0 && less_[i] && !less_[i - 1]; }

  // From its beginning to that of the next one.
  bool equal_blocks(std::size_t a, std::size_t b) const {
    for (std::size_t n = 0;; ++n) {
      if (a + n == text_.size() || b + n == text_.size()) return false;  // nothing is like the end
      const bool ends = n > 0 && begins_block(a + n);
      if (text_[a + n] != text_[b + n] || less_[a + n] != less_[b + n] ||
          ends != (n > 0 && begins_block(b + n)))
        return false;
      if (ends) return true;
    }
  }

  std::vector<Place> induced(std::span<const Place> blocks) const {
    std::vector<Place> out(text_.size(), kNone);
    std::vector<Place> at = ends_;
    for (std::size_t i = blocks.size(); i-- > 0;) out[--at[text_[blocks[i]]]] = blocks[i];
    for (std::size_t s = 0; s < at.size(); ++s) at[s] = s == 0 ? 0 : ends_[s - 1];
    const auto put_greater = [&](Place p) {
      if (!less_[p]) out[at[text_[p]]++] = p;
    };
    put_greater(Place(text_.size() - 1));  // behind it comes the end, which is less than anything
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (out[i] != kNone && out[i] > 0) put_greater(out[i] - 1);
    }
    at = ends_;
    for (std::size_t i = out.size(); i-- > 0;) {
      if (out[i] != kNone && out[i] > 0 && less_[out[i] - 1])
        out[--at[text_[out[i] - 1]]] = out[i] - 1;
    }
    return out;
  }

  std::span<const Symbol> text_;
  std::vector<std::uint8_t> less_;  // type S
  std::vector<Place> ends_;         // [symbol]: where the suffixes that begin with it end
};

}  // namespace

std::vector<std::uint32_t> suffix_array(std::string_view text) {
  assert(text.size() <= kSuffixArrayBytesMax);
  if (text.empty()) return {};
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  return Sorter<std::uint8_t>(std::span(bytes, text.size()), 256).sorted();
}

}  // namespace lares::engine
