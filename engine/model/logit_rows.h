// Logits after consecutive tokens of a sequence.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace lares::engine {

class LogitRows {
 public:
  explicit LogitRows(int vocab_size) : vocab_(static_cast<std::size_t>(vocab_size)) {}

  bool has(std::int64_t position) const { return position >= begin_ && position < end_; }
  // After the token at `position`, which it has.
  std::span<const float> row(std::int64_t position) const {
    return std::span(values_).subspan(at(position), vocab_);
  }
  // Those after tokens begin..begin + n - 1 in place of all: [n, V], the caller's to write.
  float* make(std::int64_t begin, int n) {
    const std::size_t floats = static_cast<std::size_t>(n) * vocab_;
    begin_ = begin;
    end_ = begin + n;
    if (floats > values_.capacity())
      std::vector<float>().swap(values_), values_.reserve(floats);  // no more than was asked for
    if (floats > values_.size()) values_.resize(floats);
    return values_.data();
  }
  // Only the first `size` tokens stay as they were.
  void drop_to(std::int64_t size) { end_ = std::max(begin_, std::min(end_, size)); }
  void clear() { begin_ = end_ = 0; }
  // Keeps those from `position` on, and no memory but theirs.
  void shrink(std::int64_t position) {
    const std::int64_t begin = std::clamp(position, begin_, end_);
    const auto first = values_.begin() + static_cast<std::ptrdiff_t>(at(begin));
    values_ = std::vector<float>(first,
                                 first + (end_ - begin) * static_cast<std::ptrdiff_t>(vocab_));
    begin_ = begin;
  }
  std::uint64_t capacity() const { return values_.capacity() * sizeof(float); }  // bytes

 private:
  std::size_t at(std::int64_t position) const {
    return static_cast<std::size_t>(position - begin_) * vocab_;
  }

  const std::size_t vocab_;
  std::vector<float> values_;  // [n, V], and perhaps more that nobody wants now
  std::int64_t begin_ = 0, end_ = 0;
};

}  // namespace lares::engine
