// A text in which a value must occur, made ready for masks: its suffixes in order, and at each
// place the longest token that stands there. What follows a value is then a range of suffixes;
// where one is long, its mask is made beforehand too. Or a list of texts of which a value must be
// one: then the suffixes are those texts.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "engine/text/tokenizer/vocabulary.h"

namespace lares::engine {

// Of a text that gets an index; a longer one is searched at each token
inline constexpr std::size_t kStretchTextBytesMax = 16 << 20;
// Looked at for one token; of values with more places the mask is kept
inline constexpr std::size_t kStretchPlacesMax = 2048;
// Kept for one text: 16 MiB of a vocabulary of 129,280
inline constexpr std::size_t kStretchMasksMax = 1024;
// Times the text's bytes, for those: texts that repeat themselves have no end of them
inline constexpr std::size_t kStretchWorkMax = 32;

// Texts of a list that gets an index; fewer are walked in less than 20 us
inline constexpr std::size_t kListedMin = 64;
inline constexpr char kListEnd = '\xFF';  // behind each text of a list; no UTF-8 text contains it

class StretchIndex {
 public:
  enum class Of { text, list };

  // The suffixes that begin with a value of `length` bytes: [lo, hi) in their order.
  struct Range {
    std::uint32_t lo = 0, hi = 0, length = 0;
    std::uint32_t size() const { return hi - lo; }
    auto operator<=>(const Range&) const = default;
  };

  explicit StretchIndex(std::string text, Of of = Of::text)
      : text_(std::move(text)),
        of_(of),
        bytes_(text_.size() * (1 + sizeof(Token) + sizeof(std::uint32_t))) {}

  // In three steps, each of use before the next. Once, on any thread; the rest from one thread
  // meanwhile.
  void build(const Vocabulary& vocabulary, std::stop_token stop);
  bool has_first() const { return step_.load(std::memory_order_acquire) >= Step::first; }
  bool sorted() const { return step_.load(std::memory_order_acquire) >= Step::sorted; }

  const std::string& text() const { return text_; }
  Of of() const { return of_; }
  std::size_t bytes() const {
    return bytes_.load(std::memory_order_relaxed);
  }  // of memory, when it is built as far as it is

  // These need has_first().
  const TokenMask& first() const { return first_; }  // every token that a value may begin with
  Token longest_at(std::size_t place) const {
    return place < longest_.size() ? longest_[place] : -1;
  }  // of those that stand there
  // The rest needs sorted().
  Range all() const { return {0, std::uint32_t(order_.size()), 0}; }
  Range extended(Range range, std::uint8_t byte) const;
  Range find(std::string_view value) const;
  // Adds to `out`, which has no token without its beginnings that are tokens, what may follow.
  void add(const Vocabulary& vocabulary, Range range, TokenMask& out) const;

 private:
  enum class Step { nothing, first, sorted, done };

  bool find_longest(const Vocabulary& vocabulary, const std::stop_token& stop);
  void order_list();
  void keep_masks(const Vocabulary& vocabulary, const std::stop_token& stop);
  void add_each(const Vocabulary& vocabulary, Range range, TokenMask& out) const;
  int byte_at(std::size_t i, std::size_t depth) const {
    const std::size_t at = order_[i] + depth;
    return at >= text_.size() || (of_ == Of::list && text_[at] == kListEnd)
               ? -1
               : std::uint8_t(text_[at]);
  }

  std::string text_;
  Of of_;
  std::atomic<std::size_t> bytes_;
  std::atomic<Step> step_ = Step::nothing;
  std::vector<Token> longest_;  // [text]: at each place; -1: none
  TokenMask first_;
  std::vector<std::uint32_t> order_;  // [text], or where the list's texts begin
  std::map<Range, TokenMask> masks_;
};

}  // namespace lares::engine
