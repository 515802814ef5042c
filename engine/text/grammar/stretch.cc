#include "engine/text/grammar/stretch.h"

namespace lares::engine {

void Stretch::use_index() {
  if (sorted_ || !index_->sorted()) return;
  range_ = index_->find(value_);
  sorted_ = true;
  places_ = {};
}

void Stretch::find_places(char c) {
  const std::string& text = index_->text();
  if (value_.empty()) {
    for (std::size_t i = text.find(c); i != std::string::npos; i = text.find(c, i + 1))
      places_.push_back(std::uint32_t(i + 1));
    return;
  }
  std::size_t n = 0;
  for (const std::uint32_t place : places_) {
    if (place < text.size() && text[place] == c) places_[n++] = place + 1;
  }
  places_.resize(n);
}

void Stretch::extend(std::string_view bytes) {
  use_index();
  for (const char c : bytes) {
    const bool closing = c == '/' && value_.ends_with("<");
    if (c == '<') n_before_angle_ = n_places();
    n_before_closing_ = closing ? n_before_angle_ : 0;
    if (sorted_)
      range_ = index_->extended(range_, std::uint8_t(c));
    else
      find_places(c);
    value_ += c;
  }
}

void Stretch::add(TokenMask& out) {
  use_index();
  const std::string_view text = index_->text();
  if (sorted_) {
    index_->add(*vocabulary_, range_, out);
  } else if (index_->has_first()) {
    if (value_.empty()) out = index_->first();
    for (const std::uint32_t place : places_)
      vocabulary_->allow_with_shorter(index_->longest_at(place), out);
  } else if (value_.empty()) {
    std::vector<Token> longest(text.size());
    vocabulary_->scan().longest(text, 0, text.size(), longest.data());
    for (const Token id : longest) vocabulary_->allow_with_shorter(id, out);
  } else {
    for (const std::uint32_t place : places_)
      vocabulary_->allow_with_shorter(vocabulary_->ordinary().longest(text.substr(place)).id, out);
  }
  if (may_close(value_.size(), n_places())) {
    allow_bytes("<", out);
    allow_bytes("</", out);
  }
  if (value_.ends_with("<") && may_close(value_.size() - 1, n_before_angle_)) allow_bytes("/", out);
}

void Stretch::allow_bytes(std::string_view bytes, TokenMask& out) const {
  std::uint32_t node = ByteTrie::kRoot;
  for (const char c : bytes) {
    node = vocabulary_->ordinary().child(node, std::uint8_t(c));
    if (node == ByteTrie::kRoot) return;
  }
  for (const Token id : vocabulary_->ordinary().ids(node)) allow(out, id);
}

}  // namespace lares::engine
