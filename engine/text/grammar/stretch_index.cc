#include "engine/text/grammar/stretch_index.h"

#include <algorithm>
#include <utility>

#include "engine/text/grammar/sorted_walk.h"
#include "engine/text/grammar/suffix_array.h"

namespace lares::engine {

void StretchIndex::build(const Vocabulary& vocabulary, std::stop_token stop) {
  if (text_.size() > kStretchTextBytesMax || !find_longest(vocabulary, stop)) return;
  first_.assign(vocabulary.ordinary_mask().size(), 0);
  if (of_ == Of::list) {
    order_list();
    add_each(vocabulary, all(), first_);
    step_.store(Step::first, std::memory_order_release);
  } else {
    for (const Token id : longest_) vocabulary.allow_with_shorter(id, first_);
    step_.store(Step::first, std::memory_order_release);
    order_ = suffix_array(text_);
  }
  step_.store(Step::sorted, std::memory_order_release);
  keep_masks(vocabulary, stop);
  if (!stop.stop_requested()) step_.store(Step::done, std::memory_order_release);
}

void StretchIndex::order_list() {
  for (std::size_t at = 0; at < text_.size();
       at = std::min(text_.find(kListEnd, at), text_.size() - 1) + 1)
    order_.push_back(std::uint32_t(at));
  const auto text_at = [&](std::uint32_t at) {
    return std::string_view(text_).substr(at, text_.find(kListEnd, at) - at);
  };
  std::sort(order_.begin(), order_.end(),
            [&](std::uint32_t a, std::uint32_t b) { return text_at(a) < text_at(b); });
}

bool StretchIndex::find_longest(const Vocabulary& vocabulary, const std::stop_token& stop) {
  constexpr std::size_t kAtOnce = 1 << 15;  // bytes: a millisecond
  longest_.resize(text_.size());
  for (std::size_t from = 0; from < text_.size(); from += kAtOnce) {
    if (stop.stop_requested()) return false;
    const std::size_t to = std::min(text_.size(), from + kAtOnce);
    vocabulary.scan().longest(text_, from, to, longest_.data() + from);
  }
  return true;
}

StretchIndex::Range StretchIndex::extended(Range range, std::uint8_t byte) const {
  const auto first_at_least = [&](std::uint32_t lo, int wanted) {
    std::uint32_t hi = range.hi;
    while (lo < hi) {
      const std::uint32_t middle = lo + (hi - lo) / 2;
      if (byte_at(middle, range.length) < wanted)
        lo = middle + 1;
      else
        hi = middle;
    }
    return lo;
  };
  const std::uint32_t lo = first_at_least(range.lo, byte);
  return {lo, first_at_least(lo, byte + 1), range.length + 1};
}

StretchIndex::Range StretchIndex::find(std::string_view value) const {
  Range range = all();
  for (const char c : value) range = extended(range, std::uint8_t(c));
  return range;
}

void StretchIndex::add_each(const Vocabulary& vocabulary, Range range, TokenMask& out) const {
  for (std::uint32_t i = range.lo; i < range.hi; ++i) {
    if (byte_at(i, range.length) >= 0)
      vocabulary.allow_with_shorter(longest_at(order_[i] + range.length), out);
  }
}

void StretchIndex::add(const Vocabulary& vocabulary, Range range, TokenMask& out) const {
  const auto join = [&out](const TokenMask& mask) {
    for (std::size_t w = 0; w < out.size(); ++w) out[w] |= mask[w];
  };
  if (range.length == 0) return join(first_);
  if (range.size() <= kStretchPlacesMax) return add_each(vocabulary, range, out);
  if (step_.load(std::memory_order_acquire) == Step::done) {
    if (const auto kept = masks_.find(range); kept != masks_.end()) return join(kept->second);
  }
  // Of a text that repeats itself: many places, few pieces.
  allow_along(
      vocabulary.ordinary(), [this](std::size_t i, std::size_t depth) { return byte_at(i, depth); },
      ByteTrie::kRoot, range.lo, range.hi, range.length, out);
}

// Shorter values first.
void StretchIndex::keep_masks(const Vocabulary& vocabulary, const std::stop_token& stop) {
  const auto at = [this](std::size_t i, std::size_t depth) { return byte_at(i, depth); };
  std::vector<Range> ranges = {all()};
  std::size_t work = 0;
  for (std::size_t n = 0;
       n < ranges.size() && work < kStretchWorkMax * text_.size() && !stop.stop_requested(); ++n) {
    const Range range = ranges[n];
    if (range.length > 0) {
      TokenMask mask(first_.size(), 0);
      add_each(vocabulary, range, mask);
      masks_.emplace(range, std::move(mask));
      bytes_.fetch_add(first_.size() * sizeof(std::uint64_t), std::memory_order_relaxed);
      work += range.size();
    }
    for (std::size_t lo = range.lo; lo < range.hi && ranges.size() <= kStretchMasksMax;) {
      const std::size_t end = run_end(at, lo, range.hi, range.length, byte_at(lo, range.length));
      if (end - lo > kStretchPlacesMax && byte_at(lo, range.length) >= 0)
        ranges.push_back({std::uint32_t(lo), std::uint32_t(end), range.length + 1});
      lo = end;
    }
  }
}

}  // namespace lares::engine
