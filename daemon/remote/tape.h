// A timeline's tokens, and beginnings of them that others keep: these are not copied, for a base of
// a million tokens has hundreds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "engine/engine.h"

namespace lares::daemon {

class Tape {
 public:
  explicit Tape(std::size_t n_max) : n_max_(n_max), tokens_(fresh()) {}

  std::span<const engine::Token> tokens() const { return {tokens_.get(), size_}; }
  bool full() const { return size_ == n_max_; }

  void push(engine::Token token) { tokens_[size_++] = token; }  // not when full()
  // Makes them `prompt`, of n_max at most; what was shared stays as it is.
  void assign(std::span<const engine::Token> prompt) {
    const auto held = tokens();
    const auto n = static_cast<std::size_t>(std::ranges::mismatch(held, prompt).in1 - held.begin());
    if (n < n_shared_) {
      auto copy = fresh();
      std::copy_n(tokens_.get(), n, copy.get());
      tokens_ = std::move(copy);
      n_shared_ = 0;
    }
    std::ranges::copy(prompt.subspan(n), tokens_.get() + n);
    size_ = prompt.size();
  }
  // Keeps them alive, and any thread may read the first n of them. n <= tokens().size().
  std::shared_ptr<const engine::Token[]> share(std::size_t n) const {
    n_shared_ = std::max(n_shared_, n);
    return tokens_;
  }

 private:
  std::shared_ptr<engine::Token[]> fresh() const {  // pages that are not written take no memory
    return std::make_shared_for_overwrite<engine::Token[]>(n_max_);
  }

  std::size_t n_max_, size_ = 0;
  mutable std::size_t n_shared_ = 0;
  std::shared_ptr<engine::Token[]> tokens_;
};

}  // namespace lares::daemon
