// A value that is a stretch of a text, while it is written: where it occurs, what it may go on
// with, and when it may close.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/grammar/stretch_index.h"

namespace lares::engine {

class Stretch {
 public:
  // `unique`: it may close only where it occurs once. While the index is not built, the text is
  // searched.
  Stretch(std::shared_ptr<const Vocabulary> vocabulary, std::shared_ptr<const StretchIndex> index,
          bool unique)
      : vocabulary_(std::move(vocabulary)), index_(std::move(index)), unique_(unique) {}

  void extend(std::string_view bytes);
  // Adds to `out`, an empty mask, the tokens that it may go on with: of the text, and of the "</"
  // that closes it.
  void add(TokenMask& out);
  bool closed() const {
    return value_.ends_with("</") && may_close(value_.size() - 2, n_before_closing_);
  }  // a whole value, and "</" behind it

 private:
  bool may_close(std::size_t length, std::size_t n_places) const {
    return length > 0 && n_places > 0 && (!unique_ || n_places == 1);
  }
  std::size_t n_places() const {
    return sorted_ ? range_.size() : value_.empty() ? index_->text().size() : places_.size();
  }
  void use_index();
  void find_places(char c);
  void allow_bytes(std::string_view bytes, TokenMask& out) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::shared_ptr<const StretchIndex> index_;
  bool unique_;
  std::string value_;
  bool sorted_ = false;  // range_ is where value_ occurs, else places_
  StretchIndex::Range range_;
  std::vector<std::uint32_t> places_;  // of values that are not empty: behind them
  std::size_t n_before_angle_ = 0;     // places of what stands before the last '<'
  std::size_t n_before_closing_ = 0;   // ... before a "</" at the end; 0 when it has none
};

}  // namespace lares::engine
